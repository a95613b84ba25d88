"""What the file system of one file does, asked without FUSE."""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmsnap.block import Extent, IOFailed, MemoryDevice, OutOfRoom
from dmsnap.block.wrap import FaultDevice, LogDevice, StatsDevice, fail_nth
from dmsnap.serve.fuse import DeviceFilesystem
from dmsnap.serve.fuse.error_numbers import error_number
from dmsnap.store.exception_store import StoreFull

SIZE = 64 << 10
PUNCH, ZERO, KEEP = 2, 0x10, 1
CONTENT = random.Random(7).randbytes(SIZE)


def make(device: object = None, **options: object) -> DeviceFilesystem:
    return DeviceFilesystem(device or MemoryDevice(CONTENT), "disk", **options)  # type: ignore[arg-type]


def read(filesystem: DeviceFilesystem, offset: int = 0, length: int = SIZE) -> bytes:
    memory = bytearray(b"\xa5" * length)
    return bytes(memory[: filesystem.read_into(offset, memoryview(memory))])


@contextmanager
def refused(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number says which
        yield
    assert caught.value.errno == number


class LayeredDevice(MemoryDevice):
    """Whose second half lies in a layer behind it."""

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        for extent in super()._extents(offset, length):
            for start in range(extent.offset, extent.offset + extent.length, 512):
                yield Extent(start, 512, extent.kind, 1 if start < SIZE // 2 else 2)


# -- reading and writing ----------------------------------------------------------------------------------------------

RANGES = st.tuples(st.integers(0, SIZE + 100), st.integers(0, 10000))


@given(st.sampled_from([1, 512, 4096]), st.lists(st.tuples(st.sampled_from("wrzp"), RANGES), max_size=12))
def test_bytes_are_as_in_an_array_whatever_the_alignment(block: int, steps: list[tuple[str, tuple[int, int]]]) -> None:
    device = MemoryDevice(CONTENT, logical_block_size_bytes=block)
    filesystem, model = make(device), bytearray(CONTENT)
    for number, (step, (offset, length)) in enumerate(steps):
        end = min(offset + length, SIZE)
        if step == "r":
            assert read(filesystem, offset, length) == model[offset : offset + length]
        elif step == "w" and offset < SIZE and length:
            data = random.Random(number).randbytes(length)
            assert filesystem.write(offset, memoryview(data)) == end - offset
            model[offset:end] = data[: end - offset]
        elif offset < SIZE and step in "zp":
            filesystem.fallocate(None, KEEP | (ZERO if step == "z" else PUNCH), offset, length, 0)
            model[offset:end] = bytes(max(0, end - offset))
        assert device.read_at(0, SIZE) == model
    assert read(filesystem) == model


def test_whole_blocks_are_read_and_written_in_place() -> None:
    log = LogDevice(MemoryDevice(CONTENT))
    filesystem = make(log)
    read(filesystem, 4096, 8192)
    filesystem.write(4096, memoryview(bytes(8192)))
    assert log.ranges("read") == log.ranges("write") == [(4096, 8192)]


def test_a_write_reads_only_the_blocks_that_it_cuts() -> None:
    log = LogDevice(MemoryDevice(CONTENT))
    make(log).write(100, memoryview(bytes(8192)))
    assert log.ranges("read") == [(0, 512), (8192, 512)]
    assert log.ranges("write") == [(0, 8704)]


def test_nothing_is_written_past_the_end() -> None:
    filesystem = make()
    assert filesystem.write(SIZE - 3, memoryview(b"12345")) == 3
    with refused(errno.EFBIG):
        filesystem.write(SIZE, memoryview(b"x"))
    assert read(filesystem, SIZE - 3, 100) == b"123"


# -- holes ------------------------------------------------------------------------------------------------------------


def test_a_hole_is_not_punched_into_a_layer_behind() -> None:
    filesystem = make(LayeredDevice(CONTENT))
    filesystem.fallocate(None, KEEP | PUNCH, 0, SIZE // 2, 0)
    with refused(errno.EOPNOTSUPP):
        filesystem.fallocate(None, KEEP | PUNCH, SIZE // 2 - 512, 1024, 0)
    assert read(filesystem) == bytes(SIZE // 2) + CONTENT[SIZE // 2 :]


def test_zeros_that_are_asked_for_are_written_anywhere() -> None:
    filesystem = make(LayeredDevice(CONTENT))
    filesystem.fallocate(None, ZERO, 100, SIZE - 200, 0)
    assert read(filesystem) == CONTENT[:100] + bytes(SIZE - 200) + CONTENT[-100:]


@pytest.mark.parametrize("mode", [0, KEEP, 8, 0x20])
def test_room_cannot_be_promised(mode: int) -> None:
    with refused(errno.EOPNOTSUPP):
        make().fallocate(None, mode, 0, 4096, 0)


def test_data_and_holes_are_found() -> None:
    device = MemoryDevice(CONTENT[:8192] + bytes(16384) + CONTENT[: SIZE - 24576])
    filesystem = make(device)
    assert filesystem.lseek(5, os.SEEK_DATA) == 5
    assert filesystem.lseek(5, os.SEEK_HOLE) == 8192
    assert filesystem.lseek(8200, os.SEEK_DATA) == 24576
    assert filesystem.lseek(24576, os.SEEK_HOLE) == SIZE
    with refused(errno.ENXIO):
        filesystem.lseek(SIZE, os.SEEK_DATA)


# -- durability -------------------------------------------------------------------------------------------------------


def test_fsync_always_flushes() -> None:
    stats = StatsDevice(MemoryDevice(CONTENT))
    filesystem = make(stats)
    for _ in range(3):
        filesystem.fsync(None, 0, 0)
    assert stats.flushes.requests == 3


def test_closing_flushes_what_was_written_and_only_then() -> None:
    stats = StatsDevice(MemoryDevice(CONTENT))
    filesystem = make(stats)
    read(filesystem)
    filesystem.flush(None, 0)
    assert stats.flushes.requests == 0
    filesystem.write(0, memoryview(b"x"))
    filesystem.flush(None, 0)
    filesystem.flush(None, 0)
    filesystem.release(None, 0)
    assert stats.flushes.requests == 1


def test_a_flush_that_failed_is_tried_again() -> None:
    filesystem = make(FaultDevice(MemoryDevice(CONTENT), fail_nth("flush", 1)))
    filesystem.write(0, memoryview(b"x"))
    with refused(errno.EIO):
        filesystem.flush(None, 0)
    filesystem.flush(None, 0)


def test_a_write_that_failed_is_flushed_too() -> None:
    stats = StatsDevice(FaultDevice(MemoryDevice(CONTENT), fail_nth("write", 1)))
    filesystem = make(stats)
    with refused(errno.EIO):
        filesystem.write(0, memoryview(bytes(512)))
    filesystem.flush(None, 0)
    assert stats.flushes.requests == 1


# -- names, attributes, refusals --------------------------------------------------------------------------------------


def test_the_file_is_the_devices_size_and_its_owners_alone() -> None:
    told = make(changed_ns=17).getattr("/disk")
    assert told["st_size"] == SIZE
    assert told["st_mode"] == stat.S_IFREG | 0o600
    assert (told["st_uid"], told["st_gid"]) == (os.getuid(), os.getgid())
    assert told["st_mtime"] == told["st_ctime"] == 17


@pytest.mark.parametrize(("options", "mode"), [
    ({"read_only": True}, 0o400), ({"others": True}, 0o644), ({"read_only": True, "others": True}, 0o444),
])  # fmt: skip
def test_the_mode_says_who_may_what(options: dict[str, bool], mode: int) -> None:
    assert stat.S_IMODE(make(**options).getattr("/disk")["st_mode"]) == mode


def test_writing_changes_the_time_and_reading_does_not() -> None:
    filesystem = make(changed_ns=17)
    read(filesystem)
    assert filesystem.getattr(None, 0)["st_mtime"] == 17
    filesystem.write(0, memoryview(b"x"))
    assert filesystem.getattr(None, 0)["st_mtime"] > 17


def test_times_can_be_set() -> None:
    filesystem = make(changed_ns=17)
    filesystem.utimens("/disk", (5, (1 << 30) - 2))
    told = filesystem.getattr("/disk")
    assert (told["st_atime"], told["st_mtime"]) == (5, 17)
    assert told["st_ctime"] > 17


def test_there_is_one_name() -> None:
    filesystem = make()
    assert filesystem.readdir("/", 0) == [".", "..", "disk"]
    assert stat.S_ISDIR(filesystem.getattr("/")["st_mode"])
    for path in ("/other", "/disk/x", "/dis"):
        with refused(errno.ENOENT):
            filesystem.getattr(path)


def test_the_size_stays() -> None:
    filesystem = make()
    filesystem.truncate("/disk", SIZE)
    for size in (0, SIZE - 1, SIZE + 1):
        with refused(errno.EPERM):
            filesystem.truncate("/disk", size)
    with refused(errno.EPERM):
        filesystem.open("/disk", os.O_WRONLY | os.O_TRUNC)


def test_ioctls_are_not_for_it() -> None:
    with refused(errno.ENOTTY):
        make().ioctl("/disk", 0x1268, None, 0, 0, None)


@pytest.mark.parametrize("read_only_device", [False, True])
def test_read_only_refuses_every_change(read_only_device: bool) -> None:
    device = MemoryDevice(CONTENT, read_only=read_only_device)
    filesystem = make(device, read_only=not read_only_device)
    filesystem.open("/disk", os.O_RDONLY)
    for change in (
        lambda: filesystem.open("/disk", os.O_RDWR),
        lambda: filesystem.write(0, memoryview(b"x")),
        lambda: filesystem.truncate("/disk", SIZE),
        lambda: filesystem.fallocate(None, KEEP | PUNCH, 0, 512, 0),
        lambda: filesystem.utimens("/disk", None),
    ):
        with refused(errno.EROFS):
            change()
    filesystem.fsync(None, 0, 0)


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (IOFailed("x"), errno.EIO),
        (OutOfRoom("x"), errno.ENOSPC),
        (StoreFull("x"), errno.ENOSPC),
        (MemoryError(), errno.ENOMEM),
        (RuntimeError("a bug"), errno.EIO),
    ],
)
def test_errors_have_numbers(error: Exception, number: int) -> None:
    class Failing(MemoryDevice):
        def _read_into(self, offset: int, view: memoryview) -> None:
            raise error

    assert error_number(error) == number
    with refused(number):
        read(make(Failing(CONTENT)))
