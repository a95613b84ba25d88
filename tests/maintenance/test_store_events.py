"""A store as a stream of events: what is read and written again has the same metadata, and the same data if asked."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest

from dmsnap.block import MemoryDevice
from dmsnap.block.open import open_device
from dmsnap.errors import DmsnapError
from dmsnap.maintenance.events import Begin, Data, End, Event, Exceptions, IncompleteStream
from dmsnap.maintenance.reading import read_events
from dmsnap.maintenance.writing import DoesNotFit, write_events
from dmsnap.store.format import Header
from dmsnap.store.loading import TruncatedStore
from dmsnap.testing.fixtures import load, names
from dmsnap.testing.store_builder import build_store, fill_chunk, in_allocation_order

SECTORS = {"512 bytes": 1, "4 KiB": 8, "64 KiB": 128}


def stored(records: object, sectors: int = 1, **options: object) -> bytes:
    out = io.BytesIO()
    build_store(out, records, chunk_size_sectors=sectors, data=fill_chunk(sectors), **options)
    return out.getvalue()


def again(content: bytes, *, data: bool) -> bytes:
    target = MemoryDevice(len(content))
    write_events(read_events(MemoryDevice(content), data=data), target)
    return bytes(target.read_at(0, len(content)))


def metadata(content: bytes, sectors: int, areas: int) -> bytes:
    chunk, stride = sectors * 512, sectors * 32 + 1
    chunks = [0, *(1 + area * stride for area in range(areas))]
    return b"".join(content[at * chunk : (at + 1) * chunk] for at in chunks)


@pytest.mark.parametrize("sectors", SECTORS.values(), ids=SECTORS)
@pytest.mark.parametrize("exceptions", [0, 1, 31, 32, 33, 64, 200])
def test_what_is_written_again_is_the_same_byte_for_byte(sectors: int, exceptions: int) -> None:
    content = stored(in_allocation_order(random.Random(exceptions).sample(range(1000), exceptions), sectors), sectors)
    assert again(content, data=True) == content
    areas = exceptions // (sectors * 32) + 1
    assert metadata(again(content, data=False), sectors, areas) == metadata(content, sectors, areas)


def test_numbers_that_no_kernel_writes_are_kept_as_they_are() -> None:
    records = [(2**64 - 1, 2), (3, 2**64 - 1), (3, 1), (4, 34), (4, 2), (5, 7 << 56)]
    content = stored(records, size_chunks=40)
    assert metadata(again(content, data=True), 1, 1) == metadata(content, 1, 1)


def test_the_records_of_an_invalid_store_are_told_too() -> None:
    content = stored(in_allocation_order(range(5), 1), valid=0)
    begin, exceptions, end = list(read_events(MemoryDevice(content)))
    assert (begin.header.valid, len(exceptions.records), end) == (0, 5, End(5))
    assert again(content, data=True) == content


def test_data_comes_in_the_order_of_the_records_and_in_large_pieces() -> None:
    content = stored([(9, 3), (1, 4), (7, 5), (2, 2)])
    pieces = [event for event in read_events(MemoryDevice(content), data=True) if isinstance(event, Data)]
    assert [(piece.cow_chunk, len(piece.data)) for piece in pieces] == [(3, 3 * 512), (2, 512)]
    assert bytes(pieces[0].data) == content[3 * 512 : 6 * 512]


def test_chunks_past_the_end_have_no_data_and_the_last_may_be_a_part() -> None:
    content = stored([(9, 3), (1, 4)], 2)[: 4 * 1024 + 512] + b""
    pieces = [event for event in read_events(MemoryDevice(content), data=True) if isinstance(event, Data)]
    assert [(piece.cow_chunk, len(piece.data)) for piece in pieces] == [(3, 1024 + 512)]


def test_a_chain_that_runs_past_the_end_is_told_after_its_records() -> None:
    content = stored(in_allocation_order(range(32), 1), size_chunks=34)
    events = read_events(MemoryDevice(content))
    assert [type(next(events)), type(next(events))] == [Begin, Exceptions]
    with pytest.raises(TruncatedStore):
        next(events)


@pytest.mark.parametrize("name", names())
def test_stores_of_the_kernel_have_the_same_metadata_when_written_again(name: str, tmp_path: Path) -> None:
    fixture = load(name, tmp_path)
    with open_device(str(fixture.cow)) as device:
        target = MemoryDevice(device.size_bytes)
        if fixture.status is None:  # the kernel refuses it
            with pytest.raises(DmsnapError):
                write_events(read_events(device), target)
            return
        count = write_events(read_events(device, data=True), target)
        sectors = int.from_bytes(device.read_at(0, 512)[12:16], "little")
        for chunk in (0, *(1 + area * (sectors * 32 + 1) for area in range(count // (sectors * 32) + 1))):
            at = chunk * sectors * 512
            assert target.read_at(at, sectors * 512) == device.read_at(at, sectors * 512), f"chunk {chunk}"


HEADER = Begin(Header(0x70416E53, 1, 1, 1), 100 * 512)
ONE = Exceptions(0, np.array([[7, 2]], np.uint64))


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([], "does not begin"),
        ([ONE, End(1)], "does not begin"),
        ([HEADER], "breaks off"),
        ([HEADER, ONE], "breaks off"),
        ([HEADER, ONE, End(2)], "has 1"),
        ([HEADER, ONE._replace(first=1), End(1)], "record 0 is missing"),
        ([HEADER, HEADER, End(0)], "second header"),
    ],
)
def test_a_stream_that_is_not_whole_leaves_no_store(events: list[Event], says: str) -> None:
    target = MemoryDevice(stored([(1, 2)], size_chunks=100))
    with pytest.raises(IncompleteStream, match=says):
        write_events(iter(events), target)
    begun = bool(events) and isinstance(events[0], Begin)
    assert bytes(target.read_at(0, 512)[:4]) == (bytes(4) if begun else b"SnAp"), "or it is as it was"


def test_what_has_no_room_is_refused() -> None:
    records = np.column_stack((np.arange(32), np.arange(2, 34))).astype(np.uint64)
    with pytest.raises(DoesNotFit, match="metadata area 1"):
        write_events(iter([HEADER, Exceptions(0, records), End(32)]), MemoryDevice(34 * 512))
    for chunk in (0, 100, 1 << 60):
        with pytest.raises(DoesNotFit, match=f"chunk {chunk}"):
            write_events(iter([HEADER, ONE, Data(chunk, memoryview(bytes(512))), End(1)]), MemoryDevice(100 * 512))
