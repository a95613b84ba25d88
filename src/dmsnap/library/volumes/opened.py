"""Logical volumes in images that are opened when somebody asks for them, each image once."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice, ReadOnlyDevice
from dmsnap.block.medium import printable
from dmsnap.block.open import open_device
from dmsnap.errors import DmsnapError
from dmsnap.library.volumes.address import LvmAddress, is_lvm_address, parse_lvm_address

if TYPE_CHECKING:
    from dmsnap.library.origin_doubts import Warn
    from dmsnap.lvm.assembly import Assembly
    from dmsnap.lvm.groups import Group
    from dmsnap.lvm.model import LogicalVolume

__all__ = ["AmbiguousGroup", "NoSuchVolume", "OpenVolumes", "Volume", "VolumeInUse", "open_images"]


class NoSuchVolume(DmsnapError, LookupError):
    """The images have no such group, or the group no such volume."""


class AmbiguousGroup(DmsnapError, ValueError):
    """Two groups in the images have the same name."""


class VolumeInUse(ReadOnlyDevice):
    """A volume that is not to be written to, since LVM is at work with it, or others would be wrong by that."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A logical volume in open images.

    Attributes:
        address: What it was named as.
        group: Its group.
        assembly: What makes devices of the group's volumes.
        logical: What the metadata says of it.
    """

    address: LvmAddress
    group: Group
    assembly: Assembly
    logical: LogicalVolume

    @property
    def name(self) -> str:
        """``VG/LV``."""
        return f"{self.group.group.name}/{self.logical.name}"

    def is_same(self, other: Volume | None) -> bool:
        """Whether another is the same volume of the same images."""
        return other is not None and other.assembly is self.assembly and other.logical is self.logical

    @property
    def is_snapshot(self) -> bool:
        """Whether it is a snapshot by its metadata, so that it has an origin."""
        return self.origin is not None

    @property
    def origin(self) -> str | None:
        """The name of the volume that this snapshot was taken of; None for what is no snapshot."""
        return self.assembly.origin_of(self.logical.name)

    @property
    def snapshot_bytes(self) -> int | None:
        """The size of this snapshot, whose origin may have grown since; None for what is no snapshot."""
        snapshot = self.assembly.snapshots.by_name.get(self.logical.name)
        if snapshot is None:
            return None
        return snapshot.extent_count * self.group.group.extent_size_sectors * SECTOR_BYTES

    @property
    def other_snapshots(self) -> tuple[str, ...]:
        """The names of the other snapshots of this snapshot's origin."""
        origin = self.origin
        if origin is None:
            return ()
        return tuple(name for name in self.assembly.snapshots_of(origin) if name != self.logical.name)

    @property
    def merging(self) -> bool:
        """Whether LVM has begun to merge this snapshot, or will when its origin is activated."""
        snapshot = self.assembly.snapshots.by_name.get(self.logical.name)
        return snapshot is not None and snapshot.of.merging

    def storage(self, *, writable: bool = False) -> BlockDevice:
        """Returns its own storage: of a snapshot the store, of an origin what lies beneath its snapshots.

        Raises:
            NotAssembled: It cannot be put together.
            ReadOnlyDevice: It is to be written to and cannot be.
        """
        device = self.assembly.storage(self.logical.name)
        if writable and device.read_only:
            raise ReadOnlyDevice(
                f"{self.name}: can only be read: it is a mirror, or lies on one",
                hint="work on an export of it",
                device=device.name,
            )
        return device

    def refuse_to_write(self) -> None:
        """Does nothing if people may write to the volume, as LVM has it.

        Raises:
            VolumeInUse: It is being merged.
            ReadOnlyDevice: LVM has it read-only.
        """
        if self.merging:
            raise VolumeInUse(f"{self.name}: is being merged", hint="look with --read-only, or finish: 'dmsnap merge'")
        if "WRITE" not in self.logical.status:
            raise ReadOnlyDevice(f"{self.name}: is read-only in LVM", hint="look with --read-only, or 'lvchange -prw'")


class OpenVolumes:
    """The groups in images, each set of images opened when it is first named.

    Args:
        stack: Takes over what is opened.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._sets: dict[tuple[str, ...], list[tuple[Group, Assembly]]] = {}
        self._odd: dict[tuple[str, ...], str] = {}

    @property
    def doubts(self) -> list[str]:
        """Why what was opened so far may be old, a line each: of mirrors that are not all there."""
        return [doubt for each in self._sets.values() for _, assembly in each for doubt in assembly.doubts.values()]

    def tell_doubts(self, warn: Warn | None) -> None:
        """Calls ``warn`` with each of the `doubts`."""
        if warn is not None:
            for doubt in self.doubts:
                warn(doubt)

    def find(self, source: object, *, writable: bool = False) -> Volume | None:
        """Returns the volume that an address names; None for what is no address of a volume.

        Args:
            source: What a user or caller named.
            writable: Open the images for writing, and keep other writers away. Those that are open stay as they are.

        Raises:
            DmsnapError: An image cannot be opened, or there is no such volume in them.
        """
        if not is_lvm_address(source):
            return None
        from dmsnap.lvm.assembly import Assembly  # heavy: stores and NumPy, which listing needs for snapshots alone
        from dmsnap.lvm.groups import find_groups  # and most stores are no volumes

        address = parse_lvm_address(source)
        key = tuple(sorted(set(address.images)))
        if key not in self._sets:
            groups, findings = find_groups(open_images(address.images, self._stack, writable=writable))
            self._odd[key] = findings[0].message if findings else "there is no LVM2 label in it"
            self._sets[key] = [(group, Assembly(group.group, group.devices)) for group in groups]
        named = [each for each in self._sets[key] if each[0].group.name == address.group]
        where = ", ".join(map(printable, address.images))
        if not named:
            there = ", ".join(printable(group.group.name) for group, _ in self._sets[key])
            raise NoSuchVolume(
                f"{where}: no volume group {address.group}",
                hint=f"there is {there}" if there else self._odd[key],
                group=address.group,
            )
        if len(named) > 1:
            raise AmbiguousGroup(f"{where}: two groups are called {address.group}", hint="name the images of one alone")
        group, assembly = named[0]
        logical = group.group.logical_volumes.get(address.volume)
        if logical is None or any(segment.snapshot is not None for segment in logical.segments):
            raise NoSuchVolume(
                f"{where}: no volume {address.volume} in the group {address.group}",
                hint="'dmsnap lvm ls -a' lists them",
                group=address.group,
            )
        return Volume(address, group, assembly, logical)


def open_images(images: tuple[str, ...], stack: ExitStack, *, writable: bool = False) -> list[BlockDevice]:
    """Opens images, each once; what is opened is closed by ``stack``."""
    return [
        stack.enter_context(open_device(image, writable=writable, exclusive=writable))
        for image in dict.fromkeys(images)
    ]
