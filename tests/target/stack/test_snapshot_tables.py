"""Snapshots, origins and merges from table lines. What Linux does with the same lines is in ``tests/kernel``."""

from __future__ import annotations

import errno
import random
import threading
from pathlib import Path

import pytest

from dmsnap.block import BlockDevice, FileDevice, IOFailed, MemoryDevice, ReadOnlyDevice
from dmsnap.block.contract import OutOfRoom
from dmsnap.block.wrap import DelayDevice, FaultDevice, Wrapper, fail_nth
from dmsnap.store import open_store
from dmsnap.target.stack import Stack, SyncMode, TableRefused
from dmsnap.testing.device_contract import in_threads
from dmsnap.testing.writable_device_contract import WritableDeviceContract

SIZE = 1 << 18
SECTORS = SIZE // 512
CONTENT = random.Random(20).randbytes(SIZE)


def disks(**others: BlockDevice) -> dict[str, BlockDevice]:
    return {"o": MemoryDevice(CONTENT, name="o"), "c": MemoryDevice(1 << 20, name="c"), **others}


class TestSnapshotOverAnother(WritableDeviceContract):
    """A snapshot whose origin and COW device are themselves of the stack."""

    def make(self, content: bytes) -> BlockDevice:
        sectors = len(content) // 512
        stack = Stack(disks(o=MemoryDevice(bytes(512) + content)).__getitem__)
        stack.create("origin", f"0 {sectors} linear o 1")
        stack.create("cow", "0 1000 striped 2 50 c 0 c 600")
        return stack.create("it", f"0 {sectors} snapshot origin cow P 16 1 discard_zeroes_cow")


class TestOrigin(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        sectors = len(content) // 512
        stack = Stack(disks(o=MemoryDevice(content), d=MemoryDevice(1 << 20)).__getitem__)
        stack.create("one", f"0 {sectors} snapshot o c P 8")
        stack.create("two", f"0 {sectors} snapshot o d N 32")
        return stack.create("it", f"0 {sectors} snapshot-origin o")


class TestMerge(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        sectors = len(content) // 512
        stack = Stack(disks(o=MemoryDevice(bytes(len(content)))).__getitem__)
        stack.create("it", f"0 {sectors} snapshot o c P 8").write_at(0, content)
        stack.load("it", f"0 {sectors} snapshot-merge o c P 8")
        stack.resume("it")
        return stack.device("it")


@pytest.mark.parametrize("sync", ["flush", "commit"])
def test_what_a_removed_snapshot_kept_is_on_its_cow_device(sync: SyncMode) -> None:
    devices = disks()
    with Stack(devices.__getitem__, sync=sync) as stack:
        stack.create("s", f"0 {SECTORS} snapshot o c P 16").write_at(512, b"\1" * 512)
        assert len(open_store(devices["c"]).table) == (1 if sync == "commit" else 0)
    store = open_store(devices["c"])
    assert (len(store.table), store.chunk_size_sectors) == (1, 16)


def test_a_store_goes_on_where_it_was_left() -> None:
    devices = disks()
    with Stack(devices.__getitem__) as stack:
        stack.create("s", f"0 {SECTORS} snapshot o c P 16").write_at(8192, b"\1" * 8192)
    with Stack(devices.__getitem__, prefetch="kernel") as stack:
        again = stack.create("s", f"0 {SECTORS} snapshot o c P 0")
        assert again.read_at(8192, 8192) == b"\1" * 8192
        assert stack.status("s") == f"0 {SECTORS} snapshot 48/2048 32"
        assert stack.table("s") == f"0 {SECTORS} snapshot o c P 16"


def test_a_chunk_size_left_open_is_16_kib() -> None:
    with Stack(disks().__getitem__) as stack:
        stack.create("s", f"0 {SECTORS} snapshot o c P 0")
        assert stack.table("s") == f"0 {SECTORS} snapshot o c P 32"


def test_a_store_of_two_chunks_is_full_from_the_start() -> None:
    with Stack(disks(c=MemoryDevice(8192)).__getitem__) as stack:
        device = stack.create("s", f"0 {SECTORS} snapshot o c PO 8")
        assert stack.status("s") == f"0 {SECTORS} snapshot 16/16 16"
        with pytest.raises(IOFailed):
            device.write_at(0, bytes(512))
        assert stack.status("s") == f"0 {SECTORS} snapshot Overflow"
        assert device.read_at(0, SIZE) == CONTENT


def test_a_store_has_to_be_written_to() -> None:
    with Stack(disks(c=MemoryDevice(1 << 20, read_only=True)).__getitem__) as stack:
        for kind in ("P", "N"):
            with pytest.raises(TableRefused, match="Cannot get COW device: c is read-only") as caught:
                stack.create("s", f"0 {SECTORS} snapshot o c {kind} 8")
            assert caught.value.errno == errno.EACCES


def test_an_origin_may_be_read_only_for_a_snapshot_but_not_for_a_merge() -> None:
    with Stack(disks(o=MemoryDevice(CONTENT, read_only=True)).__getitem__) as stack:
        stack.create("s", f"0 {SECTORS} snapshot o c P 8").write_at(0, b"\1" * 512)
        assert stack.create("g", f"0 {SECTORS} snapshot-origin o").read_only
        with pytest.raises(TableRefused, match="Cannot get origin device: o is read-only"):
            stack.load("s", f"0 {SECTORS} snapshot-merge o c P 8")


def test_a_read_only_snapshot_keeps_what_the_origin_loses() -> None:
    with Stack(disks().__getitem__) as stack:
        snapshot = stack.create("s", f"0 {SECTORS} snapshot o c P 8", read_only=True)
        stack.create("g", f"0 {SECTORS} snapshot-origin o").write_at(0, bytes(4096))
        with pytest.raises(ReadOnlyDevice):
            snapshot.write_at(0, bytes(512))
        assert snapshot.read_at(0, SIZE) == CONTENT


def test_one_file_by_two_paths_is_not_origin_and_store(tmp_path: Path) -> None:
    path, link = tmp_path / "disk", tmp_path / "link"
    path.write_bytes(bytes(SIZE))
    link.symlink_to(path)
    opened: list[BlockDevice] = []

    def open_device(name: str) -> BlockDevice:
        opened.append(FileDevice(name, writable=True))
        return opened[-1]

    with (
        Stack(open_device) as stack,
        pytest.raises(TableRefused, match="COW device cannot be the same as origin device"),
    ):
        stack.create("s", f"0 {SECTORS} snapshot {path} {link} P 8")
    for device in opened:
        device.close()
    assert path.read_bytes() == bytes(SIZE)


def test_a_line_that_is_refused_leaves_the_cow_device_alone() -> None:
    devices = disks()
    with Stack(devices.__getitem__) as stack:
        for line in ("P 9", "PX 8", "P 8 1 x", "N 0"):
            with pytest.raises(TableRefused):
                stack.create("s", f"0 {SECTORS} snapshot o c {line}")
    assert devices["c"].read_at(0, 1 << 20) == bytes(1 << 20)


def test_errors_of_a_store_have_the_reason_behind_the_words() -> None:
    with Stack(
        disks(c=MemoryDevice(b"SnAp\1\0\0\0\2\0\0\0\x08\0\0\0".ljust(8192, b"\0"), name="c")).__getitem__
    ) as stack:
        with pytest.raises(
            TableRefused,
            match="s: snapshot: Failed to read snapshot metadata: c: unable to handle snapshot disk version 2 ",
        ):
            stack.create("s", f"0 {SECTORS} snapshot o c P 8")
        with pytest.raises(
            TableRefused, match="Couldn't create exception store: invalid chunk size 9: Chunk size is not a power of 2"
        ):
            stack.create("s", f"0 {SECTORS} snapshot o c P 9")


def test_a_cow_device_grows_while_it_is_in_use() -> None:
    devices = disks(c=MemoryDevice(1 << 20))
    with Stack(devices.__getitem__) as stack:
        stack.create("cow", "0 24 linear c 0")
        device = stack.create("s", f"0 {SECTORS} snapshot o cow P 8")
        device.write_at(0, b"\1" * 4096)
        assert stack.status("s") == f"0 {SECTORS} snapshot 24/24 16"
        stack.load("cow", "0 48 linear c 0")
        stack.resume("cow")
        device.write_at(8192, b"\2" * 4096)
        assert stack.status("s") == f"0 {SECTORS} snapshot 32/48 16"


class FullHost(Wrapper):
    """A device whose host has no room while ``full``."""

    full = False

    def _write_at(self, offset: int, view: memoryview) -> None:
        if self.full:
            error = OutOfRoom(f"{self.name}: no space left on device", device=self.name)
            error.errno = errno.ENOSPC
            raise error
        super()._write_at(offset, view)

    def _write_durably(self, offset: int, view: memoryview) -> None:
        self._write_at(offset, view)
        self._flush()


@pytest.mark.parametrize("target", ["snapshot", "snapshot-merge"])
def test_a_handover_that_the_host_has_no_room_for_can_be_tried_again(target: str) -> None:
    host = FullHost(MemoryDevice(1 << 20))
    with Stack(disks(c=host).__getitem__) as stack:
        device = stack.create("s", f"0 {SECTORS} snapshot o c P 8")
        device.write_at(0, b"\1" * 4096)
        stack.load("s", f"0 {SECTORS} {target} o c P 8")
        host.full = True
        with pytest.raises(TableRefused, match="no space left") as caught:
            stack.resume("s")
        assert caught.value.errno == errno.ENOSPC
        host.full = False
        stack.resume("s")
        assert device.read_at(0, 4096) == b"\1" * 4096


def test_a_removal_that_the_host_has_no_room_for_can_be_tried_again() -> None:
    host = FullHost(MemoryDevice(1 << 20))
    devices = disks(c=host)
    with Stack(devices.__getitem__) as stack:
        device = stack.create("s", f"0 {SECTORS} snapshot o c P 8")
        device.write_at(0, b"\1" * 4096)
        host.full = True
        with pytest.raises(TableRefused, match="no space left") as caught:
            stack.remove("s")
        assert caught.value.errno == errno.ENOSPC
        host.full = False
        stack.remove("s")
        assert stack.create("s", f"0 {SECTORS} snapshot o c P 8").read_at(0, 4096) == b"\1" * 4096


def test_a_stack_is_closed_though_the_host_has_no_room() -> None:
    host = FullHost(MemoryDevice(1 << 20))
    stack = Stack(disks(c=host).__getitem__)
    stack.create("s", f"0 {SECTORS} snapshot o c P 8").write_at(0, b"\1" * 4096)
    stack.create("above", "0 8 linear s 0")
    host.full = True
    with pytest.raises(OutOfRoom):
        stack.close()
    assert stack.names() == []


def test_a_store_that_fails_when_it_is_handed_over_is_lost() -> None:
    cow = FaultDevice(MemoryDevice(1 << 20))
    with Stack(disks(c=cow).__getitem__) as stack:
        stack.create("s", f"0 {SECTORS} snapshot o c P 8").write_at(0, b"\1" * 4096)
        stack.load("s", f"0 {SECTORS} snapshot o c P 8")
        cow.faults.append(fail_nth("write"))
        cow.faults.append(fail_nth("flush"))
        stack.resume("s")
        assert stack.status("s") == f"0 {SECTORS} snapshot Invalid"
        cow.faults.clear()


def test_a_merge_that_fails_says_so_until_another_table_is_loaded() -> None:
    origin = FaultDevice(MemoryDevice(CONTENT))
    with Stack(disks(o=origin).__getitem__) as stack:
        device = stack.create("s", f"0 {SECTORS} snapshot o c P 8")
        device.write_at(0, b"\1" * 4096)
        origin.faults.append(fail_nth("write"))
        stack.load("s", f"0 {SECTORS} snapshot-merge o c P 8")
        stack.resume("s")
        stack.suspend("s")  # waits for the step
        assert stack.status("s") == f"0 {SECTORS} snapshot-merge Merge failed"
        origin.faults.clear()
        stack.resume("s")
        stack.suspend("s")
        assert stack.status("s") == f"0 {SECTORS} snapshot-merge Merge failed"
        assert origin.read_at(0, 4096) == b"\1" * 4096
        stack.resume("s")
    with Stack(disks(o=origin).__getitem__) as stack:
        stack.create("s", f"0 {SECTORS} snapshot o c P 8")


def test_a_merge_stops_when_suspended_and_goes_on_when_resumed() -> None:
    slow = DelayDevice(MemoryDevice(8 << 20), 0.005)
    with Stack(disks(o=MemoryDevice(6 << 20), c=slow).__getitem__) as stack:
        sectors = (6 << 20) // 512
        content = random.Random(3).randbytes(6 << 20)
        device = stack.create("s", f"0 {sectors} snapshot o c P 8")
        device.write_at(0, content)
        stack.load("s", f"0 {sectors} snapshot-merge o c P 8")
        for _ in range(6):
            stack.resume("s")
            stack.suspend("s")
            before = stack.status("s")
            assert stack.status("s") == before
        stack.resume("s")
        assert device.read_at(0, 6 << 20) == content
        while stack.status("s") != f"0 {sectors} snapshot-merge 16/16384 16":
            threading.Event().wait(0.001)
        assert device.read_at(0, 6 << 20) == content


def test_snapshots_come_and_go_while_the_origin_is_written() -> None:
    """Each snapshot, taken at some moment, reads from then on what the origin was; nobody has to suspend anything."""
    rounds, blocks = 12, 64
    origin = MemoryDevice(blocks * 4096)
    devices = disks(o=origin, **{f"c{number}": MemoryDevice(1 << 20) for number in range(rounds)})
    with Stack(devices.__getitem__) as stack:
        writer = stack.create("g", f"0 {blocks * 8} snapshot-origin o")

        def work(number: int) -> None:
            if number:
                rng = random.Random(number)
                for turn in range(300):
                    block = rng.randrange(number - 1, blocks, 3)
                    writer.write_at(block * 4096, bytes([number, turn % 256]) * 2048)
                return
            for turn in range(rounds):
                device = stack.create("s", f"0 {blocks * 8} snapshot o c{turn} P {8 << turn % 3}")
                seen = device.read_at(0, blocks * 4096)
                again = device.read_at(0, blocks * 4096)
                assert seen == again
                stack.load("s", f"0 {blocks * 8} snapshot o c{turn} P 8")
                stack.resume("s")
                assert device.read_at(0, blocks * 4096) == seen
                stack.remove("s")

        in_threads(4, work)


def test_a_removed_stack_leaves_no_thread() -> None:
    before = threading.active_count()
    with Stack(disks().__getitem__) as stack:
        stack.create("s", f"0 {SECTORS} snapshot o c P 8").write_at(0, CONTENT)
        stack.load("s", f"0 {SECTORS} snapshot-merge o c P 8")
        stack.resume("s")
    assert threading.active_count() == before
