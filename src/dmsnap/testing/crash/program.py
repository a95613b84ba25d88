"""Crash programs: what is done to an origin and its snapshots, as data, so that it can be printed and done again."""

from __future__ import annotations

from typing import Literal, NamedTuple

from dmsnap.target.exceptions import SyncMode

__all__ = [
    "ORIGIN",
    "Discard",
    "Flush",
    "Grow",
    "Merge",
    "Plan",
    "Program",
    "Reload",
    "Step",
    "Take",
    "Write",
    "Zero",
]

ORIGIN = "origin"


class Plan(NamedTuple):
    """A snapshot that a program uses.

    Attributes:
        name: Any but ``"origin"``.
        chunk_sectors: Chunk size.
        cow_sectors: Size of the COW device.
        kind: ``P`` or ``PO``.
        discards: What discards do: nothing, zero copies (``discard_zeroes_cow``), or go down to the origin too.
    """

    name: str
    chunk_sectors: int
    cow_sectors: int
    kind: Literal["P", "PO"] = "P"
    discards: Literal["", "zero", "passdown"] = ""


class Write(NamedTuple):
    """Writes ``sectors`` sectors that nobody wrote before to the origin or a snapshot, from ``sector`` on."""

    where: str
    sector: int
    sectors: int
    fua: bool = False


class Zero(NamedTuple):
    """Zeroes a range."""

    where: str
    sector: int
    sectors: int


class Discard(NamedTuple):
    """Discards a range of a snapshot."""

    where: str
    sector: int
    sectors: int


class Flush(NamedTuple):
    """Flushes the origin or a snapshot."""

    where: str


class Take(NamedTuple):
    """Makes a new store on the snapshot's COW device, where the first sector is zeros and all others are garbage."""

    name: str


class Merge(NamedTuple):
    """Merges a snapshot: one step of about ``most_sectors``, or steps of that size to the end.

    The first such step of a snapshot begins its merge, with its store handed over: its name then is the merge device's,
    and the origin's is not to be used.
    """

    name: str
    most_sectors: int
    to_the_end: bool = False
    in_order: bool = True


class Grow(NamedTuple):
    """Makes a COW device longer, by garbage."""

    name: str
    sectors: int


class Reload(NamedTuple):
    """Suspends every device and makes all anew; what was being merged is a snapshot again.

    Attributes:
        handover: The new devices get the stores as they are in use; otherwise they load them from the COW devices.
    """

    handover: bool = False


Step = Write | Zero | Discard | Flush | Take | Merge | Grow | Reload


class Program(NamedTuple):
    """What to do.

    Attributes:
        name: What it is about.
        origin_sectors: Size of the origin.
        plans: The snapshots. They are there, empty, from the beginning, but for those with a `Take`.
        steps: What is done, one after the other. Steps of a snapshot that was lost do nothing.
        sync: Of every snapshot.
    """

    name: str
    origin_sectors: int
    plans: tuple[Plan, ...]
    steps: tuple[Step, ...]
    sync: SyncMode = "flush"
