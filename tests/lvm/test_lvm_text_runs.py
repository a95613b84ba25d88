"""Segments that are read in bulk: the same group as by the grammar, whatever the text; and in little time."""

from __future__ import annotations

import random
import re
import time
from dataclasses import replace

import pytest
from group_texts import group_text, linear, problems, segment, sound, striped, volume

from dmsnap.lvm import placement
from dmsnap.lvm.importing import BadMetadata, BadText, group_of
from dmsnap.lvm.segments import RegularSegments
from dmsnap.lvm.text import Section, parse_text, parsing, segment_shapes
from dmsnap.lvm.text.segment_shapes import SegmentShapes
from dmsnap.lvm.text.striped_run import StripedRun, read_run

VOLUMES = (
    volume("a", *(striped(3 * number, 3, ("pv0", 3 * number)) for number in range(5)))
    + volume("b", *(striped(4 * number, 4, ("pv0", 20 + 2 * number), ("pv1", 2 * number)) for number in range(5)))
    + volume("c", striped(0, 3, ("pv1", 50)), striped(3, 4, ("pv0", 60), ("pv1", 60)), striped(7, 1, ("a", 2)))
    + linear("d", 2, "pv1", 90)
)


@pytest.fixture(params=["a pattern", "NumPy"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads and places short runs, too, in either way that is there for long ones."""
    long = 0 if request.param == "NumPy" else parsing.MOST_BYTES
    monkeypatch.setattr(parsing, "LONG_TEXT", long)
    monkeypatch.setattr(placement, "MANY_SEGMENTS", long)
    monkeypatch.setattr(placement, "LONG_RUN", 0)
    monkeypatch.setattr(parsing, "SHORT_RUN", 0)
    monkeypatch.setattr(segment_shapes, "BLOCK_CHARACTERS", 256)


def outcome(text: bytes, *, in_bulk: bool) -> object:
    try:
        return group_of(text, in_bulk=in_bulk)
    except (BadText, BadMetadata) as error:
        return type(error), error.message


@pytest.mark.usefixtures("reader")
def test_regular_segments_are_read_in_bulk() -> None:
    group = sound(group_text(VOLUMES))
    assert all(isinstance(one.segments, RegularSegments) for one in group.logical_volumes.values())
    slowly, _ = group_of(group_text(VOLUMES), in_bulk=False)
    for name, one in group.logical_volumes.items():
        expected = slowly.logical_volumes[name].segments
        assert isinstance(expected, tuple)
        assert list(one.segments) == list(expected)
        assert [one.segments[index] for index in range(len(expected))] == list(expected)
        assert (one.segments[-1], one.segments[1:3]) == (expected[-1], expected[1:3])
        assert one.segments == expected
        assert one.extent_count == slowly.logical_volumes[name].extent_count


def test_without_being_asked_the_parser_reads_sections() -> None:
    found = parse_text(group_text(VOLUMES))["vg"]
    assert isinstance(found, Section)
    volumes = found["logical_volumes"]
    assert isinstance(volumes, Section)
    one = volumes["a"]
    assert isinstance(one, Section)
    assert one.run is None
    assert "segment5" in one


IRREGULAR = {
    "a field more": lambda text: text.replace("stripe_count = 1\n", "stripe_count = 1\nx = 1\n", 1),
    "another order": lambda text: text.replace("segment2", "segment9").replace("segment1 ", "segment2 "),
    "a number twice": lambda text: text.replace("segment2", "segment1"),
    "a number that is octal": lambda text: text.replace("extent_count = 3", "extent_count = 03"),
    "a number that is too large": lambda text: text.replace('"pv0", 3', '"pv0", ' + "9" * 19),
    "a number that is just too large": lambda text: text.replace('"pv0", 3', '"pv0", 9223372036854775808'),
    "a number with a point": lambda text: text.replace('"pv0", 3', '"pv0", 3.5'),
    "a comment": lambda text: text.replace("stripe_count", "# }\nstripe_count"),
    "a comment among areas": lambda text: text.replace("stripes = [", "stripes = [ # x"),
    "a comma at the end": lambda text: text.replace("\n]\n}", ",\n]\n}"),
    "an area too many": lambda text: text.replace("stripe_count = 2", "stripe_count = 1"),
    "an area too few": lambda text: text.replace("stripe_count = 1", "stripe_count = 2"),
    "stripes without a size": lambda text: text.replace("stripe_size = 128\n", ""),
    "a size without stripes": lambda text: text.replace("stripe_count = 1\n", "stripe_count = 1\nstripe_size = 64\n"),
    "a value behind": lambda text: text.replace("]\n}\n}", "]\n}\nx = 1\n}"),
    "a value named like a segment": lambda text: text.replace("segment_count", "segment2 = 1\nsegment_count"),
    "a segment in front": lambda text: text.replace("segment_count", "segment7 { }\nsegment_count"),
    "a segment behind": lambda text: text.replace("]\n}\n}", "]\n}\nsegment1 { } }"),
    "a value behind named like a segment, and an error": lambda text: (
        text.replace("segment3 ", "x3 ").replace("segment5 ", "segment1 = 1\nx5 ") + "x"
    ),
    "another kind last": lambda text: text.replace(
        "]\n}\n}", "]\n}\nsegment6 {\n" + segment("zero", 15, 1) + "}\n}", 1
    ).replace("segment_count = 5", "segment_count = 6", 1),
    "an escape": lambda text: text.replace('"pv0"', r'"pv\0"'),
    "a name of other characters": lambda text: text.replace('"pv0"', '"pv 0"'),
    "no white space": lambda text: text.replace("\n\n", "\n").replace("]\n}\n", "]}"),
    "all on one line": lambda text: text.replace("\n", " "),
    "the end": lambda text: text[: text.rindex("]")],
    "an extent of none": lambda text: text.replace("extent_count = 3", "extent_count = 0"),
    "an odd stripe": lambda text: text.replace("stripe_size = 128", "stripe_size = 24"),
    "a large stripe": lambda text: text.replace("stripe_size = 128", "stripe_size = 16384"),
}


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("what", IRREGULAR)
def test_irregular_segments_are_the_grammars(what: str) -> None:
    volumes = IRREGULAR[what](VOLUMES)
    assert volumes != VOLUMES
    text = group_text(volumes)
    assert outcome(text, in_bulk=True) == outcome(text, in_bulk=False)


@pytest.mark.usefixtures("reader")
def test_any_change_of_a_text_gives_the_same_in_bulk() -> None:
    text = group_text(VOLUMES)
    begin = text.index(b"logical_volumes")
    pieces = [
        b"segment",
        b"segment1 {\n",
        b"}",
        b"{",
        b"\n",
        b'"',
        b"0",
        b"1",
        b"9",
        b"=",
        b",",
        b"#",
        b"[",
        b"]",
        b" ",
        b"pv1",
    ]
    different = 0
    for seed in range(1500):
        source = random.Random(seed)
        changed = text
        for _ in range(source.randint(1, 3)):
            at = source.randrange(begin, len(changed))
            changed = changed[:at] + source.choice(pieces) * source.randrange(2) + changed[at + source.randrange(3) :]
        slowly = outcome(changed, in_bulk=False)
        assert outcome(changed, in_bulk=True) == slowly, seed
        different += slowly != outcome(text, in_bulk=False)
    assert different > 500


def run_of(*bodies: str) -> str:
    """Segments as they stand in a text, up to the brace of the last one."""
    return "".join(f"segment{number} {{\n{body}}}\n" for number, body in enumerate(bodies, 1)).rstrip()


def contents(run: StripedRun | None) -> object:
    """What a run says, whatever the order of its names."""
    assert run is not None
    names = [run.names[index] for index in run.area_names]
    assert sorted(run.names) == sorted(set(names))
    return replace(run, names=tuple(names), area_names=run.area_names[:0])


REGULAR = {
    "one area": [striped(3 * at, 3, ("pv0", 3 * at)) for at in range(400)],
    "numbers of all lengths": [striped(10**at // 10, 10**at, ("pv0", 10**17 - at)) for at in range(18)],
    "areas on many volumes": [striped(at, 1, (f"pv{at % 13}", at)) for at in range(400)],
    "stripes": [striped(2 * at, 2, ("pv0", at), (f"pv{1 + at % 2}", at)) for at in range(200)],
    "mixed stripes": [
        striped(at, 4, *((f"pv{stripe}", at) for stripe in range((1, 1, 2, 4)[at * at % 11 % 4]))) for at in range(300)
    ],
    "names of several kinds": [striped(at, 1, (f"{'pv' if at % 3 else 'pvmove'}{at % 5}", at)) for at in range(300)],
    "names of large numbers": [striped(at, 1, (f"pv{(1 << 31) + at % 5}", at)) for at in range(300)],
    "a stripe size now and then": [
        striped(at, 1, ("pv0", at)).replace("stripes", "stripe_size = 0\nstripes" if at % 7 > 3 else "stripes")
        for at in range(300)
    ],
    "white space that changes": [striped(at, 1, ("pv0", at)).replace("\n", "\n" * (1 + at % 2)) for at in range(300)],
}


@pytest.mark.parametrize("what", REGULAR)
def test_regular_segments_are_the_same_read_with_numpy(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = run_of(*REGULAR[what])
    expected = contents(read_run(text))
    for block_characters in (300, 1000, 1 << 16):
        monkeypatch.setattr(segment_shapes, "BLOCK_CHARACTERS", block_characters)
        assert contents(SegmentShapes().read_run(text)) == expected


ODD = {
    "too many shapes": [striped(at, 1, ("p" * (1 + at) + "0", at)) for at in range(300)],
    "names of two kinds and of too large numbers": [
        striped(at, 1, (f"{'pv' * (1 + at % 2)}{1 << 32}", at)) for at in range(9)
    ],
    "a name of two numbers": [striped(at, 1, ("pv0_1", at)) for at in range(9)],
    "white space longer than a block": [striped(0, 1, ("pv0", 0)), "\n" * (2 << 16) + striped(1, 1, ("pv0", 1))],
    "white space longer than a block between": [
        striped(0, 1, ("pv0", 0)) + "}" + "\n" * (2 << 16) + "segment2 {\n" + striped(1, 1, ("pv0", 1)),
    ],
    "a name without a number": [striped(at, 1, ("pv", at)) for at in range(9)],
}


@pytest.mark.parametrize("what", ODD)
def test_odd_segments_are_left_to_the_pattern(what: str) -> None:
    text = run_of(*ODD[what])
    assert SegmentShapes().read_run(text) is None
    assert read_run(text) is not None


def test_no_digit_may_stand_elsewhere_in_any_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_shapes, "BLOCK_CHARACTERS", 300)
    text = run_of(*(striped(at, 1, ("pv0", at)) for at in range(9)))
    assert SegmentShapes().read_run(text) is not None
    places = [at for at, character in enumerate(text) if character.isdigit()]
    for place in places:
        for other in {place - 2, place - 1, place + 1, place + 2} - set(places):
            digit, rest = text[place], text[:place] + text[place + 1 :]
            assert SegmentShapes().read_run(rest[:other] + digit + rest[other:]) is None, (place, other)


def test_numbers_that_are_all_moved_alike_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_shapes, "BLOCK_CHARACTERS", 140)  # of a segment each
    text = run_of(*(striped(at, 1, ("pv0", at)) for at in range(9)))
    for block in range(9):
        segments = text.split("\n}")[:9]
        segments[block] = re.sub("([0-9]+)(.)", r"\2\1", segments[block], flags=re.DOTALL)
        moved = "\n}".join([*segments, ""])
        assert len(moved) == len(text)
        assert SegmentShapes().read_run(moved) is None, block


MISPLACED = {
    "behind the end": volume("a", *(striped(at, 1, ("pv0", 95 + at)) for at in range(9))),
    "on nothing": volume("a", *(striped(at, 1, ("pv7", at)) for at in range(9))),
    "twice": volume("a", *(striped(at, 1, ("pv0", at % 8)) for at in range(9))),
    "by two": volume("a", *(striped(at, 1, ("pv0", at)) for at in range(9)))
    + volume("b", *(striped(at, 1, (f"pv{at % 2}", 8 + at)) for at in range(9))),
    "on a line too long": volume("a", *(striped(at, 1, ("pv0", at)) for at in range(9)))
    + volume("b", striped(0, (1 << 63) - 1, ("pv0", 9)), striped(9, (1 << 63) - 1, ("pv0", 9))),
}


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("where", MISPLACED)
def test_what_is_wrong_with_places_is_told_the_same(where: str) -> None:
    text = group_text(MISPLACED[where])
    found = problems(text)
    assert found
    assert outcome(text, in_bulk=True) == outcome(text, in_bulk=False)


def test_trying_in_vain_takes_no_quadratic_time() -> None:
    one = "segment1 {\n" + striped(0, 1, ("pv0", 0)) + "}\nsegment9 = 1\n"
    nested = "".join(f"segment{number} {{\n{one}}}\n" for number in range(2, 20_000))
    text = group_text("lv {\n" + nested + "}\n")
    begun = time.process_time()
    assert outcome(text, in_bulk=True) == outcome(text, in_bulk=False)
    assert time.process_time() - begun < 10


def long_text(volumes: int, segments: int) -> bytes:
    """Volumes on four physical ones in turn, an extent after the other."""
    parts = []
    for number in range(volumes):
        first = number * segments
        parts.append(volume(f"lv{number}", *(striped(at, 1, (f"pv{at % 4}", first + at)) for at in range(segments))))
    return group_text("".join(parts), pv_extents=(volumes * segments,) * 4)


@pytest.mark.slow
def test_64_mib_of_2000_volumes_take_little_time() -> None:
    text = long_text(2000, 290)
    assert len(text) > 62 << 20
    begun = time.process_time()
    group, findings = group_of(text)
    taken = time.process_time() - begun
    assert findings == ()
    assert sum(one.extent_count for one in group.logical_volumes.values()) == 2000 * 290
    assert {one.segments[0].kind for one in group.logical_volumes.values()} == {"striped"}
    assert taken < 4, "a second where nothing else runs, ten without bulk"
