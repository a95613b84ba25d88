"""``dmsnap repair``."""

from __future__ import annotations

import json
import subprocess

import pytest

from dmsnap.testing import need_tool
from dmsnap.testing.named_damage import NAMED_DAMAGES

WRITABLE = [word for word, named in NAMED_DAMAGES.items() if named.unreadable is None]


@pytest.fixture
def damaged(files):
    """Writes a named damage, and an origin that goes with it."""

    def write(word: str):
        named = NAMED_DAMAGES[word]
        files.store.write_bytes(named.content())
        files.origin.write_bytes(b"\x55" * named.origin_bytes)
        return named

    return write


def test_a_sound_store_is_copied(run, files) -> None:
    process = run("repair", files.store, "-o", "new.cow")
    assert process.returncode == 0
    assert process.stdout == "new.cow: 272 exceptions, 0 lost, 0 doubtful; 2 MiB, chunks of 4 KiB\n"
    assert (files.folder / "new.cow").read_bytes() == files.store.read_bytes()


@pytest.mark.parametrize("word", WRITABLE)
def test_damage_has_to_be_accepted_by_its_word(word: str, run, files, damaged) -> None:
    named = damaged(word)
    before = files.store.read_bytes()
    refused = run("repair", files.store, "-o", "new.cow", "--origin", files.origin)
    if named.severity == "damage":
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert f"--accept {word})" in refused.stderr
        assert f"damage: {word}: " in refused.stdout
        assert not (files.folder / "new.cow").exists()
        assert run("repair", files.store, "-o", "new.cow", "--accept", word).returncode == 0
    else:
        assert refused.returncode == 0
    assert run("check", "new.cow").returncode == 0
    assert files.store.read_bytes() == before
    assert sorted(path.name for path in files.folder.iterdir()) == ["monday.cow", "new.cow", "notebook.img"]


def test_what_is_lost_or_doubtful_is_told_chunk_by_chunk(run, damaged, files) -> None:
    damaged("truncated")
    told = run("repair", files.store, "-o", "new.cow", "--accept", "truncated").stdout
    lost = [line for line in told.splitlines() if line.startswith("lost")]
    assert lost == [
        f"lost: origin chunk {192 + 3 * index} (area 2, record {index}, at byte {67 * 512 + 16 * index}): truncated"
        for index in range(2, 6)
    ]


def test_json_tells_every_record(run, damaged, files) -> None:
    damaged("top-bits")
    report = json.loads(run("repair", files.store, "-o", "new.cow", "--accept", "all", "--json").stdout)
    assert (report["written"], report["exceptions"], report["needed"]) == (True, 70, ["top-bits"])
    assert report["records"] == [
        {
            "number": 40,
            "area": 1,
            "index": 8,
            "offset_bytes": 34 * 512 + 8 * 16,
            "origin_chunk": 120,
            "cow_chunk": 43,
            "kind": "top-bits",
        }
    ]


def test_a_refusal_is_json_as_well(run, damaged, files) -> None:
    damaged("magic")
    process = run("repair", files.store, "-o", "new.cow", "--json")
    report = json.loads(process.stdout)
    assert (process.returncode, report["written"], report["refused"]) == (1, False, ["magic"])


@pytest.mark.parametrize("word", WRITABLE)
def test_the_map_is_one_of_ddrescue(word: str, run, damaged, files) -> None:
    ddrescuelog = need_tool("ddrescuelog")
    named = damaged(word)
    accepted = ["--accept", word] if named.severity == "damage" else []
    content = ["--origin", files.origin, "--image", "out.img", "--map", "out.map"]
    assert run("repair", files.store, "-o", "new.cow", *content, *accepted).returncode == 0
    assert (files.folder / "out.img").stat().st_size == named.origin_bytes
    told = subprocess.run([ddrescuelog, "-t", files.folder / "out.map"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "current pos:        0 B" in told.stdout
    listed = [line.split() for line in (files.folder / "out.map").read_text().splitlines() if line[0] != "#"][1:]
    assert sum(int(size, 16) for _, size, _ in listed) == named.origin_bytes


def test_the_image_shows_copies_and_the_origin(run, damaged, files) -> None:
    damaged("truncated")
    content = ["--origin", files.origin, "--image", "out.img", "--map", "out.map"]
    assert run("repair", files.store, "-o", "new.cow", *content, "--accept", "truncated").returncode == 0
    image = (files.folder / "out.img").read_bytes()
    assert image[3 * 512 : 4 * 512] == files.store.read_bytes()[3 * 512 : 4 * 512]
    assert image[198 * 512 : 199 * 512] == b"\x55" * 512
    assert "0x00018C00  0x00000200  -\n" in (files.folder / "out.map").read_text()


def test_the_moment_is_told(run, damaged, files) -> None:
    damaged("invalid-full")
    told = run("repair", files.store, "-o", "new.cow", "--accept", "invalid-full", "--size", "1M").stdout
    assert "became invalid after its last record, for origin chunk 207 (area 2, record 5, at byte 34384)" in told
    assert "0 chunks were left" in told
    assert (files.folder / "new.cow").stat().st_size == 1 << 20


@pytest.mark.parametrize("option", ["--image", "--map"])
def test_content_takes_the_origin(option: str, run, files) -> None:
    assert run("repair", files.store, "-o", "new.cow", option, "out").returncode == 2


@pytest.mark.parametrize("taken", ["monday.cow", "notebook.img", "other"])
@pytest.mark.parametrize("option", ["-o", "--image", "--map"])
def test_nothing_is_overwritten(option: str, taken: str, run, files) -> None:
    (files.folder / "other").write_bytes(b"precious")
    words = {"-o": "new.cow", "--image": "out.img", "--map": "out.map"} | {option: taken}
    before = {path.name: path.read_bytes() for path in files.folder.iterdir()}
    process = run("repair", files.store, "--origin", files.origin, *[word for pair in words.items() for word in pair])
    assert process.returncode == 1
    assert {path.name: path.read_bytes() for path in files.folder.iterdir()} == before
