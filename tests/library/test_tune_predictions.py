"""Predictions and tunings, judged on devices whose time is known: models of drives, and delays."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

import dmsnap
from dmsnap.block import BlockDevice, IOFailed, MemoryDevice
from dmsnap.block.model import ModelDevice, make_drive
from dmsnap.block.wrap import FaultDevice, Wrapper, fail_range
from dmsnap.library.simulation.described_store import DescribedStore
from dmsnap.library.tuning.measured_device import BadMeasure, NothingToLoad, TooSmallToMeasure
from dmsnap.library.tuning.own_load import LoadEstimate
from dmsnap.library.tuning.trials import LADDER, DepthTime
from dmsnap.library.tuning.tuning import no_clear_difference
from dmsnap.store import EmptyStore, NotAStore, TruncatedStore, open_store
from dmsnap.store.format import area_chunk

AREAS = 1563


def store_on(drive: str, areas: int = AREAS) -> BlockDevice:
    """A store on a modelled drive."""
    return ModelDevice(DescribedStore(areas, 4096), make_drive(drive))


def seconds_to_load(drive: str, prefetch: str | int, areas: int = AREAS) -> float:
    """How long a load really takes there."""
    device = store_on(drive, areas)
    started = device.clock()
    open_store(device, prefetch=prefetch)
    return device.clock() - started


def judge(estimate: LoadEstimate | None, seconds: float, *, within: float) -> None:
    assert estimate is not None
    assert estimate.least_seconds <= estimate.seconds <= estimate.most_seconds
    assert estimate.seconds == pytest.approx(seconds, rel=within)


@pytest.mark.parametrize("drive", ["network-1ms", "network-5ms", "sata-ssd"])
def test_a_prediction_is_what_loading_takes(drive: str) -> None:
    found = dmsnap.predict(store_on(drive))
    judge(found.kernel_before_prefetch, seconds_to_load(drive, 0), within=0.1)
    judge(found.kernel, seconds_to_load(drive, "kernel"), within=0.1)
    judge(found.dmsnap, seconds_to_load(drive, "auto"), within=0.1)
    assert (found.areas, found.areas_known, found.dmsnap_loaded) == (AREAS, True, True)
    assert found.reread_areas == 0


def test_a_store_that_takes_longer_than_the_limit_is_predicted_in_time() -> None:
    areas = 20_000
    device = store_on("network-5ms", areas)
    found = dmsnap.predict(device, time_limit_seconds=1.5)
    judge(found.kernel_before_prefetch, areas * seconds_to_load("network-5ms", 0) / AREAS, within=0.1)
    judge(found.kernel, areas * seconds_to_load("network-5ms", "kernel") / AREAS, within=0.1)
    judge(found.dmsnap, seconds_to_load("network-5ms", "auto", areas), within=0.2)
    assert not found.dmsnap_loaded
    assert not found.areas_known
    assert found.areas == areas
    assert device.clock() < 1.8


def test_the_recommended_depth_is_the_smallest_that_is_nearly_the_best() -> None:
    drive = "network-5ms"
    result = dmsnap.tune(store_on(drive))
    assert result.complete
    assert [found.depth for found in result.depths] == list(LADDER)
    best = min(seconds_to_load(drive, depth) for depth in (16, 32, 64))
    assert seconds_to_load(drive, result.recommended_depth) < 1.2 * best
    smaller = max(depth for depth in LADDER if depth < result.recommended_depth)
    assert seconds_to_load(drive, smaller) > 1.05 * best


def test_every_depth_has_trials_with_their_spread() -> None:
    for found in dmsnap.tune(store_on("network-5ms", 100)).depths:
        assert found.trials == 7
        assert 0 < found.least_area_seconds <= found.area_seconds <= found.most_area_seconds


def test_any_device_is_measured_as_if_a_store_filled_it() -> None:
    empty = ModelDevice(Full(300), make_drive("network-5ms"))
    result = dmsnap.tune(empty)
    assert result.prediction.areas == 300
    assert result.prediction.areas_known
    judge(result.prediction.kernel, seconds_to_load("network-5ms", 12, 300), within=0.1)
    assert not result.prediction.dmsnap_loaded


def test_a_store_of_more_areas_can_be_asked_for() -> None:
    empty = ModelDevice(Full(300), make_drive("network-5ms"))
    found = dmsnap.tune(empty, areas=3000).prediction
    assert found.areas == 3000
    judge(found.kernel_before_prefetch, seconds_to_load("network-5ms", 0, 3000), within=0.1)


def test_larger_chunks_can_be_asked_for() -> None:
    result = dmsnap.tune(ModelDevice(Full(3000), make_drive("network-1ms")), chunk_size_bytes=65536, areas=100)
    assert result.prediction.chunk_size_bytes == 65536


@pytest.mark.parametrize("areas", [1, 2, 3, 14])
def test_depths_end_where_there_are_no_more_areas(areas: int) -> None:
    result = dmsnap.tune(store_on("network-1ms", areas))
    deepest = result.depths[-1].depth
    assert deepest == next(depth for depth in LADDER if depth >= max(12, areas - 1))
    judge(result.prediction.kernel_before_prefetch, seconds_to_load("network-1ms", 0, areas), within=0.1)
    judge(result.prediction.kernel, seconds_to_load("network-1ms", 12, areas), within=0.25)


def test_reading_ahead_of_a_small_store_costs_useless_reads() -> None:
    found = dmsnap.tune(store_on("network-1ms", 3))
    assert found.recommended_depth < 12


def test_chunks_over_a_mebibyte_are_measured_in_pieces() -> None:
    result = dmsnap.tune(ModelDevice(DescribedStore(3, 2 << 20, room_areas=0), make_drive("nvme")))
    assert result.prediction.areas == 3
    judge(result.prediction.dmsnap, result.prediction.kernel.seconds, within=0.5)


def test_the_time_limit_holds_and_what_was_measured_is_told() -> None:
    device = store_on("network-5ms")
    result = dmsnap.tune(device, time_limit_seconds=1.0)
    assert not result.complete
    assert result.depths
    assert device.clock() < 1.2


def test_a_limit_too_short_for_one_trial_is_an_error() -> None:
    with pytest.raises(BadMeasure, match="not one trial"):
        dmsnap.tune(store_on("network-5ms"), time_limit_seconds=0.001)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(BadMeasure):
        dmsnap.predict(store_on("nvme"), time_limit_seconds=seconds)


def test_no_areas_are_refused() -> None:
    with pytest.raises(BadMeasure):
        dmsnap.tune(store_on("nvme"), areas=0)


def test_progress_counts_trials() -> None:
    heard: list[tuple[int, int]] = []
    dmsnap.predict(store_on("network-1ms", 100), progress=lambda *step: heard.append(step))
    assert heard == [(number, 20) for number in range(20)]


class Full(Wrapper):
    """Room for areas of 4 KiB, no store, and no holes."""

    def __init__(self, areas: int) -> None:
        super().__init__(MemoryDevice(area_chunk(areas, 256) * 4096))

    def _extents(self, offset: int, length: int):
        return BlockDevice._extents(self, offset, length)


class Interrupting(Wrapper):
    """Ctrl-C comes after so many reads."""

    def __init__(self, device: BlockDevice, reads: int) -> None:
        super().__init__(device)
        self.left = reads

    def _start_reads(self, requests):
        self.left -= len(requests)
        if self.left < 0:
            raise KeyboardInterrupt
        return super()._start_reads(requests)


def test_ctrl_c_leaves_what_there_is_to_those_who_want_it() -> None:
    result = dmsnap.tune(Interrupting(store_on("network-1ms"), 5000), keep_if_interrupted=True)
    assert result.interrupted
    assert not result.complete
    assert result.depths


@pytest.mark.parametrize(("reads", "keep"), [(5000, False), (100, True)])
def test_ctrl_c_is_ctrl_c_where_nothing_is_or_is_wanted(reads: int, keep: bool) -> None:
    with pytest.raises(KeyboardInterrupt):
        dmsnap.tune(Interrupting(store_on("network-1ms"), reads), keep_if_interrupted=keep)


class TestBadStores:
    def built(self, change: Callable[[bytearray], None]) -> MemoryDevice:
        content = DescribedStore(3, 4096, room_areas=0).read_at(0, area_chunk(3, 256) * 4096)
        change(content)
        return MemoryDevice(bytes(content))

    def test_no_store(self) -> None:
        with pytest.raises(NotAStore):
            dmsnap.predict(MemoryDevice(b"x" * 65536))
        with pytest.raises(EmptyStore):
            dmsnap.predict(MemoryDevice(65536))

    def test_nothing_but_holes(self) -> None:
        with pytest.raises(BadMeasure, match="holes"):
            dmsnap.tune(MemoryDevice(65536))

    def test_an_invalid_store_is_not_loaded_but_can_be_measured(self) -> None:
        def invalidate(content: bytearray) -> None:
            content[4] = 0

        with pytest.raises(NothingToLoad):
            dmsnap.predict(self.built(invalidate))
        assert dmsnap.tune(self.built(invalidate), time_limit_seconds=0.5).depths

    @pytest.mark.parametrize("predict", [dmsnap.predict, dmsnap.tune])
    def test_a_chain_without_an_end_is_refused_as_a_kernel_does(self, predict: Callable[..., object]) -> None:
        def fill(content: bytearray) -> None:
            content[area_chunk(2, 256) * 4096 : (area_chunk(2, 256) + 1) * 4096] = b"\1" * 4096

        with pytest.raises(TruncatedStore):
            predict(self.built(fill))

    @pytest.mark.parametrize("predict", [dmsnap.predict, dmsnap.tune])
    def test_an_area_that_cannot_be_read_is_told(self, predict: Callable[..., object]) -> None:
        device = FaultDevice(DescribedStore(3, 4096), fail_range(area_chunk(1, 256) * 4096, 4096, "read"))
        with pytest.raises(IOFailed, match="metadata area 1"):
            predict(device)

    def test_a_device_without_room_for_an_area(self) -> None:
        with pytest.raises(TooSmallToMeasure):
            dmsnap.tune(MemoryDevice(b"x" * 4096), chunk_size_bytes=4096)

    def test_a_file_too_short_for_any_store_is_no_store(self) -> None:
        with pytest.raises(NotAStore):
            dmsnap.tune(MemoryDevice(b"x" * 4096))

    def test_an_odd_chunk_size(self) -> None:
        for size in (0, 513, 4097, 12288, -4096):
            with pytest.raises(dmsnap.DmsnapError):
                dmsnap.tune(MemoryDevice(b"x" * 65536), chunk_size_bytes=size)


def test_results_are_json() -> None:
    import json

    for result in (dmsnap.tune(store_on("nvme", 20)), dmsnap.predict(store_on("nvme", 20))):
        json.dump(result.to_json(), io.StringIO())


def test_ranges_that_all_overlap_show_no_clear_difference() -> None:
    def depth(number: int, least: float, most: float) -> DepthTime:
        return DepthTime(number, 3, (least + most) / 2, least, most)

    assert no_clear_difference([depth(0, 1, 3), depth(1, 2, 4), depth(2, 3, 5)])
    assert not no_clear_difference([depth(0, 1, 2.9), depth(1, 2, 4), depth(2, 3, 5)])
    assert not no_clear_difference([depth(0, 1, 3)])


class Remembering(DescribedStore):
    """A millisecond for the first read of a place, a tenth of it from then on, as from a device's own cache."""

    def __init__(self) -> None:
        super().__init__(40, 4096, room_areas=0)
        self.seconds, self.known = 0.0, set()

    def clock(self) -> float:
        return self.seconds

    def _read_into(self, offset: int, view: memoryview) -> None:
        self.seconds += 0.0001 if offset in self.known else 0.001
        self.known.add(offset)
        super()._read_into(offset, view)


def test_where_trials_read_again_the_load_by_dmsnap_is_done_again_too() -> None:
    found = dmsnap.tune(Remembering()).prediction
    assert found.dmsnap_loaded
    judge(found.dmsnap, 0.0041, within=0.1)
    assert found.kernel_before_prefetch is not None
    assert found.dmsnap is not None
    assert found.kernel_before_prefetch.least_seconds == pytest.approx(0.004, rel=0.1)
    assert found.dmsnap.most_seconds == pytest.approx(0.041, rel=0.1)  # the first time


def test_where_trials_read_elsewhere_it_is_not() -> None:
    found = dmsnap.predict(Remembering())
    assert found.dmsnap_loaded
    judge(found.dmsnap, 0.041, within=0.1)
