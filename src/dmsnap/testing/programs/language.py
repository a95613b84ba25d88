"""The language of programs: base devices, steps in dmsetup's terms, and what comes of them. Data only, JSON in and out.

Numbers are sectors of 512 bytes. In tables a base device goes by its bare name, a mapped one by ``/dev/mapper/NAME``,
in what `Table` answers too. The outcome of a step is ``ok``, the name of an errno (``EIO``), or what it answers: status
or table lines, for `Read` a checksum.

This module also runs in the guest, whose Python has little more than the standard library's core: see
`dmsnap.testing.kernelvm.guest_python`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "MAX_REQUEST_SECTORS",
    "Create",
    "Discard",
    "Flush",
    "Grow",
    "Load",
    "Read",
    "Remove",
    "Result",
    "Resume",
    "Status",
    "Step",
    "Suspend",
    "Table",
    "WaitMerge",
    "Write",
    "Zero",
    "device_names",
    "step_from_json",
    "step_to_json",
]

MAX_REQUEST_SECTORS = 2048
"""The largest `Read`, `Write` or `Zero`: the kernel makes one request (bio) of up to 256 pages of memory."""


class Create(NamedTuple):
    """Makes a mapped device, loads its table and starts it; if that fails, it is gone again."""

    name: str
    table: str


class Load(NamedTuple):
    """Loads a table for the next `Resume`."""

    name: str
    table: str


class Suspend(NamedTuple):
    """Stops a mapped device once its requests are done."""

    name: str


class Resume(NamedTuple):
    """Starts a suspended device, with the table loaded since if there is one."""

    name: str


class Remove(NamedTuple):
    """Removes a mapped device."""

    name: str


class Write(NamedTuple):
    """Writes content that ``seed`` decides, in one request, and waits for it."""

    name: str
    sector: int
    sectors: int
    seed: int


class Flush(NamedTuple):
    """Has all that was written made durable."""

    name: str


class Discard(NamedTuple):
    """Discards a range, as ``blkdiscard`` does."""

    name: str
    sector: int
    sectors: int


class Zero(NamedTuple):
    """Zeroes a range, as ``blkdiscard --zeroout`` does."""

    name: str
    sector: int
    sectors: int


class Read(NamedTuple):
    """Reads a range in one request."""

    name: str
    sector: int
    sectors: int


class Status(NamedTuple):
    """Asks for the status lines."""

    name: str


class Table(NamedTuple):
    """Asks for the table lines."""

    name: str


class WaitMerge(NamedTuple):
    """Waits until a ``snapshot-merge`` is done or has given up; its outcome is the status then."""

    name: str


class Grow(NamedTuple):
    """Makes a base device larger, while in use."""

    name: str
    sectors: int


Step: TypeAlias = (
    Create
    | Load
    | Suspend
    | Resume
    | Remove
    | Write
    | Flush
    | Discard
    | Zero
    | Read
    | Status
    | Table
    | WaitMerge
    | Grow
)

_STEPS = (*(Create, Load, Suspend, Resume, Remove, Write, Flush, Discard, Zero, Read, Status, Table, WaitMerge, Grow),)
_BY_WORD = {step.__name__.lower(): step for step in _STEPS}


class Result(NamedTuple):
    """What came of a program.

    Attributes:
        outcomes: One a step.
        content: Every base device at the end, by name.
        log: What the kernel logged about device-mapper on the way; empty where there is no kernel.
    """

    outcomes: tuple[str, ...]
    content: Mapping[str, bytes]
    log: tuple[str, ...] = ()


def step_to_json(step: Step) -> list[Any]:
    """Returns a step as ``["write", "s1", 8, 3, 17]``."""
    return [type(step).__name__.lower(), *step]


def step_from_json(words: Sequence[Any]) -> Step:
    """The reverse of `step_to_json`.

    Raises:
        ValueError: There is no such step, or not with so many arguments, or one has the wrong type.
    """
    kind = _BY_WORD.get(words[0]) if words else None
    if kind is None or len(words) - 1 != len(kind._fields):
        raise ValueError(f"{words!r} is no step")
    for field, value in zip(kind._fields, words[1:], strict=True):
        if type(value) is not (str if field in ("name", "table") else int):
            raise ValueError(f"{field} of {words!r} has the wrong type")
    return kind(*words[1:])


def device_names(table: str, replace: Mapping[str, str]) -> str:
    """Returns a table with its words replaced where ``replace`` has them."""
    return re.sub(r"\S+", lambda word: replace.get(word[0], word[0]), table)
