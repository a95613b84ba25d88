"""Linux, booted for the purpose, loads stores of ours: it says and reads what we say and read, or it is recorded here.

Where the two differ on purpose, the test holds what Linux 6.1 does, so that a change of either shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from store_cases import CHUNK, odd, sound

from dmsnap.block.memory import MemoryDevice
from dmsnap.errors import DmsnapError
from dmsnap.store import open_store
from dmsnap.target import SnapshotDevice, status_words
from dmsnap.testing.kernelvm import need_kernelvm
from dmsnap.testing.kernelvm.load_case import LoadCase, Loaded, run_load_cases

PIECE_BYTES = 4096


class Verdict(NamedTuple):
    """Status words (None: refused) and, by pieces of 4 KiB, what the snapshot reads as (None: EIO)."""

    status: str | None
    pieces: tuple[bytes | None, ...]


ONLY_KERNEL_READS: Mapping[str, Mapping[int, int]] = {
    # No check keeps a record from pointing at metadata: the snapshot then reads as records. EIO with us.
    "into-area": {5: 1},
    # Bits 56-63 count as further chunks of a run. EIO for the record's chunk with us.
    "top-bits": {5: 2, 6: 3, 7: 4, 8: 5},
    "top-bits-next-record": {5: 2, 6: 3},
    "top-bits-cow-0": {5: 0, 6: 1, 7: 2},
}
"""By case: which COW chunks Linux 6.1 reads, for which origin chunks, unlike us."""

ONLY_KERNEL_OPENS = {
    # A zero magic makes Linux write a new store; we never do when only looking.
    "zero-magic": "16/512 16",
}
ONLY_WE_OPEN = {
    # Linux reads the header with the table's chunk size, for which the device is too small.
    "smaller-than-table-chunk",
}


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stores_made_by_us(tmp_path: Path) -> None:
    need_kernelvm()
    cases = [*sound(), *odd()]
    loaded = run_load_cases(cases, tmp_path, timeout_s=600)
    differences = [
        f"{case.name}: kernel {kernels.status}, {told(kernels)}; expected {expected.status}, {told(expected)}"
        for case in cases
        for kernels, expected in [(verdict_of(loaded[case.name]), expected_verdict(case))]
        if kernels != expected
    ]
    assert differences == []
    new = loaded["zero-magic"].cow_after
    assert new[:16].hex() == "536e4170010000000100000008000000", "the header of a new store"
    assert not any(new[16 : 2 * CHUNK * 512]), "its header's rest and its first area"
    for case in cases:
        if case.name != "zero-magic":
            assert loaded[case.name].cow_after[: len(case.cow)] == case.cow, f"loading {case.name} wrote to it"


def test_differences_name_cases() -> None:
    names = [case.name for case in (*sound(), *odd())]
    assert len(set(names)) == len(names)
    assert {*ONLY_KERNEL_READS, *ONLY_KERNEL_OPENS, *ONLY_WE_OPEN} <= set(names)


@pytest.mark.parametrize("case", [*sound(), *odd()], ids=lambda case: case.name)
def test_we_survive(case: LoadCase) -> None:
    status, pieces = our_verdict(case)
    assert (status is None) == (pieces == ())


def expected_verdict(case: LoadCase) -> Verdict:
    """Returns what the kernel should say and read: what we do, but for the known differences."""
    ours = our_verdict(case)
    if case.name in ONLY_WE_OPEN:
        assert ours.status is not None
        return Verdict(None, ())
    if case.name in ONLY_KERNEL_OPENS:
        assert ours.status is None
        return Verdict(ONLY_KERNEL_OPENS[case.name], split(case.origin))
    pieces = list(ours.pieces)
    for origin_chunk, cow_chunk in ONLY_KERNEL_READS.get(case.name, {}).items():
        theirs = case.cow[cow_chunk * PIECE_BYTES : (cow_chunk + 1) * PIECE_BYTES]
        assert theirs != pieces[origin_chunk], "no difference any more: take it off the list"
        pieces[origin_chunk] = theirs
    return Verdict(ours.status, tuple(pieces))


def our_verdict(case: LoadCase) -> Verdict:
    """Opens and reads a case's store."""
    size = len(case.cow) if case.cow_sectors is None else case.cow_sectors * 512
    try:
        store = open_store(MemoryDevice(case.cow.ljust(size, b"\0")), origin_size_bytes=len(case.origin))
    except DmsnapError:
        return Verdict(None, ())
    snapshot = SnapshotDevice(MemoryDevice(case.origin), store)

    def piece(offset: int) -> bytes | None:
        try:
            return bytes(snapshot.read_at(offset, PIECE_BYTES))
        except DmsnapError:
            return None

    return Verdict(status_words(store), tuple(piece(at) for at in range(0, len(case.origin), PIECE_BYTES)))


def verdict_of(loaded: Loaded) -> Verdict:
    """Returns the kernel's verdict."""
    pieces = (None if number in loaded.unreadable else piece for number, piece in enumerate(split(loaded.content)))
    return Verdict(loaded.status, tuple(pieces))


def split(content: bytes) -> tuple[bytes, ...]:
    """Cuts content into pieces."""
    return tuple(content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES))


def told(verdict: Verdict) -> str:
    """Returns the pieces of a verdict in a form that can be compared by eye."""
    return " ".join("EIO" if piece is None else piece[:12].hex() for piece in verdict.pieces)
