"""The targets that keep nothing: linear, striped, zero and error, from their table lines."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice
from dmsnap.block.wrap.slice import SliceDevice
from dmsnap.target.error import ErrorDevice
from dmsnap.target.stack.numbers import scanned, strict
from dmsnap.target.stack.refusals import TargetRefused
from dmsnap.target.stack.target import Area, Target
from dmsnap.target.striped import StripedDevice
from dmsnap.target.table import table_argument
from dmsnap.target.zero import ZeroDevice

__all__ = ["ErrorTarget", "LinearTarget", "StripedTarget", "ZeroTarget"]


class LinearTarget(Target):
    """``linear <device> <first sector>``: a range of a device (Linux dm-linear)."""

    type = "linear"
    _device: BlockDevice | None = None

    def construct(self, arguments: Sequence[str]) -> None:
        if len(arguments) != 2:
            raise TargetRefused("Invalid argument count", hint="write: linear <device> <first sector>")
        offset = scanned(arguments[1], 64)
        if offset is None:
            raise TargetRefused("Invalid device sector", reason=repr(arguments[1][:80]), hint="use decimal digits")
        self._area = Area(self.context.device(arguments[0], "Device lookup failed"), arguments[0], offset, self.length)

    def areas(self) -> Sequence[Area]:
        return (self._area,)

    def flushed(self) -> Sequence[BlockDevice]:
        return (self._area.device,)

    def preresume(self) -> None:
        if self._device is None:  # what is below may have become smaller since, and then that part fails
            self.device = self._device = _slice(self._area)

    def table(self) -> str:
        return f"{table_argument(self._area.name)} {self._area.start}"


class StripedTarget(Target):
    """``striped <stripes> <chunk sectors> [<device> <first sector>]…``: chunks dealt out in turn (Linux dm-stripe)."""

    type = "striped"
    _device: BlockDevice | None = None

    def construct(self, arguments: Sequence[str]) -> None:
        if len(arguments) < 2:
            raise TargetRefused("Not enough arguments", hint="write: striped <stripes> <chunk> [<device> <sector>]…")
        stripes = strict(arguments[0], 32)
        if not stripes:
            raise TargetRefused("Invalid stripe count", reason=repr(arguments[0][:80]))
        chunk = strict(arguments[1], 32)
        if not chunk:
            raise TargetRefused("Invalid chunk_size", reason=repr(arguments[1][:80]))
        width, rest = divmod(self.length, stripes)
        if rest:
            raise TargetRefused("Target length not divisible by number of stripes")
        if width % chunk:
            raise TargetRefused("Target length not divisible by chunk size", hint="each stripe is of whole chunks")
        if len(arguments) != 2 + 2 * stripes:
            raise TargetRefused(
                "Not enough destinations specified", hint="a device and its first sector for each stripe"
            )
        self._chunk = chunk
        self._areas = [
            self._stripe(name, sector, width) for name, sector in zip(arguments[2::2], arguments[3::2], strict=True)
        ]

    def _stripe(self, name: str, sector: str, width: int) -> Area:
        refusal = "Couldn't parse stripe destination"
        offset = scanned(sector, 64)
        if offset is None:
            raise TargetRefused(refusal, errno.EINVAL, reason=f"{sector[:80]!r} is no sector")
        return Area(self.context.device(name, refusal), name, offset, width)

    def areas(self) -> Sequence[Area]:
        return self._areas

    def flushed(self) -> Sequence[BlockDevice]:
        return [area.device for area in self._areas]

    def preresume(self) -> None:
        if self._device is None:
            slices = [_slice(area) for area in self._areas]
            name = self.context.mapped.name
            self.device = self._device = StripedDevice(slices, self._chunk * SECTOR_BYTES, name=name)

    def status(self) -> str:
        names = [table_argument(area.name) for area in self._areas]
        return f"{len(names)} {' '.join(names)} 1 {'A' * len(names)}"

    def table(self) -> str:
        places = [f"{table_argument(area.name)} {area.start}" for area in self._areas]
        return f"{len(places)} {self._chunk} {' '.join(places)}"


class ZeroTarget(Target):
    """``zero``: reads as zeros, forgets what is written (Linux dm-zero)."""

    type = "zero"

    def construct(self, arguments: Sequence[str]) -> None:
        if arguments:
            raise TargetRefused("No arguments required")
        self.device = ZeroDevice(self.length * SECTOR_BYTES, name=self.context.mapped.name)


class ErrorTarget(Target):
    """``error``: every request fails; what stands behind it on the line is not looked at (Linux dm-target)."""

    type = "error"

    def construct(self, arguments: Sequence[str]) -> None:  # noqa: ARG002
        self.device = ErrorDevice(self.length * SECTOR_BYTES, name=self.context.mapped.name)


def _slice(area: Area) -> BlockDevice:
    return SliceDevice(area.device, area.start * SECTOR_BYTES, area.length * SECTOR_BYTES)
