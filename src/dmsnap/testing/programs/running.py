"""Runs steps against devices of whatever kind: one loop for the kernel and for ours. Also runs in the guest."""

from __future__ import annotations

import errno
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Protocol

from dmsnap.testing.programs.language import (
    Create,
    Discard,
    Flush,
    Grow,
    Load,
    Read,
    Remove,
    Resume,
    Status,
    Step,
    Suspend,
    Table,
    WaitMerge,
    Write,
    Zero,
)
from dmsnap.testing.programs.pattern import pattern

__all__ = ["Devices", "errno_name", "run_steps"]

_MERGE_SECONDS = 60.0
_POLL_SECONDS = 0.002


class Devices(Protocol):
    """What runs the steps: see `dmsnap.testing.programs.language` for each."""

    def create(self, name: str, table: str) -> None:
        """Makes a device with a table, running."""
        ...

    def load(self, name: str, table: str) -> None:
        """Gives a device another table, to be used from `resume` on."""
        ...

    def suspend(self, name: str) -> None:
        """Holds a device's I/O."""
        ...

    def resume(self, name: str) -> None:
        """Lets it go on, with the table loaded last."""
        ...

    def remove(self, name: str) -> None:
        """Takes a device away."""
        ...

    def status(self, name: str) -> str:
        """Returns the status line, from the start sector on."""
        ...

    def table(self, name: str) -> str:
        """Returns the table line, device names as they were given."""
        ...

    def read(self, name: str, sector: int, sectors: int) -> bytes:
        """Returns what a range of sectors reads as."""
        ...

    def write(self, name: str, sector: int, data: bytes) -> None:
        """Writes whole sectors in one request, past every cache."""
        ...

    def flush(self, name: str) -> None:
        """Makes durable what was written."""
        ...

    def discard(self, name: str, sector: int, sectors: int) -> None:
        """Discards a range of sectors."""
        ...

    def zero(self, name: str, sector: int, sectors: int) -> None:
        """Makes a range of sectors read as zeros."""
        ...

    def grow(self, name: str, sectors: int) -> None:
        """Makes a base device larger, to a number of sectors."""
        ...


def run_steps(steps: Iterable[Step], devices: Devices, outcome_of: Callable[[Exception], str]) -> list[str]:
    """Runs ``steps`` one after the other and returns their outcomes.

    Args:
        steps: What to do. A step that fails does not end the run.
        devices: What to do it with.
        outcome_of: Returns the outcome of a step that raised; raises again what is no outcome.
    """
    outcomes = []
    for step in steps:
        try:
            outcomes.append(_answer(step, devices) or "ok")
        except Exception as error:  # noqa: BLE001 - outcome_of decides which are outcomes
            outcomes.append(outcome_of(error))
    return outcomes


def errno_name(number: int) -> str:
    """Returns the name of an errno; of two for one number, the one device-mapper uses."""
    return "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode.get(number, str(number))


def _answer(step: Step, devices: Devices) -> str | None:
    match step:
        case Create() | Load():
            (devices.create if isinstance(step, Create) else devices.load)(step.name, step.table)
        case Suspend():
            devices.suspend(step.name)
        case Resume():
            devices.resume(step.name)
        case Remove():
            devices.remove(step.name)
        case Write():
            devices.write(step.name, step.sector, pattern(step.seed, step.sector, step.sectors))
        case Flush():
            devices.flush(step.name)
        case Discard():
            devices.discard(step.name, step.sector, step.sectors)
        case Zero():
            devices.zero(step.name, step.sector, step.sectors)
        case Grow():
            devices.grow(step.name, step.sectors)
        case Read():
            return f"{zlib.crc32(devices.read(step.name, step.sector, step.sectors)):08x}"
        case Status():
            return _lines(devices.status(step.name))
        case Table():
            return _lines(devices.table(step.name))
        case WaitMerge():
            return _wait_for_merge(step.name, devices)
    return None


def _lines(said: str) -> str:
    return "\n".join(line.rstrip() for line in said.splitlines())


def _wait_for_merge(name: str, devices: Devices) -> str:
    limit = time.monotonic() + _MERGE_SECONDS
    while time.monotonic() < limit:
        said = _lines(devices.status(name))
        kind, *words = said.split()[2:]
        if kind != "snapshot-merge" or "/" not in words[0] or words[0].split("/")[0] == words[1]:
            return said
        time.sleep(_POLL_SECONDS)
    return f"still merging after {_MERGE_SECONDS:.0f} s: {said}"
