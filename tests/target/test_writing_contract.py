"""Snapshots, origins and merges are block devices: the contract, for many chunk sizes and kinds of stores."""

from typing import ClassVar

from writing_devices import in_use, make_snapshot, make_store

from dmsnap.block import BlockDevice, MemoryDevice
from dmsnap.target.merging import MergeDevice
from dmsnap.testing.device_contract import DeviceContract
from dmsnap.testing.writable_device_contract import WritableDeviceContract


class Snapshots(WritableDeviceContract):
    """What the classes below differ in are their options."""

    options: ClassVar[dict] = {}

    def make(self, content: bytes) -> BlockDevice:
        return make_snapshot(MemoryDevice(content), **self.options)

    def make_read_only(self, content: bytes) -> BlockDevice:
        device = self.make(content)
        device.read_only = True
        return device


class TestSnapshotOfSectors(Snapshots):
    options: ClassVar[dict] = {"chunk_sectors": 1}


class TestSnapshot(Snapshots):
    options: ClassVar[dict] = {"chunk_sectors": 8}


class TestSnapshotOfOneChunk(Snapshots):
    options: ClassVar[dict] = {"chunk_sectors": 4096, "cow_bytes": 8 << 20}


class TestSnapshotThatCommits(Snapshots):
    options: ClassVar[dict] = {"chunk_sectors": 2, "sync": "commit"}


class TestSnapshotThatDiscards(Snapshots):
    options: ClassVar[dict] = {"chunk_sectors": 8, "discard_zeroes_cow": True}


class TestOverflowingSnapshot(Snapshots):
    options: ClassVar[dict] = {"kind": "PO", "chunk_sectors": 8}


class TestTransientSnapshot(Snapshots):
    options: ClassVar[dict] = {"kind": "N", "chunk_sectors": 8}


class TestTransientSnapshotOfSectors(Snapshots):
    options: ClassVar[dict] = {"kind": "N", "chunk_sectors": 1}


class TestSnapshotWithMuchWritten(Snapshots):
    """Half of its chunks have an exception already; the origin has none of the content."""

    def make(self, content: bytes) -> BlockDevice:
        device = make_snapshot(MemoryDevice(len(content)), chunk_sectors=2)
        for at in range(0, len(content), 8192):
            device.write_at(at, content[at : at + 4096])
        for at in range(4096, len(content), 8192):
            device.origin.write_at(at, content[at : at + 4096])
        return device


class TestOriginWithSnapshots(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        disk = MemoryDevice(content)
        kinds = (("P", 1), ("N", 8), ("PO", 64))
        snapshots = [make_snapshot(disk, kind=kind, chunk_sectors=chunk) for kind, chunk in kinds]
        return in_use(disk, *snapshots)


class TestMerge(WritableDeviceContract):
    """Half of its chunks wait to be merged."""

    def make(self, content: bytes) -> BlockDevice:
        disk = MemoryDevice(len(content))
        snapshot = make_snapshot(disk, chunk_sectors=2)
        for at in range(0, len(content), 8192):
            snapshot.write_at(at, content[at : at + 4096])
            disk.write_at(at + 4096, content[at + 4096 : at + 8192])
        snapshot.flush()
        return MergeDevice(disk, snapshot.store, others=in_use(disk, make_snapshot(disk)).snapshots)


class TestMergeOfALostSnapshot(DeviceContract):
    """Everything is the origin's."""

    def make(self, content: bytes) -> BlockDevice:
        store = make_store(MemoryDevice(1 << 20))
        store.drop()
        return MergeDevice(MemoryDevice(content), store)
