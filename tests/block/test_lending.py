"""Memory lent instead of copied: files that seem to be in the page cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dmsnap.block import BadRequest, DeviceClosed, FileDevice, MemoryDevice
from dmsnap.block import cached_file as cached_file_module
from dmsnap.block.cached_file import CachedFile
from dmsnap.block.wrap.fault import FaultDevice
from dmsnap.block.wrap.slice import SliceDevice
from dmsnap.testing import need

SIZE = 64 << 10


@pytest.fixture(autouse=True)
def _trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_file_module, "PRICE_OF_A_MISS", 4)
    monkeypatch.setattr(cached_file_module, "MOST_TRUST", 16)
    monkeypatch.setattr(cached_file_module, "LENT_AT_ONCE", 1)


def warmed(device: FileDevice, reads: int = 4) -> None:
    """Reads until the device should be trusted to be in the page cache."""
    for completion in device.start_reads([(0, memoryview(bytearray(512))) for _ in range(reads)]):
        completion.wait()


def lending(path: Path, **options: bool) -> FileDevice:
    device = FileDevice(path, **options)
    warmed(device)
    warmed(device)
    if device.lend([(0, 512)]) is None:
        device.close()
        need(False, "the filesystem of the temporary folder is none that is lent from")
    return device


def test_nothing_is_lent_before_enough_reads_found_all_they_wanted(path: Path) -> None:
    with FileDevice(path) as device:
        assert device.lend([(0, 512)]) is None
        device.read_at(0, SIZE)
        warmed(device, 3)
        assert device.lend([(0, 512)]) is None
        warmed(device, 1)
        need(device._cached._usable, "the filesystem of the temporary folder is none that is lent from")
        assert device.lend([(0, 512)]) is not None


def test_what_is_lent_is_what_would_be_read_also_after_a_write(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with lending(path, writable=True) as device:
        for step in range(3):
            ranges = [(0, 512), (1024, 4096), (SIZE - 512, 512), (512, 0), (0, SIZE)]
            loan = device.lend(ranges)
            assert loan is not None
            assert [b"".join(views) for views in loan.views] == [content[at : at + length] for at, length in ranges]
            loan.end()
            data = bytes([step]) * 1536
            device.write_at(512 * step, data)
            content[512 * step : 512 * step + len(data)] = data


def test_what_has_grown_is_lent_to_its_new_end_and_an_old_loan_stays(path: Path) -> None:
    with lending(path) as device:
        old = device.lend([(0, 4096)])
        with path.open("ab") as file:
            file.write(b"new!" * 1024)
        assert old is not None
        loan = device.lend([(SIZE, 4096)])
        assert loan is not None
        assert b"".join(loan.views[0]) == b"new!" * 1024
        assert b"".join(old.views[0]) == path.read_bytes()[:4096]
        loan.end()
        old.end()


def test_a_bad_range_is_refused_and_so_is_a_closed_device(path: Path) -> None:
    with lending(path) as device:
        for bad in ((0, SIZE + 512), (-512, 512), (0, -512), (SIZE, 512), (1, 512), (0, 100)):
            with pytest.raises(BadRequest):
                device.lend([(0, 512), bad])
    with pytest.raises(DeviceClosed):
        device.lend([(0, 512)])


def test_a_device_may_be_closed_while_memory_is_lent(path: Path) -> None:
    device = lending(path)
    loan = device.lend([(0, 512)])
    device.close()
    assert loan is not None
    assert b"".join(loan.views[0]) == path.read_bytes()[:512]
    loan.end()


def test_a_miss_costs_what_many_reads_that_found_everything_gave(path: Path) -> None:
    with path.open("rb") as file:
        cached = CachedFile(file.fileno())
        cached.found(7)
        need(cached.memory(SIZE) is not None, "the filesystem of the temporary folder is none that is lent from")
        cached.missed()  # 7 and the use itself, less 4
        assert cached.memory(SIZE) is not None
        cached.missed()
        assert cached.memory(SIZE) is None
        cached.found(3)
        assert cached.memory(SIZE) is not None
        cached.close()
        assert cached.memory(SIZE) is None


def test_however_long_all_was_found_a_few_misses_are_enough(path: Path) -> None:
    with path.open("rb") as file:
        cached = CachedFile(file.fileno())
        cached.found(1000)
        for _ in range(4):
            cached.missed()
        assert cached.memory(SIZE) is None


def test_a_page_that_had_to_be_read_from_the_medium_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "cold.img"
    path.write_bytes(os.urandom(8 << 20))
    with lending(path) as device, (tmp_path / "out").open("wb", buffering=0) as out:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        loan = device.lend([(4 << 20, 4096)])
        assert loan is not None
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
        os.writev(out.fileno(), [view for views in loan.views for view in views])
        loan.end()
        device._lent_in_vain(unreadable=False)
        assert device.lend([(0, 512)]) is None
    assert (tmp_path / "out").read_bytes() == path.read_bytes()[4 << 20 :][:4096]


def test_what_was_cut_short_is_an_error_of_the_system_call_and_no_end_of_the_program(tmp_path: Path) -> None:
    path = tmp_path / "cut.img"
    path.write_bytes(bytes(SIZE))
    with lending(path) as device, (tmp_path / "out").open("wb", buffering=0) as out:
        os.truncate(path, 4096)
        loan = device.lend([(8192, 4096)])
        assert loan is not None
        with pytest.raises(OSError, match="Bad address"):
            os.writev(out.fileno(), loan.views[0])
        loan.end(unreadable=True)
        warmed(device, 100)
        assert device.lend([(0, 512)]) is None, "and once is enough"


def test_a_slice_lends_its_part(path: Path) -> None:
    content = path.read_bytes()
    with SliceDevice(lending(path), 4096, 8192) as part:
        loan = part.lend([(0, 512), (7680, 512)])
        assert loan is not None
        assert [b"".join(views) for views in loan.views] == [content[4096:4608], content[11776:12288]]
        loan.end()
        with pytest.raises(BadRequest):
            part.lend([(7680, 1024)])


def test_memory_and_what_is_to_see_every_read_lend_nothing(path: Path) -> None:
    assert MemoryDevice(bytes(SIZE)).lend([(0, 512)]) is None
    with FaultDevice(lending(path)) as device:
        assert device.lend([(0, 512)]) is None


def test_on_tmpfs_where_a_hole_would_take_memory_nothing_is_lent() -> None:
    need(Path("/dev/shm").is_dir(), "there is no /dev/shm")
    path = Path("/dev/shm") / f"dmsnap-test-{os.getpid()}"
    path.write_bytes(bytes(SIZE))
    try:
        with path.open("rb") as file:
            cached = CachedFile(file.fileno())
            cached.found(100)
            assert cached.memory(SIZE) is None
    finally:
        path.unlink()
