"""Images that nobody's LVM wrote, given to the command: one clear line for each thing that is wrong, and soon."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_values import Ended

from dmsnap.testing.lvm_builder import AREA_OFFSET, PvText, VolumeText, build_pv, group_text, seal_label, uuid_of
from dmsnap.testing.partition_builder import build_gpt, build_mbr, put, seal_gpt

Run = Callable[..., Ended]

MOST_SECONDS = 10
"""Of the processor; each takes a fraction of it on a machine that has nothing else to do."""
SOUND = [VolumeText("a", "pv0", 0, 3)]


def pv(text: bytes, name: str = "pv0") -> bytes:
    """A physical volume with room for a text."""
    area = (len(text) // 512 + 3) * 512
    return bytes(build_pv(text, name=name, size_bytes=AREA_OFFSET + area + (64 << 10), areas=[(AREA_OFFSET, area)]))


def volume(name: str, *segments: str) -> str:
    """The text of a logical volume."""
    described = "".join(f"segment{number} {{\n{text}\n}}\n" for number, text in enumerate(segments, 1))
    head = (
        f'{name} {{\nid = "{uuid_of(name)}"\nstatus = ["READ", "WRITE", "VISIBLE"]\nsegment_count = {len(segments)}\n'
    )
    return f"{head}{described}}}\n"


def linear(start: int, count: int, where: str, there: int) -> str:
    """The text of a segment on a physical or logical volume."""
    kind = 'type = "striped"\nstripe_count = 1'
    return f'start_extent = {start}\nextent_count = {count}\n{kind}\nstripes = ["{where}", {there}]'


def group(*volumes: str, extents: int = 1000, extent_sectors: int = 8) -> bytes:
    """A physical volume with a group ``vg`` of such volumes."""
    frame = group_text(pvs=[PvText("pv0", extents)], extent_sectors=extent_sectors).decode()
    head, end, tail = frame.partition("\n}\n# Generated")
    return pv("".join([head, "\nlogical_volumes {\n", *volumes, "}\n", end, tail]).encode())


def changed(at: int, number: int) -> bytes:
    """A sound volume with another number in its label."""
    image = build_pv(group_text(volumes=SOUND))
    struct.pack_into("<Q", image, 512 + at, number)
    seal_label(image)
    return bytes(image)


def damaged(at: int) -> bytes:
    """A sound volume with a bit that is wrong."""
    image = bytearray(pv(group_text(volumes=SOUND)))
    image[at] ^= 1
    return bytes(image)


def in_gpt(at: int, number: int) -> bytes:
    """A disk whose GPT, which has no backup, has another number in its header."""
    disk = build_gpt(400, {1: (64, 256)})
    struct.pack_into("<I", disk, 512 + at, number)
    seal_gpt(disk)
    put(disk, 512 * 399, bytes(512))
    return bytes(disk)


def in_a_circle() -> bytes:
    """A disk whose extended partition leads back to its own start."""
    disk = build_mbr(400, {}, extended=(8, 390), logical=[(10, 20), (40, 20)])
    struct.pack_into("<B3xB3xII", disk, 39 * 512 + 446 + 16, 0, 5, 0, 31)
    return bytes(disk)


def on_each_other(count: int) -> list[str]:
    """Volumes in a ring, each on the next."""
    return [volume(f"v{each}", linear(0, 1, f"v{(each + 1) % count}", 0)) for each in range(count)]


NOTHING_FOUND: dict[str, Callable[[], bytes]] = {
    "garbage": lambda: random.Random(1).randbytes(1 << 20),
    "labels all over": lambda: b"LABELONE" * (1 << 17),
    "no bytes": lambda: b"",
    "less than a sector": lambda: b"x" * 100,
    "wrong label checksum": lambda: damaged(512 + 100),
    "wrong text checksum": lambda: damaged(AREA_OFFSET + 512 + 40),
    "nests 10,000 deep": lambda: pv(b"a {\n" * 10_000 + b"}\n" * 10_000),
    "braces": lambda: pv(b"{" * (8 << 20)),
    "one string": lambda: pv(b'vg { id = "' + b"x" * (8 << 20)),
    "one array": lambda: pv(b"vg { id = [" + b"1," * (5 << 20)),
    "one array of strings": lambda: pv(b'vg { id = [""' + b',"a"' * (5 << 20) + b"]}"),
    "one number": lambda: pv(b"vg { seqno = " + b"9" * (8 << 20) + b"}"),
    "extents that overflow": lambda: pv(group_text(volumes=SOUND, extent_sectors=2**62)),
    "extents of size -8": lambda: pv(group_text(volumes=SOUND).replace(b"size = 8", b"size = -8")),
    "a group with an escape as name": lambda: pv(group_text("v\x1b[2Jg")),
    "metadata at the end of numbers": lambda: changed(104, 2**64 - 512),
    "metadata behind the end": lambda: changed(104, 1 << 40),
    "a GPT of 2^32 entries": lambda: in_gpt(80, 2**32 - 1),
    "a GPT of long entries": lambda: in_gpt(84, 2**32 - 1),
    "partitions in a circle": in_a_circle,
    "a disk that is its own partition": lambda: bytes(build_mbr(400, {1: (0, 400)})),
}

BAD_VOLUME: dict[str, tuple[Callable[[], bytes], str]] = {
    "on itself": (lambda: group(volume("a", linear(0, 1, "a", 0))), "lies on itself"),
    "overlap on the disk": (
        lambda: group(volume("a", linear(0, 3, "pv0", 0)), volume("b", linear(0, 3, "pv0", 1))),
        "shares extents of pv0 with volume b",
    ),
    "overlap in the volume": (
        lambda: group(volume("a", linear(0, 3, "pv0", 0), linear(1, 3, "pv0", 10))),
        "overlaps the one before",
    ),
    "outside": (lambda: group(volume("a", linear(0, 3, "pv0", 998))), "ends behind the end of pv0"),
    "nowhere": (lambda: group(volume("a", linear(0, 3, "\x1b[2J", 0))), r"names '\x1b[2J', which is not there"),
    "2^63 - 1 extents": (lambda: group(volume("a", linear(0, 2**63 - 1, "pv0", 0))), "more than a device can have"),
    "an unknown name with a line end": (
        lambda: group(volume("a", 'start_extent = 0\nextent_count = 3\ntype = "x\n\x1b"')),
        "dmsnap does not know this type",
    ),
}


@pytest.fixture
def timed(run: Run) -> Run:
    """Runs the command, which is to be quick, without a word that moves a cursor."""

    def call(*arguments: str) -> Ended:
        began = time.process_time()
        ended = run(*arguments)
        assert time.process_time() - began < MOST_SECONDS
        assert all(line.isprintable() for line in ended.stderr.splitlines())
        assert all(line.startswith("dmsnap: ") for line in ended.stderr.splitlines())
        assert "unexpected" not in ended.stderr
        return ended

    return call


def refused(ended: Ended) -> str:
    """What the one line of a refusal says, which has a hint."""
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert "(hint: " in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("what", NOTHING_FOUND)
def test_an_image_without_a_group_that_can_be_read(what: str, tmp_path: Path, timed: Run) -> None:
    (tmp_path / "x.img").write_bytes(NOTHING_FOUND[what]())
    ended = timed("lvm", "ls", "x.img")
    assert (ended.returncode, ended.stdout) == (0, "")
    *findings, last = ended.stderr.splitlines()
    assert last == "dmsnap: warning: x.img: no LVM2 volume group"
    assert len(findings) <= 8
    said = refused(timed("export", "lvm:vg/a@x.img", "-"))
    assert "no volume group vg" in said
    if findings:  # the reason is told here too
        assert findings[0].removeprefix("dmsnap: warning: ") in said


def test_a_group_whose_area_has_a_wrong_checksum_is_listed_with_a_warning(tmp_path: Path, timed: Run) -> None:
    (tmp_path / "x.img").write_bytes(damaged(AREA_OFFSET + 100))
    ended = timed("lvm", "ls", "x.img")
    assert "\n  a  " in ended.stdout
    assert "checksum" in ended.stderr
    assert "older copy" in ended.stderr


@pytest.mark.parametrize("what", BAD_VOLUME)
def test_a_volume_that_cannot_be_is_listed_and_refused(what: str, tmp_path: Path, timed: Run) -> None:
    build, why = BAD_VOLUME[what]
    (tmp_path / "x.img").write_bytes(build())
    ended = timed("lvm", "ls", "x.img")
    assert ended.returncode == 0
    assert "\n  a  " in ended.stdout
    assert why in refused(timed("export", "lvm:vg/a@x.img", "-"))


def test_thousands_of_volumes_on_each_other_take_no_time(tmp_path: Path, timed: Run) -> None:
    (tmp_path / "x.img").write_bytes(group(*on_each_other(3000)))
    ended = timed("lvm", "ls", "x.img")
    assert (ended.returncode, ended.stdout.count("\n")) == (0, 3002)
    assert ended.stderr.count("lies on itself") == 3000
    assert "lies on itself" in refused(timed("export", "lvm:vg/v7@x.img", "-"))


def test_thousands_of_volumes_one_on_the_other_are_refused_too(tmp_path: Path, timed: Run) -> None:
    *upper, _ = on_each_other(3000)
    (tmp_path / "x.img").write_bytes(group(*upper, volume("v2999", linear(0, 1, "pv0", 0))))
    assert "lies on more than 20 volumes" in refused(timed("export", "lvm:vg/v7@x.img", "-"))


def test_exabytes_are_listed(tmp_path: Path, timed: Run) -> None:
    nothing = f'start_extent = 0\nextent_count = {1 << 50}\ntype = "zero"'
    (tmp_path / "x.img").write_bytes(group(volume("a", nothing), extents=1 << 50))
    assert "  4 EiB\n" in timed("lvm", "ls", "x.img").stdout


def test_two_groups_of_one_name_are_both_listed_and_neither_is_guessed(tmp_path: Path, timed: Run) -> None:
    (tmp_path / "x.img").write_bytes(pv(group_text(volumes=SOUND)))
    other = group_text(uuid_name="other", pvs=[PvText("pv0", 7, (), "pv9")], volumes=SOUND)
    (tmp_path / "y.img").write_bytes(pv(other, "pv9"))
    assert timed("lvm", "ls", "x.img", "y.img").stdout.count("vg: ") == 2
    assert "two groups" in refused(timed("export", "lvm:vg/a@x.img,y.img", "-"))


def test_a_copy_of_an_image_is_told_of_and_not_mixed_in(tmp_path: Path, timed: Run) -> None:
    (tmp_path / "x.img").write_bytes(pv(group_text(volumes=SOUND)))
    (tmp_path / "y.img").write_bytes(pv(group_text(volumes=SOUND, seqno=9)))
    ended = timed("lvm", "ls", "x.img", "y.img")
    assert ended.stdout.count("vg: ") == 1
    assert "y.img: the same physical volume as x.img, which counts" in ended.stderr


def test_nothing_in_the_metadata_can_write_to_a_terminal(tmp_path: Path, timed: Run) -> None:
    text = group_text(volumes=SOUND)
    for word in (uuid_of("a"), uuid_of("vg"), "/dev/pv0", "RESIZEABLE"):
        text = text.replace(word.encode(), b"\x1b[2J\n\xff" + word.encode())
    text = text.replace(b"extent_size", b'tags = ["\x1b[2J\n", "\xff\xc3\xbc"]\nextent_size', 1)
    (tmp_path / "x.img").write_bytes(pv(text))
    for arguments in (("-a",), ("--json",)):
        ended = timed("lvm", "ls", "x.img", *arguments)
        assert ended.returncode == 0
        assert all(line.isprintable() for line in ended.stdout.splitlines())
