"""A device as a file that is written to: any length, anywhere, and what is around it stays."""

from __future__ import annotations

import io
import random
import subprocess
import threading
from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmsnap.block import BadRequest, DeviceClosed, FileDevice, IOFailed, MemoryDevice, ReadOnlyDevice
from dmsnap.block.wrap import FaultDevice, LogDevice, Wrapper, fail_nth
from dmsnap.library import file_face
from dmsnap.library.file_face import FileFace
from dmsnap.store import create_store, open_store
from dmsnap.store.writable import PersistentStore
from dmsnap.target.snapshot import SnapshotDevice
from dmsnap.target.writable_snapshot import WritableSnapshot
from dmsnap.testing import need_tool
from dmsnap.transfer.raw import export_raw

BLOCK = 512
BLOCKS = 24
CONTENT = random.Random(5).randbytes(BLOCKS * BLOCK)


class MemoryFile(FileFace, MemoryDevice):
    """Memory as a file."""


class WrappedFile(FileFace, Wrapper):
    """Any device as a file."""


class SnapshotFile(FileFace, WritableSnapshot):
    """A snapshot as a file."""


@pytest.fixture(params=[1 << 20, 2 * BLOCK], ids=["usual", "small-pieces"], autouse=True, scope="module")
def assembled_bytes(request):
    """Up to which size a write is put together in memory must not show."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_face, "_ASSEMBLED_BYTES", request.param)
        yield


# -- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 512, 4096])
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CONTENT)), st.integers(0, 6 * BLOCK), st.integers(0, 255)), max_size=8))
def test_any_write_changes_its_bytes_and_no_others(block, writes):
    face, model = MemoryFile(CONTENT, logical_block_size_bytes=block), bytearray(CONTENT)
    for offset, length, value in writes:
        data = bytes([value]) * min(length, len(CONTENT) - offset)
        face.seek(offset)
        assert face.write(data) == len(data)
        model[offset : offset + len(data)] = data
        assert face.tell() == offset + len(data)
        assert face.read_at(0, len(model)) == model


def test_the_write_goes_on_where_the_last_one_or_a_read_ended():
    face = MemoryFile(CONTENT)
    face.seek(100)
    face.write(b"one")
    face.write(b"two")
    assert face.read(3) == CONTENT[106:109]
    face.write(b"three")
    face.seek(0)
    assert face.read() == CONTENT[:100] + b"onetwo" + CONTENT[106:109] + b"three" + CONTENT[114:]


def test_any_contiguous_memory_is_written():
    face = MemoryFile(4096)
    for data in (b"abc", bytearray(b"def"), memoryview(b"ghi"), memoryview(array("I", [1, 2])).cast("B", (2, 4))):
        assert face.write(data) == memoryview(data).nbytes
    assert face.write(array("I", [7])) == 4
    face.seek(0)
    assert face.read(21) == b"abcdefghi" + array("I", [1, 2, 7]).tobytes()


def test_whole_blocks_go_down_as_they_are_and_cut_ones_as_one_request():
    log = LogDevice(MemoryDevice(CONTENT))
    face = WrappedFile(log)
    face.seek(BLOCK)
    face.write(bytes(2 * BLOCK))
    face.flush()
    assert [tuple(event) for event in log.events] == [("write", BLOCK, 2 * BLOCK), ("flush", 0, 0)]
    log.events.clear()
    face.seek(BLOCK + 1)
    face.write(bytes(BLOCK))
    assert [tuple(event) for event in log.events] == [
        ("read", BLOCK, BLOCK),
        ("read", 2 * BLOCK, BLOCK),
        ("write", BLOCK, 2 * BLOCK),
    ]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (-1, 2), (-BLOCK - 3, 2 * BLOCK), (5, 1)])
def test_a_write_past_the_end_is_refused_and_writes_nothing(offset, length):
    face = MemoryFile(CONTENT)
    position = face.seek(offset, io.SEEK_END)
    with pytest.raises(BadRequest, match=r"reach past the end \(its size is fixed: 12288 bytes\)"):
        face.write(b"x" * length)
    assert face.tell() == position
    assert face.write(b"") == 0
    assert face.read_at(0, len(CONTENT)) == CONTENT


def test_a_device_that_is_read_only_has_no_writable_face():
    face = MemoryFile(CONTENT, read_only=True)
    assert not face.writable()
    with pytest.raises(ReadOnlyDevice):
        face.write(b"x")
    with pytest.raises(io.UnsupportedOperation):
        io.BufferedRandom(face)
    assert MemoryFile(CONTENT).writable()


def test_its_size_is_fixed():
    face = MemoryFile(CONTENT)
    for size in (None, 0, len(CONTENT), 2 * len(CONTENT)):
        with pytest.raises(io.UnsupportedOperation, match="keeps its size"):
            face.truncate(size)
    assert face.size_bytes == len(CONTENT)


def test_a_closed_face_writes_nothing():
    face = MemoryFile(CONTENT)
    face.close()
    with pytest.raises(DeviceClosed):
        face.write(b"x")


@pytest.mark.parametrize("op", ["read", "write"])
def test_a_failure_leaves_the_position_and_can_be_tried_again(op):
    face = WrappedFile(FaultDevice(MemoryDevice(CONTENT), fail_nth(op, 1)))
    face.seek(700)
    with pytest.raises(IOFailed):
        face.write(b"abc")
    assert face.tell() == 700
    assert face.write(b"abc") == 3
    assert face.read_at(512, 512) == CONTENT[512:700] + b"abc" + CONTENT[703:1024]


# -- many at once -----------------------------------------------------------------------------------------------------


def test_writes_of_many_threads_follow_each_other_and_none_is_lost():
    """Each begins in the block in which another ends, and the device lets others come in between read and write."""

    class Slow(MemoryDevice):
        def _read_into(self, offset, view):
            super()._read_into(offset, view)
            never.wait(0.0005)

    never, threads, each = threading.Event(), 4, 60
    face = WrappedFile(Slow(threads * each * 100 // BLOCK * BLOCK + BLOCK))

    def write(number: int) -> None:
        for _ in range(each):
            face.write(bytes([number + 1]) * 100)

    running = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert face.tell() == threads * each * 100
    records = [bytes(face.read_at(0, face.size_bytes)[at : at + 100]) for at in range(0, face.tell(), 100)]
    assert sorted(records) == sorted(bytes([number + 1]) * 100 for number in range(threads) for _ in range(each))


# -- buffered ---------------------------------------------------------------------------------------------------------

step = st.one_of(
    st.tuples(st.just("seek"), st.integers(0, len(CONTENT) - 3000)),
    st.tuples(st.just("read"), st.integers(0, 1500)),
    st.tuples(st.just("write"), st.integers(0, 1500)),
    st.tuples(st.just("flush"), st.just(0)),
)


@settings(deadline=None)
@given(st.lists(step, max_size=30), st.sampled_from([7, 512, 700, 8192]))
def test_a_buffered_file_over_it_is_a_file_of_fixed_size(steps, buffer_size):
    face, plain = MemoryFile(CONTENT), io.BytesIO(CONTENT)
    buffered = io.BufferedRandom(face, buffer_size)
    for number, (what, value) in enumerate(steps):
        if what == "seek":
            assert buffered.seek(value) == plain.seek(value)
        elif what == "read":
            assert buffered.read(value) == plain.read(value)
        elif what == "write":
            data = bytes([number]) * min(value, len(CONTENT) - plain.tell())
            assert buffered.write(data) == plain.write(data)
        else:
            buffered.flush()
        assert buffered.tell() == plain.tell()
    buffered.flush()
    assert face.read_at(0, len(CONTENT)) == plain.getvalue()
    buffered.close()
    assert face.closed


# -- a filesystem in a snapshot ---------------------------------------------------------------------------------------

LABEL_AT = 1024 + 0x78  # s_volume_name of ext4's superblock, 16 bytes


def test_a_filesystem_in_a_snapshot_is_changed_through_a_buffered_file(tmp_path: Path) -> None:
    mke2fs, debugfs, e2fsck = need_tool("mke2fs"), need_tool("debugfs"), need_tool("e2fsck")

    def ask(command: str, image: Path) -> str:
        return subprocess.run([debugfs, "-R", command, image], check=True, capture_output=True, text=True).stdout

    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "letter").write_bytes(b"old text " * 2000)
    origin = tmp_path / "origin.img"
    make = [mke2fs, "-q", "-t", "ext4", "-O", "^metadata_csum", "-L", "before", "-d", tmp_path / "root", origin, "4M"]
    subprocess.run(make, check=True)
    before = origin.read_bytes()
    places = [int(block) * 1024 for block in ask("blocks /letter", origin).split()]  # blocks of 1 KiB at this size
    assert ask("show_super_stats -h", origin).count("Block size:               1024") == 1

    with (tmp_path / "cow.img").open("wb") as file:
        file.truncate(8 << 20)
    with FileDevice(origin) as below, FileDevice(tmp_path / "cow.img", writable=True) as cow:
        create_store(cow, 8)
        with io.BufferedRandom(SnapshotFile(below, PersistentStore(open_store(cow)))) as disk:
            disk.seek(LABEL_AT)
            assert disk.read(16).rstrip(b"\0") == b"before"
            disk.seek(LABEL_AT)
            disk.write(b"after".ljust(16, b"\0"))
            text = (b"new words " * 2000)[:18000]
            for number, place in enumerate(places):
                for start in range(0, 1024, 100):  # pieces that cut sectors, blocks and chunks
                    disk.seek(place + start)
                    disk.write(text[number * 1024 :][:1024][start : start + 100])
            disk.flush()
    assert origin.read_bytes() == before

    changed = tmp_path / "changed.img"
    with FileDevice(origin) as below, FileDevice(tmp_path / "cow.img") as cow:
        export_raw(SnapshotDevice(below, open_store(cow)), changed)
    subprocess.run([e2fsck, "-fn", changed], check=True, capture_output=True)
    assert "Filesystem volume name:   after" in ask("show_super_stats -h", changed)
    assert ask("cat /letter", changed).encode() == text
