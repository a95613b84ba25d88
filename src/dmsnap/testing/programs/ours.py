"""Runs programs with our own targets."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Mapping

from dmsnap.block.contract import BadRequest, BlockDevice, IOFailed, ReadOnlyDevice
from dmsnap.block.memory import MemoryDevice
from dmsnap.target.stack import Stack, SyncMode
from dmsnap.target.table import BadTable
from dmsnap.testing.programs.language import Result
from dmsnap.testing.programs.pattern import SECTOR_BYTES
from dmsnap.testing.programs.program import Program
from dmsnap.testing.programs.running import errno_name, run_steps

__all__ = ["run_in_ours"]

_ERRNO: Mapping[type[Exception], int] = {
    IOFailed: errno.EIO,
    BadTable: errno.EINVAL,
    BadRequest: errno.EINVAL,
    ReadOnlyDevice: errno.EPERM,
}
"""What the kernel answers where an exception of ours has no errno of its own."""


def run_in_ours(program: Program, sync: SyncMode) -> Result:
    """Runs a program with disks in memory. An exception that has no errno is an outcome too, and in the log."""
    disks = {base.name: MemoryDevice(base.data(), name=base.name) for base in program.bases}
    log: list[str] = []

    def outcome_of(error: Exception) -> str:
        number = getattr(error, "errno", None)
        number = number or next((number for kind, number in _ERRNO.items() if isinstance(error, kind)), None)
        if isinstance(number, int):
            return errno_name(number)
        log.extend(traceback.format_exception(error))
        return f"raised {type(error).__name__}: {error}"

    with Stack(disks.__getitem__, sync=sync) as stack:
        outcomes = run_steps(program.steps, _OurDevices(stack, disks), outcome_of)
    content = {name: bytes(disk.read_at(0, disk.size_bytes)) for name, disk in disks.items()}
    return Result(tuple(outcomes), content, tuple(log))


class _OurDevices:
    """A stack over disks in memory."""

    def __init__(self, stack: Stack, disks: Mapping[str, MemoryDevice]) -> None:
        self._stack, self._disks = stack, disks
        self.load, self.suspend, self.resume, self.remove = stack.load, stack.suspend, stack.resume, stack.remove
        self.status, self.table = stack.status, stack.table

    def create(self, name: str, table: str) -> None:
        self._stack.create(name, table)

    def _device(self, name: str) -> BlockDevice:
        return self._disks.get(name) or self._stack.device(name)

    def read(self, name: str, sector: int, sectors: int) -> bytes:
        return bytes(self._device(name).read_at(sector * SECTOR_BYTES, sectors * SECTOR_BYTES))

    def write(self, name: str, sector: int, data: bytes) -> None:
        self._device(name).write_at(sector * SECTOR_BYTES, data)

    def flush(self, name: str) -> None:
        self._device(name).flush()

    def discard(self, name: str, sector: int, sectors: int) -> None:
        self._device(name).discard(sector * SECTOR_BYTES, sectors * SECTOR_BYTES)

    def zero(self, name: str, sector: int, sectors: int) -> None:
        self._device(name).zero(sector * SECTOR_BYTES, sectors * SECTOR_BYTES)

    def grow(self, name: str, sectors: int) -> None:
        self._disks[name].grow(sectors * SECTOR_BYTES)
