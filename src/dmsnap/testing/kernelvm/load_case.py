"""Has the kernel load stores that something else made: what it says of them and what their snapshots read as."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dmsnap.testing.kernelvm.content import SECTOR_BYTES
from dmsnap.testing.kernelvm.machine import KernelVM
from dmsnap.testing.kernelvm.scenario_run import ScenarioFailed, Slices, guest_functions, kernel_log, said_words

__all__ = ["LoadCase", "Loaded", "run_load_cases"]


class LoadCase(NamedTuple):
    """A store to be loaded.

    Attributes:
        name: Unique in its run.
        origin: Content of the origin, in whole sectors.
        cow: Content of the COW device; what is beyond it reads as zeros.
        cow_sectors: Size of the COW device; by default that of ``cow``.
        chunk_sectors: In the table; 0 = none given.
        store: ``P``, ``PO`` or ``N``.
    """

    name: str
    origin: bytes
    cow: bytes
    cow_sectors: int | None = None
    chunk_sectors: int = 8
    store: str = "P"


class Loaded(NamedTuple):
    """What the kernel made of a store.

    Attributes:
        status: Status words; None if it refused to load the store.
        table: Store type, chunk size and features in the table; None likewise.
        content: What the snapshot reads as, with zeros for what gives EIO; empty if the store was refused.
        unreadable: The pieces of 4 KiB that give EIO, numbered from the start.
        cow_after: The COW device afterwards: loading writes to a store of zero magic.
        log: The kernel's messages.
    """

    status: str | None
    table: str | None
    content: bytes
    unreadable: frozenset[int]
    cow_after: bytes
    log: tuple[str, ...]


def run_load_cases(cases: Sequence[LoadCase], folder: Path, *, timeout_s: float = 240) -> dict[str, Loaded]:
    """Boots the kernel once and has it load every case's store; returns what came of each, by name.

    Args:
        cases: With different names, which are never given to the guest.
        folder: For the disks: sparse images.
        timeout_s: For all of it.

    Raises:
        ScenarioFailed: The guest broke off.
        KernelVMFailed, KernelVMUnavailable: As in `KernelVM.run`.
    """
    disks = _, origins, cows, dumps = tuple(Slices(folder / name) for name in ("data", "origins", "cows", "dumps"))
    script = [guest_functions()]
    placed: list[tuple[LoadCase, int, int, int, int]] = []
    for number, case in enumerate(cases):
        origin_sectors = len(case.origin) // SECTOR_BYTES
        cow_sectors = case.cow_sectors or len(case.cow) // SECTOR_BYTES
        origin_at, cow_at = origins.add(origin_sectors, case.origin), cows.add(cow_sectors, case.cow)
        dump_at = dumps.add(origin_sectors)
        placed.append((case, origin_sectors, cow_at, cow_sectors, dump_at))
        script += [
            f"section {number}",
            f"devices {origin_at} {origin_sectors} {cow_at} {cow_sectors}",
            f"snapshot {case.store} {case.chunk_sectors} &&"
            f" status loaded s && table loaded s && salvage {dump_at // 2048}",
            "finish",
        ]
    result = KernelVM([disk.path for disk in disks], timeout_s=timeout_s).run("\n".join(script))
    loaded = {}
    for number, (case, origin_sectors, cow_at, cow_sectors, dump_at) in enumerate(placed):
        said = result.sections.get(str(number), [])
        words = said_words(said)
        if ("loaded-status" in words) == ("failed create s" in said) or any(
            line.startswith("failed remove") for line in said
        ):
            raise ScenarioFailed(f"case {case.name} failed in the guest: {' | '.join(said)}")
        loaded[case.name] = Loaded(
            status=words.get("loaded-status"),
            table=words.get("loaded-table"),
            content=dumps.read(dump_at, origin_sectors) if "loaded-status" in words else b"",
            unreadable=frozenset(int(line.split()[1]) for line in said if line.startswith("unreadable ")),
            cow_after=cows.read(cow_at, cow_sectors),
            log=kernel_log(said),
        )
    return loaded
