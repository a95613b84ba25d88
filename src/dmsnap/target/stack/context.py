"""What the targets of a table are built in: the devices they may name, and what other tables share with them."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.target.stack.refusals import TargetRefused
from dmsnap.target.stack.shared import Shared

if TYPE_CHECKING:
    from dmsnap.target.stack.mapped_device import MappedDevice

__all__ = ["TableContext"]


class TableContext:
    """What one table is built in.

    Args:
        shared: By all tables of the stack.
        mapped: The device whose table it is.
        read_only: Whether the table is loaded for a device that cannot be written.

    Attributes:
        uses: Devices of the stack that the table's targets use, each as often as it was asked for.
    """

    def __init__(self, shared: Shared, mapped: MappedDevice, *, read_only: bool = False) -> None:
        self.mapped = mapped
        self.read_only = read_only
        self.uses: list[MappedDevice] = []
        self.shared = shared

    def device(self, name: str, refusal: str, *, writable: bool = False) -> BlockDevice:
        """Returns the device that a target names.

        Args:
            name: As in the table.
            refusal: The kernel's words where there is none.
            writable: Whether one that was opened to look will not do. (Linux 6.1 takes it, and writes to it.)

        Raises:
            TargetRefused: There is none, it has no table yet, or it is built on the very device the table is for.
        """
        device = self._find(name, refusal)
        if writable and device.read_only:
            raise TargetRefused(refusal, errno.EACCES, reason=f"{name} is read-only", hint="open it for writing")
        return device

    def _find(self, name: str, refusal: str) -> BlockDevice:
        with self.shared.names.lock:
            mapped = self.shared.names.mapped_device(name)
            if mapped is None or (
                mapped is self.mapped and name == mapped.name
            ):  # a bare name is never the device itself
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
        with self.shared.names.lock:
            for mapped in self.uses:
                mapped.users -= 1
            self.uses.clear()

    def _outside(self, name: str, refusal: str) -> BlockDevice:
        try:
            return self.shared.names.outside_device(name)
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
