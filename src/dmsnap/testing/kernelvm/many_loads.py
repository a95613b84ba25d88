"""Has the kernel load a great many sound stores in one boot: what it says of them, and what their snapshots read as.

A few commands for all of them instead of a dozen for each (`dmsnap.testing.kernelvm.load_case`): in an emulated machine
it is the commands that take the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from dmsnap.testing.kernelvm.content import SECTOR_BYTES
from dmsnap.testing.kernelvm.load_case import LoadCase
from dmsnap.testing.kernelvm.machine import KernelVM
from dmsnap.testing.kernelvm.scenario_run import ScenarioFailed, Slices

__all__ = ["Read", "run_many_loads"]

_A_COMMAND = 48  # devices: an argument has at most 128 KiB
_MEMORY_MIB = 512
_MEMORY_OF_EACH_MIB = 3  # most of it for copies, which are never made


class Read(NamedTuple):
    """What the kernel made of a store that it loaded.

    Attributes:
        status: Status words.
        content: What the snapshot reads as.
    """

    status: str
    content: bytes


def run_many_loads(cases: Sequence[LoadCase], folder: Path, *, timeout_s: float = 600) -> list[Read]:
    """Boots the kernel once and has it load every case's store, all of them at the same time.

    Args:
        cases: With origins in whole pieces of 4 KiB.
        folder: For the disks: sparse images.
        timeout_s: For all of it.

    Raises:
        ScenarioFailed: A store was refused, or could not be read to its end: `run_load_cases` says which.
        KernelVMFailed, KernelVMUnavailable: As in `KernelVM.run`.
    """
    disks = origins, cows, dump = tuple(Slices(folder / name) for name in ("origins", "cows", "dump"))
    dump.add(sum(len(case.origin) for case in cases) // SECTOR_BYTES)
    machine = KernelVM(
        [disk.path for disk in disks],
        memory_mib=_MEMORY_MIB + len(cases) * _MEMORY_OF_EACH_MIB,
        cpus=1,  # to wait for the other ones to notice is most of making and removing a device
        timeout_s=timeout_s,
    )
    result = machine.run("\n".join(_script(cases, origins, cows)) + "\n")
    if result.status:
        raise ScenarioFailed(f"a store of {len(cases)} was not loaded, or not read: {result.stdout[-500:]}")
    said = dict(line.split(": ", 1) for line in result.sections["status"])
    reads, at = [], 0
    for number, case in enumerate(cases):
        sectors = len(case.origin) // SECTOR_BYTES
        reads.append(Read(" ".join(said[f"s{number}"].split()[3:]), dump.read(at, sectors)))
        at += sectors
    return reads


def _script(cases: Sequence[LoadCase], origins: Slices, cows: Slices) -> Iterator[str]:
    """Commands that load stores, tell their status and read their snapshots; nothing is removed: that takes longest."""
    below: dict[str, str] = {}
    snapshots: dict[str, str] = {}
    bases: dict[bytes, str] = {}
    for number, case in enumerate(cases):
        sectors, cow_sectors = len(case.origin) // SECTOR_BYTES, case.cow_sectors or len(case.cow) // SECTOR_BYTES
        base = bases.setdefault(case.origin, f"o{number}")  # origins that are alike are one: nobody writes to them
        if base not in below:
            below[base] = f"0 {sectors} linear /dev/disk0 {origins.add(sectors, case.origin)}"
        below[f"c{number}"] = f"0 {cow_sectors} linear /dev/disk1 {cows.add(cow_sectors, case.cow)}"
        snapshots[f"s{number}"] = (
            f"0 {sectors} snapshot /dev/mapper/{base} /dev/mapper/c{number} {case.store} {case.chunk_sectors}"
        )
    yield "set -e"
    for devices in (below, snapshots):
        yield from map(_create, _parts(devices))
    yield "section status; dmsetup status --target snapshot"
    yield "section read; exec 3>/dev/disk2"
    for part in _parts(snapshots):
        yield " ".join(["cat", *(f"/dev/mapper/{name}" for name in part), ">&3"])
    yield "sync"


def _create(tables: Mapping[str, str]) -> str:
    return f'dmsetup create --concise "{";".join(f"{name},,,rw,{table}" for name, table in tables.items())}"'


def _parts(tables: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Splits what would be too long for a command."""
    rest = iter(tables.items())
    while part := dict(islice(rest, _A_COMMAND)):
        yield part
