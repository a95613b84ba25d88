"""What of a table fails, and what goes on nevertheless. Linux does the same: `dmsnap.testing.programs` found it out."""

from __future__ import annotations

import random
import threading

import pytest

from dmsnap.block import IOFailed, MemoryDevice
from dmsnap.block.wrap import Wrapper
from dmsnap.target.stack import Stack

CONTENT = random.Random(7).randbytes(64 * 512)
NEW = b"\1" * len(CONTENT)
FAILS_FROM_8_TO_16 = "0 8 linear o 0\n8 8 error\n16 48 linear o 16"


def disks() -> dict[str, MemoryDevice]:
    return {"o": MemoryDevice(CONTENT, name="o"), "c": MemoryDevice(1 << 16, name="c"), "d": MemoryDevice(1 << 16)}


@pytest.mark.parametrize("fua", [False, True])
def test_a_write_that_fails_in_part_is_written_around_that(fua: bool) -> None:
    devices = disks()
    with Stack(devices.__getitem__) as stack:
        with pytest.raises(IOFailed):
            stack.create("r", FAILS_FROM_8_TO_16).write_at(0, NEW, fua=fua)
        assert devices["o"].read_at(0, len(CONTENT)) == NEW[:4096] + CONTENT[4096:8192] + NEW[8192:]


def test_so_are_zeros() -> None:
    devices = disks()
    with Stack(devices.__getitem__) as stack:
        with pytest.raises(IOFailed):
            stack.create("r", FAILS_FROM_8_TO_16).zero(0, len(CONTENT))
        assert devices["o"].read_at(8192, 512) == bytes(512)


def test_a_write_to_a_merge_goes_on_after_a_chunk_that_fails() -> None:
    devices = disks()
    with Stack(devices.__getitem__) as stack:
        stack.create("k", "0 128 linear c 0")
        merge = stack.create("s", "0 64 snapshot o k P 8")
        merge.write_at(0, NEW[:4096])
        stack.load("s", "0 64 snapshot-merge o k P 8")
        stack.load("k", "0 16 linear c 0\n16 112 error")
        stack.suspend("s")
        stack.resume("k")
        stack.resume("s")
        stack.suspend("s")  # waits for the merge
        assert stack.status("s") == "0 64 snapshot-merge Merge failed"
        stack.resume("s")
        with pytest.raises(IOFailed):
            merge.write_at(0, NEW[:12288])
        assert devices["o"].read_at(0, 12288) == CONTENT[:4096] + NEW[:8192]


class Counting(Wrapper):
    """A device that counts writes, and says so."""

    def __init__(self, content: bytes) -> None:
        super().__init__(MemoryDevice(content))
        self.writes = 0
        self.failed = threading.Event()

    def _write_at(self, offset: int, view: memoryview) -> None:
        self.writes += 1
        self.failed.set()
        raise IOFailed("broken")


def test_a_failed_merge_is_not_tried_again_because_a_snapshot_goes() -> None:
    origin = Counting(CONTENT)
    with Stack({**disks(), "o": origin}.__getitem__) as stack:
        stack.create("s", "0 64 snapshot o c P 8").write_at(0, NEW)
        stack.create("other", "0 64 snapshot o d N 8")
        stack.load("s", "0 64 snapshot-merge o c P 8")
        stack.resume("s")
        assert origin.failed.wait(30)
        stack.suspend("other")
        stack.remove("other")  # waits for the merge to end, and would begin it again
        tried = origin.writes
        stack.create("another", "0 64 snapshot o d N 8")
        stack.remove("another")
        assert stack.status("s") == "0 64 snapshot-merge Merge failed"
        assert origin.writes == tried


def test_an_invalid_snapshot_made_a_merge_has_nothing_to_merge() -> None:
    devices = disks()
    with Stack(devices.__getitem__) as stack:
        stack.create("k", "0 128 linear c 0")
        snapshot = stack.create("s", "0 64 snapshot o k P 8")
        snapshot.write_at(0, NEW[:4096])
        stack.load("k", "0 24 linear c 0\n24 104 error")
        stack.resume("k")
        with pytest.raises(IOFailed):
            snapshot.write_at(8192, NEW[:512])
        assert stack.status("s") == "0 64 snapshot Invalid"
        stack.load("s", "0 64 snapshot-merge o k P 8")
        stack.resume("s")
        assert stack.status("s") == "0 64 snapshot-merge Invalid"
        assert snapshot.read_at(0, len(CONTENT)) == CONTENT
        snapshot.write_at(0, NEW)
        assert devices["o"].read_at(0, len(NEW)) == NEW
