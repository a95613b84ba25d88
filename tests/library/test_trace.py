"""The record of a load: what it holds, what it leaves alone, and that it stays bounded."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from library_files import snapshot_files
from trace_stores import area_offset, broken_at, store_of, timed

import dmsnap
from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import DelayDevice, FaultDevice
from dmsnap.library.simulation.described_store import DescribedStore
from dmsnap.library.tracing.reads import reads_in_flight, reads_of, waited_seconds
from dmsnap.store import EmptyStore, LoadTrace, create_store, open_store


def load(device: BlockDevice, prefetch: str | int = "auto", most_events: int = 1 << 20) -> LoadTrace:
    """The record of loading a store."""
    trace = LoadTrace(most_events)
    open_store(device, prefetch=prefetch, trace=trace)
    return trace


def test_without_prefetch_each_area_is_missed_and_waited_for() -> None:
    trace = load(timed(store_of(20)), 0)
    assert [(event.event, event.area) for event in trace.events()] == [
        (name, area) for area in range(20) for name in ("miss", "arrived", "forget")
    ]
    reads = reads_of(trace)
    assert waited_seconds(trace, reads) == pytest.approx(trace.seconds - trace.header_seconds)
    assert max(count for _, count in reads_in_flight(reads, trace.seconds)) == 1


def test_with_the_kernels_prefetch_areas_are_read_ahead() -> None:
    trace = load(timed(store_of(60)), "kernel")
    reads = reads_of(trace)
    assert [read.area for read in reads] == list(range(60))
    assert all(read.ahead and read.used is not None and read.started < read.used for read in reads)
    assert max(count for _, count in reads_in_flight(reads, trace.seconds)) == 13
    one_by_one = load(timed(store_of(60)), 0)
    assert waited_seconds(trace, reads) < waited_seconds(one_by_one, reads_of(one_by_one)) / 5


def test_what_is_read_for_nothing_is_told() -> None:
    trace = load(timed(store_of(20, room_areas=30)), "kernel")
    wasted = [read.area for read in reads_of(trace) if read.used is None]
    assert wasted == list(range(20, 32))
    assert trace.counters.prefetch_wasted == 12


def test_it_counts_what_bufio_counted() -> None:
    trace = load(timed(store_of(60)), "auto")
    seen = Counter(event.event for event in trace.events())
    assert seen["hit"] + seen["wait"] == trace.counters.hits
    assert (seen["wait"], seen["prefetch"]) == (trace.counters.waits, trace.counters.prefetched)


def test_a_simulated_load_gives_the_same_record_each_time() -> None:
    first, second = (list(load(timed(store_of(60))).events()) for _ in range(2))
    assert first == second
    assert [event.seconds for event in first] == sorted(event.seconds for event in first)


def test_pieces_of_large_chunks_belong_to_their_area() -> None:
    store = MemoryDevice(12 << 20)
    create_store(store, 8192)
    trace = load(timed(store), 3)
    assert (trace.chunk_size_bytes, trace.block_size_bytes) == (4 << 20, 1 << 20)
    assert [(read.area, read.block) for read in reads_of(trace)] == [(0, 4), (0, 5), (0, 6), (0, 7)]


def test_the_table_is_the_same_as_without() -> None:
    with_trace, without = open_store(store_of(9), trace=LoadTrace()), open_store(store_of(9))
    for one, other in zip(with_trace.table.batches(), without.table.batches(), strict=True):
        assert all(map(np.array_equal, one, other))


def test_only_so_many_events_are_kept_and_the_others_counted() -> None:
    everything, some = load(timed(store_of(60))), load(timed(store_of(60)), most_events=50)
    assert list(some.events()) == list(everything.events())[:50]
    assert (len(some), some.left_out) == (50, len(everything) - 50)
    assert some.counters == everything.counters


def test_a_load_that_fails_is_recorded_up_to_there() -> None:
    trace = LoadTrace()
    with pytest.raises(IOFailed):
        open_store(timed(broken_at(40, 60)), prefetch="kernel", trace=trace)
    assert trace.error is not None
    assert "area 40" in trace.error
    reads = reads_of(trace)
    assert [read.area for read in reads if read.failed] == [40]
    assert [read.area for read in reads if read.used is not None] == list(range(40))
    assert trace.counters.read_errors == 1


def test_a_store_without_a_header_has_no_events() -> None:
    trace = LoadTrace()
    device = store_of(2)
    device.write_at(0, bytes(512))
    with pytest.raises(EmptyStore):
        open_store(device, trace=trace)
    assert (len(trace), trace.header_seconds, list(trace.events())) == (0, None, [])
    assert trace.error is not None


class Interrupting(FaultDevice):
    """A device at which Ctrl-C is pressed."""

    def _read_into(self, offset: int, view: memoryview) -> None:
        if offset == area_offset(40):
            raise KeyboardInterrupt
        super()._read_into(offset, view)


def test_ctrl_c_is_recorded_too() -> None:
    trace = LoadTrace()
    with pytest.raises(KeyboardInterrupt):
        open_store(Interrupting(store_of(60)), prefetch=0, trace=trace)
    assert trace.error == "interrupted"
    assert len(reads_of(trace)) == 41


def test_each_store_that_is_loaded_is_one_load(tmp_path) -> None:
    files = snapshot_files(tmp_path)
    (tmp_path / "other").mkdir()
    other = snapshot_files(tmp_path / "other")
    trace = dmsnap.Trace()
    dmsnap.merge(files.cow, files.origin, others=[other.cow], dry_run=True, trace=trace)
    assert [load.device for load in trace.loads] == [str(files.cow), str(other.cow)]


@pytest.mark.parametrize("verb", ["info", "status", "table", "map_changes", "export", "merge", "open_snapshot"])
def test_every_function_that_opens_a_store_records_it(verb: str, tmp_path) -> None:
    files, trace = snapshot_files(tmp_path), dmsnap.Trace()
    arguments = {
        "info": (files.cow,),
        "status": (files.cow,),
        "map_changes": (files.cow,),
        "export": (files.cow, files.origin, tmp_path / "out.img"),
    }.get(verb, (files.cow, files.origin))
    result = getattr(dmsnap, verb)(*arguments, trace=trace)
    if verb == "open_snapshot":
        result.close()
    assert [len(load) > 0 for load in trace.loads] == [True]


@pytest.mark.parametrize("prefetch", [0, 1, "kernel", 64, "auto"])
def test_what_lies_past_the_end_was_read_for_nothing(prefetch):
    """`auto` takes pieces many at once, and may take some along that lie behind the last area."""
    trace = dmsnap.Trace()
    device = DelayDevice(DescribedStore(60, 4096, room_areas=200), 0.0005)
    dmsnap.info(device, prefetch=prefetch, trace=trace)
    (load,) = trace.loads
    assert load.areas == 60
    assert load.counters.hits + load.counters.misses == 60
    assert load.counters.prefetched == load.counters.hits + load.counters.prefetch_wasted
    assert len({read.area for read in reads_of(load) if read.used is not None}) == 60
