"""What all tables of a stack share: names of devices, origins in use, and what the stack was told."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING

from dmsnap.block.contract import BlockDevice
from dmsnap.block.file import FileDevice
from dmsnap.target.exceptions import SyncMode
from dmsnap.target.stack.origin_users import Origins

if TYPE_CHECKING:
    from dmsnap.target.stack.mapped_device import MappedDevice

__all__ = ["Names", "Shared"]

_MAPPER = "/dev/mapper/"


class Names:
    """What a name in a table means: a device of the stack, or one from outside.

    Two names of one file are one device, as two paths to a disk are for the kernel.

    Args:
        open_device: Gives a device from outside; asked once for each name, and again when that was closed.

    Attributes:
        mapped: The devices of the stack.
        lock: Of names and of who uses whom.
    """

    def __init__(self, open_device: Callable[[str], BlockDevice]) -> None:
        self.mapped: dict[str, MappedDevice] = {}
        self.lock = RLock()
        self._open_device = open_device
        self._opened: dict[str, BlockDevice] = {}
        self._by_medium: dict[object, BlockDevice] = {}

    def mapped_device(self, name: str) -> MappedDevice | None:
        """Returns the device of the stack that ``NAME`` or ``/dev/mapper/NAME`` is, if it is one."""
        return self.mapped.get(name.removeprefix(_MAPPER))

    def outside_device(self, name: str) -> BlockDevice:
        """Returns a device from outside. Whatever ``open_device`` raises passes through."""
        device = self._opened.get(name)
        if device is None or device.closed:
            device = self._open_device(name)
            medium = _medium(device)
            if (known := self._by_medium.get(medium)) is not None and not known.closed:
                device = known
            self._opened[name] = self._by_medium[medium] = device
        return device


@dataclass(frozen=True, slots=True)
class Shared:
    """What all tables of a stack share.

    Attributes:
        names: Of devices.
        sync: When snapshots make their exceptions durable.
        prefetch: How stores are read when they are loaded.
        origins: In use by snapshots and origin targets.
    """

    names: Names
    sync: SyncMode
    prefetch: str | int
    origins: Origins = field(default_factory=Origins)


def _medium(device: BlockDevice) -> object:
    """What is the same for two devices on one medium, where that can be told."""
    if isinstance(device, FileDevice):
        with suppress(OSError):
            status = os.stat(device.path)  # noqa: PTH116 - of what the path leads to now, as the device was opened now
            return ("disk", status.st_rdev) if status.st_rdev else ("file", status.st_dev, status.st_ino)
    return id(device)
