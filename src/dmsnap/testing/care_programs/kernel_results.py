"""Has Linux load stores that care made: it says of them and reads in them what it should."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.testing.care_programs.judging import Result
from dmsnap.testing.kernelvm.load_case import LoadCase, Loaded, run_load_cases
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
    loaded = run_load_cases([_case(result) for result in results], folder, timeout_s=timeout_s)
    return [line for result in results for line in _difference(result, loaded[result.name])]


def _case(result: Result) -> LoadCase:
    origin = result.origin + bytes(-len(result.origin) % _PIECE_BYTES)
    chunk_sectors = int.from_bytes(result.cow[12:16], "little")
    return LoadCase(result.name, origin, result.cow, chunk_sectors=chunk_sectors)


def _difference(result: Result, linux: Loaded) -> Iterator[str]:
    status = model_store(result.cow).status
    if linux.status != status:
        yield f"{result.name}: Linux says {linux.status} of it, not {status}"
        return
    held = linux.content[: len(result.content)]
    wrong = sum(
        held[at : at + SECTOR_BYTES] != result.content[at : at + SECTOR_BYTES]
        for at in range(0, len(result.content), SECTOR_BYTES)
    )
    if wrong or linux.unreadable:
        yield f"{result.name}: Linux reads {wrong} sectors otherwise, and {len(linux.unreadable)} pieces not at all"
