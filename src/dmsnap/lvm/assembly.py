"""Logical volumes as block devices, from the physical volumes that are there.

An origin shows its own content, or while a snapshot is being merged into it what it will be; a snapshot shows the
origin as it was; any other volume is its storage.
"""

from __future__ import annotations

from collections.abc import Mapping

from dmsnap.block.contract import BadRequest, BlockDevice
from dmsnap.lvm.kinds import NotAssembled
from dmsnap.lvm.model import VolumeGroup
from dmsnap.lvm.snapshots import Snapshot, Snapshots
from dmsnap.lvm.storage import Storage
from dmsnap.store import open_store
from dmsnap.target.snapshot import SnapshotDevice

__all__ = ["Assembly", "NotAssembled"]


class Assembly:
    """The logical volumes of a group, as devices.

    Devices that it returns are new ones each time, and the caller's to close; which closes nothing else: the physical
    volumes stay open, and must until then. One thread at a time may ask for devices.

    Args:
        group: What the metadata say.
        devices: The physical volumes that are there, by the names that the metadata use ("pv0"), each from where the
            physical volume begins.

    Attributes:
        group: As given.
        snapshots: Which volumes are snapshots of which.
    """

    def __init__(self, group: VolumeGroup, devices: Mapping[str, BlockDevice]) -> None:
        self.group = group
        self.snapshots = Snapshots(group)
        self._storage = Storage(group, devices)

    # -- what people ask for ------------------------------------------------------------------------------------------

    def device(self, name: str) -> BlockDevice:
        """Returns a volume's content, as its own block device would show it.

        A snapshot can only be read, and so can an origin that has snapshots, which a write would have to keep right: of
        these `storage` can be written to. Mirrors can only be read, too, and what the metadata say is read-only.

        Raises:
            NotAssembled: There is no such volume, or it cannot be put together; the message says why.
            DmsnapError: The store of a snapshot is damaged, as `dmsnap.store.open_store`.
        """
        snapshot = self.snapshots.by_name.get(name)
        if snapshot is not None and snapshot.of.merging:
            raise self._storage.refusal(
                name,
                f"is being merged into {snapshot.of.origin}, and has no content of its own meanwhile",
                f"read {self.group.name}/{snapshot.of.origin}, which shows what it will be",
            )
        if snapshot is not None:
            return self._snapshot(snapshot, name, snapshot.extent_count * self._storage.extent_bytes)
        merging = self.snapshots.merging_into(name)
        if merging is not None:
            return self._snapshot(merging, name, None)
        device = self.storage(name)
        if self.snapshots.of(name) or "WRITE" not in self._storage.volume(name).status:
            device.read_only = True
        return device

    def storage(self, name: str) -> BlockDevice:
        """Returns a volume's own storage: of a snapshot its store, of an origin what lies beneath its snapshots.

        Raises:
            NotAssembled: As `device`.
        """
        return self._storage.of(name)

    def snapshot_parts(self, name: str) -> tuple[BlockDevice, BlockDevice] | None:
        """Returns origin and store of a snapshot, both as their own storage; None of any other volume.

        Raises:
            NotAssembled: As `device`.
        """
        snapshot = self.snapshots.by_name.get(name)
        if snapshot is None:
            self._storage.volume(name)
            return None
        self._check(snapshot, name)
        return self.storage(snapshot.of.origin), self.storage(snapshot.of.cow_store)

    def origin_of(self, name: str) -> str | None:
        """Returns the volume that a snapshot was taken of; None of any other volume."""
        snapshot = self.snapshots.by_name.get(name)
        return None if snapshot is None else snapshot.of.origin

    def snapshots_of(self, name: str) -> tuple[str, ...]:
        """Returns the snapshots of a volume, in the order of the metadata; that which is merging is one of them."""
        return tuple(snapshot.name for snapshot in self.snapshots.of(name))

    def is_merging(self, name: str) -> bool:
        """Whether a volume is a snapshot that is being merged, or an origin that one is being merged into."""
        snapshot = self.snapshots.by_name.get(name)
        return self.snapshots.merging_into(name) is not None or (snapshot is not None and snapshot.of.merging)

    @property
    def doubts(self) -> Mapping[str, str]:
        """Why what was put together so far may be old, in a line each, by the names of mirrors that are not all there.

        What is known to be old is none of them: it is refused.
        """
        return self._storage.doubts

    # -- snapshots ----------------------------------------------------------------------------------------------------

    def _check(self, snapshot: Snapshot, name: str) -> None:
        """Raises an error for a volume that shows a snapshot which contradicts itself."""
        if problem := self.group.logical_volumes[snapshot.kept_by].problem:
            raise self._storage.damaged(name, f"cannot be a snapshot: {problem}")

    def _snapshot(self, snapshot: Snapshot, name: str, size_bytes: int | None) -> BlockDevice:
        self._check(snapshot, name)
        origin, cow = self.storage(snapshot.of.origin), self.storage(snapshot.of.cow_store)
        store = open_store(
            cow,
            origin_size_bytes=origin.size_bytes,
            origin_block_size_bytes=origin.logical_block_size_bytes,
        )
        if snapshot.of.merging and not store.valid:  # then all of it is the origin's, as in Linux
            origin.read_only = True
            return origin
        try:
            return SnapshotDevice(origin, store, size_bytes=size_bytes, name=f"{self.group.name}/{name}")
        except BadRequest as error:
            raise self._storage.refusal(name, f"cannot be a snapshot of {snapshot.of.origin}", error.message) from error
