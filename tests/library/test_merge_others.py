"""``merge`` beside other snapshots of the same origin: those named keep their content."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from library_files import CHUNK

import dmsnap
from dmsnap.block import MemoryDevice
from dmsnap.block.wrap import FaultDevice, Request, fail_nth
from dmsnap.library import other_snapshots
from dmsnap.store import create_store, open_store

SIZE = 100 * CHUNK + 512


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.img"
    path.write_bytes(random.Random(3).randbytes(SIZE))
    return path


def snapshot(base: Path, name: str, chunks: tuple[int, ...], *, chunk_bytes: int = CHUNK, size: int = 1 << 21) -> Path:
    """A store in which chunks (of `CHUNK` bytes) were written to."""
    path = base.with_name(name)
    dmsnap.create(path, size, chunk_bytes)
    with dmsnap.open_snapshot(path, base, "r+") as writing:
        for chunk in chunks:
            writing.seek(chunk * CHUNK)
            writing.write(bytes([chunk]) * min(CHUNK, SIZE - chunk * CHUNK))
    return path


def content(cow: Path | MemoryDevice, base: Path | MemoryDevice) -> bytes:
    with dmsnap.open_snapshot(cow, base) as reading:
        return reading.read()


@pytest.mark.parametrize("other_chunk_bytes", [512, 4096, 32768])
def test_others_keep_their_content(other_chunk_bytes: int, base: Path) -> None:
    cow = snapshot(base, "merged.cow", (1, 2, 3, 7, 30, 100))
    others = [snapshot(base, "a.cow", (2, 50), chunk_bytes=other_chunk_bytes), snapshot(base, "b.cow", ())]
    wanted, kept = content(cow, base), [content(other, base) for other in others]
    dry = dmsnap.merge(cow, base, others=others, dry_run=True)
    result = dmsnap.merge(cow, base, others=others)
    assert base.read_bytes() == wanted
    assert [content(other, base) for other in others] == kept
    assert result.kept_bytes == dry.kept_bytes


def test_what_is_said_to_be_kept_is_what_the_stores_grow_by(base: Path) -> None:
    rng = random.Random(9)
    for number, chunk_bytes in enumerate([512, 2048, 8192, 65536]):
        cow = snapshot(base, f"{number}.cow", tuple(rng.sample(range(101), 30)))
        other = snapshot(base, f"{number}-other.cow", tuple(rng.sample(range(101), 10)), chunk_bytes=chunk_bytes)
        before = dmsnap.info(other).changed_bytes
        assert dmsnap.merge(cow, base, others=[other]).kept_bytes == dmsnap.info(other).changed_bytes - before


def test_without_being_named_they_are_made_wrong(base: Path) -> None:
    cow, other = snapshot(base, "merged.cow", (1,)), snapshot(base, "a.cow", ())
    kept = content(other, base)
    dmsnap.merge(cow, base)
    assert content(other, base) != kept


def test_an_other_without_room_is_refused_before_anything_is_written(base: Path) -> None:
    cow = snapshot(base, "merged.cow", tuple(range(20)))
    other = snapshot(base, "small.cow", (), size=12 * CHUNK)
    before = [path.read_bytes() for path in (cow, base, other)]
    with pytest.raises(dmsnap.DmsnapError, match=r"has room for 9 chunks more, and would have to keep 20") as raised:
        dmsnap.merge(cow, base, others=[other])
    assert "make it larger" in raised.value.hint
    assert [path.read_bytes() for path in (cow, base, other)] == before


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_other_that_is_damaged_is_refused_before_anything_is_written(dry_run: bool, base: Path) -> None:
    cow, other = snapshot(base, "merged.cow", (1, 2)), snapshot(base, "other.cow", (5, 6))
    data = bytearray(other.read_bytes())
    data[CHUNK + 8 : CHUNK + 16] = (1).to_bytes(8, "little")  # its first record's copy is in the first metadata area
    other.write_bytes(data)
    before = [path.read_bytes() for path in (cow, base, other)]
    with pytest.raises(dmsnap.DmsnapError, match=r"other\.cow: damaged, so that nothing must be added"):
        dmsnap.merge(cow, base, others=[other], dry_run=dry_run)
    assert [path.read_bytes() for path in (cow, base, other)] == before


def test_an_other_with_just_enough_room_stays_valid(base: Path) -> None:
    for size in range(20, 30):
        cow = snapshot(base, f"{size}.cow", tuple(range(20)))
        other = snapshot(base, f"{size}-other.cow", (), size=size * CHUNK)
        kept = content(other, base)
        try:
            dmsnap.merge(cow, base, others=[other])
        except other_snapshots.OtherTooFull:
            assert size < 23
        else:
            assert size >= 23
            assert content(other, base) == kept


def test_room_is_counted_as_it_is_given_out() -> None:
    for chunks in range(30, 110):
        device = MemoryDevice(chunks * 512)
        create_store(device, 1)
        origin = MemoryDevice(200 * 512)
        room = other_snapshots._room_chunks(open_store(device))
        with dmsnap.open_snapshot(device, origin, "r+") as writing:
            for chunk in range(room - 1):  # the last may be the one that Linux invalidates a snapshot for
                writing.write_at(chunk * 512, b"x" * 512)
            with pytest.raises(OSError, match=r"full|invalid|past the end"):
                writing.write_at((room - 1) * 512, b"x" * 2 * 512)


def test_an_other_that_fails_is_told_of_when_everything_is_merged(base: Path) -> None:
    cow, other = snapshot(base, "merged.cow", (1, 2)), snapshot(base, "a.cow", ())
    wanted = content(cow, base)
    failing = FaultDevice(MemoryDevice(other.read_bytes()), fail_nth("write"))
    with pytest.raises(dmsnap.DmsnapError, match="this other snapshot was lost") as raised:
        dmsnap.merge(cow, base, others=[failing])
    assert raised.value.hint == "the merge itself is complete"
    assert base.read_bytes() == wanted
    assert dmsnap.info(cow).exceptions == 0


@pytest.mark.parametrize("named", ["merged.cow", "base.img", "a.cow"])
def test_each_store_is_named_once(named: str, base: Path) -> None:
    cow, other = snapshot(base, "merged.cow", (1,)), snapshot(base, "a.cow", ())
    (base.with_name("link")).symlink_to(named)
    with pytest.raises(dmsnap.DmsnapError, match=r"named twice|is the origin"):
        dmsnap.merge(cow, base, others=[other, base.with_name("link")])


@pytest.mark.parametrize("how", ["interrupt", "origin cannot be written"])
def test_stopped_at_any_request_others_have_kept_their_content(how: str, base: Path) -> None:
    cow, other = snapshot(base, "merged.cow", (1, 2, 9)), snapshot(base, "a.cow", (2,), chunk_bytes=2 * CHUNK)
    wanted, kept = content(cow, base), content(other, base)
    stop_at = stopped = 0
    while stopped == stop_at:
        stop_at += 1
        count = 0

        def stop(request: Request, stop_at: int = stop_at) -> bool:
            nonlocal count
            if how != "interrupt" and request.op not in ("write", "flush"):
                return False  # what cannot be read cannot be kept: Linux invalidates the other snapshot
            count += 1
            if count == stop_at and how == "interrupt":
                raise KeyboardInterrupt
            return count >= stop_at

        parts = [MemoryDevice(path.read_bytes()) for path in (cow, base, other)]
        faulty = [FaultDevice(part, stop) if how == "interrupt" or part is parts[1] else part for part in parts]
        try:
            dmsnap.merge(faulty[0], faulty[1], others=[faulty[2]])
        except (KeyboardInterrupt, dmsnap.DmsnapError):
            stopped += 1
        assert content(parts[2], parts[1]) == kept
        dmsnap.merge(parts[0], parts[1], others=[parts[2]])
        assert bytes(parts[1].read_at(0, SIZE)) == wanted
        assert content(parts[2], parts[1]) == kept
    assert stopped >= 3
