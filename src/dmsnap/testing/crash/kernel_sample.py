"""Has Linux load what crashes left: it says and reads what we say and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.errors import DmsnapError
from dmsnap.store import EmptyStore, open_store
from dmsnap.target import SnapshotDevice, status_words
from dmsnap.testing.crash.campaign import Kept
from dmsnap.testing.crash.image_device import ImageDevice
from dmsnap.testing.kernelvm.load_case import LoadCase, Loaded, run_load_cases

__all__ = ["differences"]

_PIECE_BYTES = 4096  # what Linux is asked for at once


def differences(images: Sequence[Kept], folder: Path, *, timeout_s: float = 600) -> tuple[int, list[str]]:
    """Boots Linux and has it load a snapshot of each image that has one.

    Args:
        images: What crashes left.
        folder: For disks.
        timeout_s: For all of it.

    Returns:
        How many snapshots were loaded, and a line about each that Linux reads otherwise than we do.

    Raises:
        KernelVMUnavailable, KernelVMFailed, ScenarioFailed: There was no answer.
    """
    cases = [case for number, image in enumerate(images) for case in _case(number, image)]
    loaded = run_load_cases(cases, folder, timeout_s=timeout_s)
    return len(cases), [line for case in cases for line in _difference(case, loaded[case.name])]


def _case(number: int, kept: Kept) -> Iterator[LoadCase]:
    origin, *cows = kept.image.contents()
    origin += bytes(-len(origin) % _PIECE_BYTES)
    place = number % len(cows)
    plan, cow = kept.program.plans[place], cows[place]
    try:
        valid = open_store(ImageDevice(cow)).valid
    except EmptyStore:  # Linux would make a new one
        return
    except DmsnapError:
        valid = False
    if not valid:  # nothing can be read, which takes the longer the more there is
        origin = origin[:_PIECE_BYTES]
    name = f"{kept.program.name} image {number} {plan.name}"
    yield LoadCase(name, bytes(origin), bytes(cow), chunk_sectors=plan.chunk_sectors)


def _difference(case: LoadCase, linux: Loaded) -> Iterator[str]:
    try:
        store = open_store(ImageDevice(bytearray(case.cow)), origin_size_bytes=len(case.origin))
        words = status_words(store)
    except DmsnapError as error:
        yield f"{case.name}: we cannot load it: {error}; Linux says {linux.status}"
        return
    if words != linux.status:
        yield f"{case.name}: our status is {words}, that of Linux {linux.status}"
    elif store.valid:
        held = SnapshotDevice(ImageDevice(bytearray(case.origin)), store).read_at(0, len(case.origin))
        wrong = [
            at
            for at in range(0, len(held), SECTOR_BYTES)
            if held[at:][:SECTOR_BYTES] != linux.content[at:][:SECTOR_BYTES]
        ]
        if wrong or linux.unreadable:
            failed = len(linux.unreadable)
            yield f"{case.name}: Linux reads {len(wrong)} sectors otherwise, and {failed} pieces not at all"
    elif len(linux.unreadable) * _PIECE_BYTES != len(case.origin):
        yield f"{case.name}: it is invalid, but Linux reads it"
