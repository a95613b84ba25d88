"""What is told of progress: ascending, up to the whole, and no more often than makes sense."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest

import dmsnap
from dmsnap.block import MemoryDevice
from dmsnap.maintenance.checking import check_store
from dmsnap.maintenance.events import Begin, Data, End, Events, Exceptions
from dmsnap.maintenance.progress import telling
from dmsnap.store.format import MAGIC, VERSION, Header
from dmsnap.testing.named_damage import sound_store_with_room

CHUNK_BYTES = 4096
BATCH = 8192
MANY = 40 * BATCH


def stream(*, data: bool) -> Events:
    """A store of 1.25 GiB that is full, its copies in order."""
    copies = np.arange(MANY) + np.arange(MANY) // 256 + 2
    yield Begin(Header(MAGIC, 1, VERSION, CHUNK_BYTES // 512), int(copies[-1] + 1) * CHUNK_BYTES)
    for first in range(0, MANY, BATCH):
        part = copies[first : first + BATCH]
        yield Exceptions(first, np.column_stack((part, part)).astype(np.uint64))
        if data:
            yield from (Data(int(chunk), memoryview(b"")) for chunk in part.tolist())
    yield End(MANY)


def assert_good(told: list[tuple[int, int]], total: int) -> None:
    assert told[0] == (0, total)
    assert told[-1] == (total, total)
    assert {each for _, each in told} == {total}
    done = [each for each, _ in told]
    assert done == sorted(done)


@pytest.mark.parametrize("data", [False, True])
def test_it_goes_through_a_full_store_evenly(data: bool) -> None:
    told: list[tuple[int, int]] = []
    for _ in telling(stream(data=data), lambda *each: told.append(each)):
        pass
    total = told[0][1]
    assert_good(told, total)
    steps = np.diff([done for done, _ in told])
    assert steps.max() <= 2 * BATCH * CHUNK_BYTES
    assert len(told) <= total // (8 << 20) + 2, "chunk by chunk would cost more than the work"


def test_the_events_stay_what_they_are() -> None:
    def kinds(events: Events) -> Iterator[str]:
        return (type(event).__name__ for event in events)

    assert list(kinds(telling(stream(data=False), lambda *_: None))) == list(kinds(stream(data=False)))
    events = stream(data=False)
    assert telling(events, None) is events, "without anybody who waits it costs nothing"


def test_records_that_point_anywhere_never_go_beyond_the_whole() -> None:
    def wild() -> Events:
        yield Begin(Header(MAGIC, 1, VERSION, 8), 1 << 30)
        for chunk in (1 << 40, 5, 1 << 17):
            yield Data(chunk, memoryview(b""))
        yield End(0)

    told: list[tuple[int, int]] = []
    list(telling(wild(), lambda *each: told.append(each)))
    assert_good(told, 1 << 30)


def test_a_check_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    store = sound_store_with_room()
    check_store(MemoryDevice(store), progress=lambda *each: told.append(each))
    assert_good(told, len(store))


def test_a_dump_and_its_restoring_tell_how_far_they_are(tmp_path) -> None:
    store = sound_store_with_room()
    out = io.BytesIO()
    told: list[tuple[int, int]] = []
    dmsnap.dump(MemoryDevice(store), out, data=True, progress=lambda *each: told.append(each))
    assert_good(told, len(store))
    told.clear()
    out.seek(0)
    dmsnap.restore(out, tmp_path / "new.cow", progress=lambda *each: told.append(each))
    assert_good(told, len(store))


def test_a_comparison_tells_how_far_it_is(tmp_path) -> None:
    size = 64 << 20
    (tmp_path / "origin").write_bytes(bytes(size))
    for name in ("a", "b"):
        dmsnap.create(tmp_path / name, size + (4 << 20), 4096)
        with dmsnap.open_snapshot(tmp_path / name, tmp_path / "origin", mode="r+") as snapshot:
            snapshot.write_at(0, name.encode() * (40 << 20))
    told: list[tuple[int, int]] = []
    ranges = dmsnap.diff(
        tmp_path / "a",
        tmp_path / "b",
        origin=tmp_path / "origin",
        compare=True,
        progress=lambda *each: told.append(each),
    )
    assert [(each.offset, each.length, each.differs) for each in ranges] == [(0, 40 << 20, True)]
    done = [each for each, _ in told]
    assert len(done) >= 3
    assert done == sorted(done)
    assert max(done) <= size
    assert {total for _, total in told} == {size}
