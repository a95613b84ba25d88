"""Stores as our writer leaves them at the end of random programs, by a seed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.target.exceptions import SyncMode
from dmsnap.testing.crash.random_programs import KINDS, random_program
from dmsnap.testing.crash.recorder import Change, Grown, Timeline
from dmsnap.testing.crash.running import run
from dmsnap.testing.programs.generate import generate
from dmsnap.testing.programs.language import Create, Load
from dmsnap.testing.programs.ours import run_in_ours

__all__ = ["MadeStore", "made_stores"]

_LIVES = 4
"""Of so many seeds one is a whole life: chunks of any size, and disks that fail; all others have small chunks."""
_MAGIC = b"SnAp"


class MadeStore(NamedTuple):
    """A store that a program made.

    Attributes:
        name: Unique for its seed.
        origin: The origin, at the end of the program.
        cow: The COW device, likewise.
        roomy: Whether it may be invalid and yet not full: disks failed on the way, or its own became longer.
    """

    name: str
    origin: bytes
    cow: bytes
    roomy: bool

    @property
    def valid(self) -> bool:
        """Whether the header says so."""
        return any(self.cow[4:8])

    @property
    def chunk_bytes(self) -> int:
        """Size of its chunks."""
        return int.from_bytes(self.cow[12:16], "little") * SECTOR_BYTES


class _Disks(NamedTuple):
    """What a program leaves.

    Attributes:
        origin: Content of the origin.
        cows: Of the COW devices.
        roomy: Those of them of which `MadeStore.roomy` is true.
    """

    origin: bytes
    cows: dict[str, bytes]
    roomy: Collection[str]


def made_stores(seed: int) -> Iterator[MadeStore]:
    """Yields the persistent stores that the program of a seed makes: none, or up to three of one origin."""
    disks = _life(seed) if seed % _LIVES == 0 else _short_life(seed)
    for name, cow in disks.cows.items():
        if cow[:4] == _MAGIC:
            yield MadeStore(f"{seed}/{name}", disks.origin, cow, name in disks.roomy)


def _life(seed: int) -> _Disks:
    """Runs a program that has everything."""
    program = generate(seed)
    sync: SyncMode = "commit" if program.timely or seed % (2 * _LIVES) else "flush"
    content = run_in_ours(program, sync).content
    origin, *cows = (base.name for base in program.bases)
    failed = any(isinstance(step, Create | Load) and "error" in step.table.split() for step in program.steps)
    longer = {base.name for base in program.bases if len(content[base.name]) > base.sectors * SECTOR_BYTES}
    return _Disks(content[origin], {name: content[name] for name in cows}, cows if failed else longer)


def _short_life(seed: int) -> _Disks:
    """Runs a program that is about one thing, and stops anywhere: not all may be committed."""
    kinds = list(KINDS)
    sync: SyncMode = "commit" if seed // len(kinds) % 2 else "flush"
    program = random_program(kinds[seed % len(kinds)], sync, seed)
    done = run(program, program.name)
    assert not done.problems, done.problems
    return _at_the_end(done.timeline)


def _at_the_end(timeline: Timeline) -> _Disks:
    disks = [bytearray(content) for content in timeline.initial]
    longer = set()
    for event in timeline.events:
        if isinstance(event, Change):
            disks[event.disk][event.offset : event.offset + len(event.data)] = event.data
        elif isinstance(event, Grown):
            disks[event.disk] += event.content
            longer.add(timeline.names[event.disk])
    origin, *cows = map(bytes, disks)
    return _Disks(origin, dict(zip(timeline.names[1:], cows, strict=True)), longer)
