"""A snapshot opened for writing: ``open_snapshot(…, mode="r+")``."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest
from library_files import CHUNK, SnapshotFiles, open_descriptors, snapshot_files

import dmsnap
from dmsnap.block import BlockDevice, FileDevice, InUse, IOFailed, MemoryDevice
from dmsnap.block.wrap import FaultDevice, LogDevice, Request, fail_nth
from dmsnap.testing.writable_device_contract import WritableDeviceContract


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    return snapshot_files(tmp_path)


@pytest.fixture
def empty(tmp_path: Path) -> SnapshotFiles:
    """A new store of 1 MiB over an origin of 1 MiB."""
    parts = SnapshotFiles(tmp_path / "new.cow", tmp_path / "base.img", random.Random(2).randbytes(1 << 20))
    parts.origin.write_bytes(parts.content)
    dmsnap.create(parts.cow, 2 << 20, CHUNK)
    return parts


def read(files: SnapshotFiles) -> bytes:
    with dmsnap.open_snapshot(files.cow, files.origin) as snapshot:
        return snapshot.read()


class TestWritableSnapshotFileAsDevice(WritableDeviceContract):
    """It is a device as well."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.made = 0

    def make(self, content: bytes) -> BlockDevice:
        self.made += 1
        cow, origin = self.folder / f"{self.made}.cow", self.folder / f"{self.made}.img"
        origin.write_bytes(content)
        dmsnap.create(cow, 4 << 20, CHUNK)
        return dmsnap.open_snapshot(cow, origin, "r+")

    def make_read_only(self, content: bytes) -> BlockDevice:
        self.make(content).close()
        return dmsnap.open_snapshot(self.folder / f"{self.made}.cow", self.folder / f"{self.made}.img")


@pytest.mark.parametrize("sync", ["flush", "commit"])
def test_what_was_written_is_there_when_it_is_opened_again(sync, files: SnapshotFiles) -> None:
    rng = random.Random(11)
    model = bytearray(files.content)
    before = files.origin.read_bytes()
    with dmsnap.open_snapshot(files.cow, files.origin, "r+", sync=sync) as snapshot:
        for _ in range(60):
            offset = rng.randrange(len(model))
            data = rng.randbytes(min(rng.choice([1, 511, 512, 4096, 9000]), len(model) - offset))
            snapshot.seek(offset)
            assert snapshot.write(data) == len(data)
            model[offset : offset + len(data)] = data
            snapshot.seek(0)
            assert snapshot.read() == model
    assert read(files) == model
    assert files.origin.read_bytes() == before
    assert dmsnap.info(files.cow, origin=files.origin).findings == ()


@pytest.mark.parametrize("sync", ["flush", "commit"])
def test_the_bytes_are_the_same_whenever_they_become_durable(sync, empty: SnapshotFiles) -> None:
    with dmsnap.open_snapshot(empty.cow, empty.origin, "r+") as snapshot:
        for chunk in (7, 3, 4, 200, 7):
            snapshot.write_at(chunk * CHUNK, bytes([chunk]) * CHUNK)
    other = empty.cow.with_name("other.cow")
    dmsnap.create(other, 2 << 20, CHUNK)
    with dmsnap.open_snapshot(other, empty.origin, "r+", sync=sync) as snapshot:
        for chunk in (7, 3, 4, 200, 7):
            snapshot.write_at(chunk * CHUNK, bytes([chunk]) * CHUNK)
            snapshot.flush()
    assert other.read_bytes() == empty.cow.read_bytes()


def test_it_can_be_buffered(empty: SnapshotFiles) -> None:
    with io.BufferedRandom(dmsnap.open_snapshot(empty.cow, empty.origin, "r+")) as buffered:  # type: ignore[arg-type]
        buffered.seek(5)
        buffered.write(b"hello")
        buffered.seek(5 * CHUNK - 2)
        buffered.write(b"world")
    content = read(empty)
    assert content[:15] == empty.content[:5] + b"hello" + empty.content[10:15]
    assert content[5 * CHUNK - 2 :][:5] == b"world"


def test_what_was_flushed_is_there_without_a_close(empty: SnapshotFiles) -> None:
    snapshot = dmsnap.open_snapshot(empty.cow, empty.origin, "r+")
    snapshot.write_at(CHUNK, b"f" * CHUNK)
    snapshot.flush()
    snapshot.write_at(2 * CHUNK, b"n" * CHUNK)
    assert read(empty)[: 3 * CHUNK] == empty.content[:CHUNK] + b"f" * CHUNK + empty.content[2 * CHUNK : 3 * CHUNK]
    snapshot.close()
    assert read(empty)[2 * CHUNK : 3 * CHUNK] == b"n" * CHUNK


def test_closing_flushes_what_was_written_in_place_too(files: SnapshotFiles) -> None:
    cow = LogDevice(MemoryDevice(files.cow.read_bytes()))
    with dmsnap.open_snapshot(cow, files.origin, "r+") as snapshot:
        snapshot.write_at(3 * CHUNK, b"p" * CHUNK)
    assert [event.op for event in cow.events][-1] == "flush"


def test_an_exception_inside_the_block_leaves_a_sound_store(empty: SnapshotFiles) -> None:
    def fail() -> None:
        with dmsnap.open_snapshot(empty.cow, empty.origin, "r+") as snapshot:
            snapshot.write_at(0, b"x" * CHUNK)
            raise RuntimeError("of the program")

    with pytest.raises(RuntimeError, match="of the program"):
        fail()
    assert read(empty) == b"x" * CHUNK + empty.content[CHUNK:]
    assert dmsnap.info(empty.cow).findings == ()


@pytest.mark.parametrize("sync", ["flush", "commit"])
def test_an_interrupt_at_any_request_leaves_a_sound_store(sync, empty: SnapshotFiles) -> None:
    stop_at = 0
    interrupted = True
    while interrupted:
        stop_at += 1
        interrupted = False
        count = 0

        def interrupt(request: Request, stop_at: int = stop_at) -> bool:
            nonlocal count, interrupted
            count += 1
            if count == stop_at:
                interrupted = True
                raise KeyboardInterrupt
            return False

        inner = MemoryDevice(empty.cow.read_bytes())
        cow = FaultDevice(inner)
        try:
            with dmsnap.open_snapshot(cow, empty.origin, "r+", sync=sync) as snapshot:
                cow.faults.append(interrupt)
                snapshot.write_at(CHUNK, b"1" * 2 * CHUNK)
                snapshot.write_at(2 * CHUNK + 512, b"2" * 2 * CHUNK)
                snapshot.flush()
        except KeyboardInterrupt:
            pass
        with dmsnap.open_snapshot(inner, empty.origin) as snapshot:
            content = snapshot.read()
        allowed = [{before, first, second} for before, first, second in zip(*_stages(empty.content), strict=True)]
        assert all(byte in legal for byte, legal in zip(content, allowed, strict=False))
        assert content[len(allowed) :] == empty.content[len(allowed) :]
    assert stop_at > 5


def _stages(content: bytes) -> tuple[bytes, bytes, bytes]:
    """The first five chunks before, between and after the two writes above."""
    before = content[: 5 * CHUNK]
    between = before[:CHUNK] + b"1" * 2 * CHUNK + before[3 * CHUNK :]
    after = between[: 2 * CHUNK + 512] + b"2" * 2 * CHUNK + between[4 * CHUNK + 512 :]
    return before, between, after


# -- one writer -------------------------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_and_a_reader_is_not(empty: SnapshotFiles) -> None:
    with dmsnap.open_snapshot(empty.cow, empty.origin, "r+"):
        with pytest.raises(InUse, match="in use by another writer"):
            dmsnap.open_snapshot(empty.cow, empty.origin, "r+")
        with pytest.raises(InUse):
            dmsnap.merge(empty.cow, empty.origin)
        assert read(empty) == empty.content
    dmsnap.open_snapshot(empty.cow, empty.origin, "r+").close()


def test_snapshots_of_one_origin_are_written_to_at_once(empty: SnapshotFiles, tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "second.cow", 1 << 20)
    with (
        dmsnap.open_snapshot(empty.cow, empty.origin, "r+") as one,
        dmsnap.open_snapshot(tmp_path / "second.cow", empty.origin, "r+") as two,
    ):
        one.write(b"one")
        two.write(b"two")
    assert read(empty)[:3] == b"one"
    assert read(empty._replace(cow=tmp_path / "second.cow"))[:3] == b"two"


# -- what fails -------------------------------------------------------------------------------------------------------


def test_a_full_store_fails_the_write_and_keeps_what_is_there(tmp_path: Path) -> None:
    origin = MemoryDevice(bytes(64 * CHUNK))
    dmsnap.create(tmp_path / "small.cow", 6 * CHUNK, CHUNK)
    with dmsnap.open_snapshot(tmp_path / "small.cow", origin, "r+") as snapshot:
        snapshot.write(b"k" * 4 * CHUNK)
        with pytest.raises(OSError, match="full"):
            snapshot.write(b"n" * CHUNK)
        assert str(snapshot.status()) == "Overflow"
        assert snapshot.read_at(0, 5 * CHUNK) == b"k" * 4 * CHUNK + bytes(CHUNK)
    os.truncate(tmp_path / "small.cow", 8 * CHUNK)
    with dmsnap.open_snapshot(tmp_path / "small.cow", origin, "r+") as snapshot:
        snapshot.seek(4 * CHUNK)
        snapshot.write(b"n" * CHUNK)
        assert snapshot.read_at(0, 6 * CHUNK) == b"k" * 4 * CHUNK + b"n" * CHUNK + bytes(CHUNK)


def test_a_full_store_loses_the_snapshot_where_that_is_wanted(tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "small.cow", 6 * CHUNK, CHUNK)
    with (
        dmsnap.open_snapshot(tmp_path / "small.cow", MemoryDevice(64 * CHUNK), "r+", full="invalidate") as snapshot,
        pytest.raises(OSError, match="invalid"),
    ):
        snapshot.write(b"n" * 5 * CHUNK)
    assert dmsnap.status(tmp_path / "small.cow") == "Invalid"


def test_a_full_store_refuses_and_goes_on_where_that_is_wanted(tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "small.cow", 6 * CHUNK, CHUNK)
    with dmsnap.open_snapshot(tmp_path / "small.cow", MemoryDevice(64 * CHUNK), "r+", full="enospc") as snapshot:
        with pytest.raises(OSError, match="full"):
            snapshot.write(b"n" * 5 * CHUNK)
        snapshot.write_at(9 * CHUNK, b"k" * CHUNK)
    assert dmsnap.status(tmp_path / "small.cow") == "24/48 16"


@pytest.mark.parametrize("spare", [False, True])
def test_the_last_slot_before_an_area_beyond_the_end_can_be_spared(spare: bool, tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "trap.cow", (2 + 256) * CHUNK, CHUNK)  # 256 data chunks: all that one area can hold
    with dmsnap.open_snapshot(
        tmp_path / "trap.cow", MemoryDevice(300 * CHUNK), "r+", spare_last_slot=spare
    ) as snapshot:
        snapshot.write(b"k" * 255 * CHUNK)
        with pytest.raises(OSError):  # noqa: PT011 - either message; the statuses below are the point
            snapshot.write(b"n" * CHUNK)
    assert dmsnap.status(tmp_path / "trap.cow") == ("2056/2064 16" if spare else "Invalid")


def test_an_error_of_the_store_in_place_is_the_writers_alone(files: SnapshotFiles) -> None:
    cow = FaultDevice(MemoryDevice(files.cow.read_bytes()))
    with dmsnap.open_snapshot(cow, files.origin, "r+") as snapshot:
        cow.faults.append(lambda request: request.op == "write" and request.offset == 2 * CHUNK)
        with pytest.raises(IOFailed):
            snapshot.write_at(2 * CHUNK, b"w" * 2 * CHUNK)  # chunk 2 is new, chunk 3 has its copy in chunk 2
        cow.faults.clear()
        snapshot.write_at(2 * CHUNK, b"w" * 2 * CHUNK)
        assert snapshot.read_at(2 * CHUNK, 2 * CHUNK) == b"w" * 2 * CHUNK
        assert str(snapshot.status()).endswith(" 16")


def test_closing_lets_go_of_everything_also_when_it_fails(empty: SnapshotFiles) -> None:
    before = open_descriptors()
    with FileDevice(empty.cow, writable=True) as file:
        cow = FaultDevice(file)
        snapshot = dmsnap.open_snapshot(cow, empty.origin, "r+")
        snapshot.write_at(0, b"x" * CHUNK)
        cow.faults.append(fail_nth("flush"))
        with pytest.raises(IOFailed):
            snapshot.close()
        assert snapshot.closed
    assert open_descriptors() == before


# -- what is refused --------------------------------------------------------------------------------------------------


def test_other_modes_are_refused(files: SnapshotFiles) -> None:
    with pytest.raises(dmsnap.DmsnapError, match="no such mode: 'w'"):
        dmsnap.open_snapshot(files.cow, files.origin, "w")  # type: ignore[call-overload]
    with pytest.raises(dmsnap.DmsnapError, match="sync='never'"):
        dmsnap.open_snapshot(files.cow, files.origin, "r+", sync="never")  # type: ignore[call-overload]
