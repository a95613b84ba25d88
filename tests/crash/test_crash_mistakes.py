"""The crash checker finds every mistake that it is there for, and none where there is none."""

from __future__ import annotations

import random
import re

import pytest
from toy_writer import MISTAKES, ToyOrigin, ToySnapshot

from dmsnap.testing.crash import Client, Limits, Recorder, Verdict, judge

SECTOR = 512
ORIGIN_CHUNKS = 48
COW_CHUNKS = 60


def unwiped(chunk_sectors: int) -> bytes:
    """Nothing but a first sector of zeros, then what would pass for records."""
    garbage = b"".join((7 + at % 5).to_bytes(8, "little") + (2 + at % 9).to_bytes(8, "little") for at in range(32))
    return bytes(SECTOR) + garbage * (COW_CHUNKS * chunk_sectors - 1)


def crashes_of_a_life(mistake: str | None, chunk_sectors: int) -> Verdict:
    """Two snapshots are written to, so is their origin; one is merged, the other invalidated."""
    chunk = chunk_sectors * SECTOR
    rng = random.Random(5)
    content = rng.randbytes(ORIGIN_CHUNKS * chunk)
    recorder = Recorder()
    client = Client(recorder)
    origin = recorder.device(content, "origin")
    a, b = (
        ToySnapshot(origin, recorder.device(unwiped(chunk_sectors), name), client, name, chunk_sectors, mistake)
        for name in "ab"
    )
    source = ToyOrigin(origin, [a, b], client)
    a.create(1)
    b.create(2)
    a.write(3 * chunk, rng.randbytes(chunk))
    a.write(9 * chunk, rng.randbytes(SECTOR))
    a.flush()
    source.write(3 * chunk, rng.randbytes(SECTOR))
    source.write(4 * chunk, rng.randbytes(chunk))
    source.flush()
    for at in range(10, 10 + a.per_area - 2 if chunk_sectors == 1 else 12):
        a.write(at * chunk, rng.randbytes(chunk))
        if at % 4 == 0:
            a.flush()
    a.flush()
    client.merges("a")
    while a.records:
        a.merge_last([b])
    client.merged("a")
    source.snapshots.remove(a)
    b.invalidate()
    source.write(20 * chunk, rng.randbytes(chunk))
    source.write(44 * chunk, rng.randbytes(chunk))
    source.flush()
    return judge(recorder.timeline(), Limits(every=300, draws=40), seed=1)


@pytest.mark.parametrize("chunk_sectors", [1, 2])
def test_a_careful_writer_survives_every_crash(chunk_sectors: int) -> None:
    verdict = crashes_of_a_life(None, chunk_sectors)
    assert verdict.failure is None
    assert verdict.images > 250


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    chunk_sectors = 2 if mistake == "no copy for part of a chunk" else 1
    verdict = crashes_of_a_life(mistake, chunk_sectors)
    assert verdict.failure is not None
    assert re.search(MISTAKES[mistake], verdict.failure), verdict.failure
