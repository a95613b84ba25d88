"""Has Linux load stores that care made: it says of them and reads in them what it should."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.testing.care_programs.judging import Result
from dmsnap.testing.kernelvm.load_case import LoadCase, Loaded, run_load_cases
from dmsnap.testing.kernelvm.many_loads import Read, run_many_loads
from dmsnap.testing.kernelvm.scenario_run import ScenarioFailed
from dmsnap.testing.store_model import model_store

__all__ = ["differences"]

_PIECE_BYTES = 4096  # what Linux is asked for at once


def differences(results: Sequence[Result], folder: Path, *, timeout_s: float = 600) -> list[str]:
    """Boots Linux once and has it load every result; returns a line about each that it takes otherwise.

    Args:
        results: With different names.
        folder: For disks.
        timeout_s: For all of it.

    Raises:
        KernelVMUnavailable, KernelVMFailed, ScenarioFailed: There was no answer.
    """
    cases = [_case(result) for result in results]
    try:
        read = run_many_loads(cases, folder, timeout_s=timeout_s)
    except ScenarioFailed as error:  # slower, and it says which of them
        loaded = run_load_cases(cases, folder, timeout_s=timeout_s * 10)
        found = [line for result in results for line in _refused_or_unreadable(result, loaded[result.name])]
        return found or [f"many at once were not loaded, though each by itself is: {error.message}"]
    return [line for result, linux in zip(results, read, strict=True) for line in _difference(result, linux)]


def _case(result: Result) -> LoadCase:
    origin = result.origin + bytes(-len(result.origin) % _PIECE_BYTES)
    chunk_sectors = int.from_bytes(result.cow[12:16], "little")
    return LoadCase(result.name, origin, result.cow, chunk_sectors=chunk_sectors)


def _refused_or_unreadable(result: Result, linux: Loaded) -> Iterator[str]:
    if linux.status is None:
        yield f"{result.name}: Linux refuses it"
    else:
        yield from _difference(result, Read(linux.status, linux.content))
        if linux.unreadable:
            yield f"{result.name}: Linux reads {len(linux.unreadable)} pieces not at all"


def _difference(result: Result, linux: Read) -> Iterator[str]:
    status = model_store(result.cow).status
    if linux.status != status:
        yield f"{result.name}: Linux says {linux.status} of it, not {status}"
        return
    held = linux.content[: len(result.content)]
    if held != result.content:
        wrong = sum(
            held[at : at + SECTOR_BYTES] != result.content[at : at + SECTOR_BYTES]
            for at in range(0, len(result.content), SECTOR_BYTES)
        )
        yield f"{result.name}: Linux reads {wrong} sectors otherwise"
