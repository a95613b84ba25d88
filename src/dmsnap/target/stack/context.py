"""What targets are built in: the devices they may name, and what the stack was told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING

from dmsnap.block.contract import BlockDevice
from dmsnap.block.file import FileDevice
from dmsnap.errors import DmsnapError
from dmsnap.target.stack.refusals import TargetRefused

if TYPE_CHECKING:
    from dmsnap.target.stack.mapped_device import MappedDevice

__all__ = ["Names", "TableContext"]

_MAPPER = "/dev/mapper/"


class Names:
    """What a name in a table means: a device of the stack, or one from outside.

    Two names of one file are one device, as two paths to a disk are for the kernel.

    Args:
        open_device: Gives a device from outside; asked once for each name.

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
        if device is None:
            device = self._open_device(name)
            device = self._by_medium.setdefault(_medium(device), device)
            self._opened[name] = device
        return device


def _medium(device: BlockDevice) -> object:
    """What is the same for two devices on one medium, where that can be told."""
    if isinstance(device, FileDevice):
        with suppress(OSError):
            status = os.stat(device.path)  # noqa: PTH116 - of what the path leads to now, as the device was opened now
            return ("disk", status.st_rdev) if status.st_rdev else ("file", status.st_dev, status.st_ino)
    return id(device)


class TableContext:
    """What one table is built in.

    Args:
        names: Of the stack.
        mapped: The device whose table it is.
        read_only: Whether the table is loaded for a device that cannot be written.

    Attributes:
        uses: Devices of the stack that the table's targets use, each as often as it was asked for.
    """

    def __init__(self, names: Names, mapped: MappedDevice, *, read_only: bool = False) -> None:
        self.mapped = mapped
        self.read_only = read_only
        self.uses: list[MappedDevice] = []
        self._names = names

    def device(self, name: str, refusal: str) -> BlockDevice:
        """Returns the device that a target names.

        Args:
            name: As in the table.
            refusal: The kernel's words where there is none.

        Raises:
            TargetRefused: There is none, it has no table yet, or it is built on the very device the table is for.
        """
        with self._names.lock:
            mapped = self._names.mapped_device(name)
            if mapped is None:
                return self._outside(name, refusal)
            if mapped.live is None:
                raise TargetRefused(refusal, errno.ENODEV, reason=f"{name} has no table yet", hint="load and resume it")
            if mapped is self.mapped or _reaches(mapped, self.mapped):
                raise TargetRefused(refusal, errno.ELOOP, reason=f"{name} is built on {self.mapped.name} itself")
            mapped.users += 1
            self.uses.append(mapped)
            return mapped

    def release(self) -> None:
        """Says that the table's targets use nothing any more."""
        with self._names.lock:
            for mapped in self.uses:
                mapped.users -= 1
            self.uses.clear()

    def _outside(self, name: str, refusal: str) -> BlockDevice:
        try:
            return self._names.outside_device(name)
        except LookupError:
            raise TargetRefused(refusal, errno.ENODEV, reason=f"{name}: no such device") from None
        except (DmsnapError, OSError) as error:
            number = error.errno if isinstance(error, OSError) else None
            # the kernel knows a path that leads nowhere as no device
            known = errno.ENODEV if number in (None, errno.ENOENT, errno.ENOTDIR) else number
            hint = error.hint if isinstance(error, DmsnapError) else ""
            reason = error.message if isinstance(error, DmsnapError) else f"{name}: {error}"
            raise TargetRefused(refusal, known or errno.ENODEV, reason=reason, hint=hint) from error


def _reaches(device: MappedDevice, wanted: MappedDevice) -> bool:
    """Whether a device is built on another, by its live table or the one that waits."""
    seen: set[int] = set()
    waiting = [device]
    while waiting:
        here = waiting.pop()
        if here is wanted:
            return True
        if id(here) not in seen:
            seen.add(id(here))
            waiting += _below(here)
    return False


def _below(device: MappedDevice) -> Iterable[MappedDevice]:
    for table in (device.live, device.inactive):
        if table is not None:
            yield from table.context.uses
