"""``dmsnap.simulate``: the loader of every real load, on the clock of a modelled drive."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from library_files import CHUNK, SnapshotFiles, open_descriptors, snapshot_files

import dmsnap
from dmsnap.block import BadRequest, MemoryDevice
from dmsnap.block.model import DRIVES, ModelDevice, UnknownDrive, make_drive
from dmsnap.block.wrap import LogDevice
from dmsnap.library.simulation.defaults import DEFAULT_DEPTHS
from dmsnap.library.simulation.described_store import BadDescription, DescribedStore
from dmsnap.library.simulation.simulation import BadDepths, BadStart, InvalidStore, ModelLoads
from dmsnap.store import EmptyStore, TruncatedStore, open_store
from dmsnap.testing.store_builder import build_store, in_allocation_order

NETWORK = ["network-5ms"]


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    return snapshot_files(tmp_path)


def only(result: dmsnap.Simulation) -> ModelLoads:
    """The one drive of a simulation."""
    (model,) = result.models
    return model


def seconds(model: ModelLoads) -> dict[int, float]:
    """What each depth took."""
    return {load.depth: load.seconds for load in model.loads}


def test_unless_told_it_is_every_drive_at_every_depth_of_the_ladder() -> None:
    result = dmsnap.simulate(areas=3)
    assert [model.model for model in result.models] == list(DRIVES)
    assert {tuple(load.depth for load in model.loads) for model in result.models} == {DEFAULT_DEPTHS}
    assert (result.name, result.areas, result.chunk_size_bytes, result.seed) == (None, 3, 4096, 0)


@pytest.mark.parametrize("model", DRIVES)
def test_the_same_seed_gives_the_same_numbers(model: str) -> None:
    once, again = (dmsnap.simulate(areas=60, models=[model], depths=[0, 12, 64], seed=7) for _ in range(2))
    assert once == again


@pytest.mark.parametrize("model", DRIVES)
def test_a_load_takes_what_the_loader_takes_on_the_same_device(model: str) -> None:
    result = only(dmsnap.simulate(areas=30, room_areas=9, models=[model], depths=[5, 12], seed=3))

    def load(prefetch: str | int) -> float:
        device = ModelDevice(DescribedStore(30, 4096, room_areas=9), make_drive(model, 3))
        open_store(device, prefetch=prefetch)
        return device.clock()

    assert seconds(result) == {5: load(5), 12: load(12)}
    assert (result.kernel_seconds, result.auto_seconds) == (load("kernel"), load("auto"))


def test_the_kernels_time_is_there_without_its_depth_and_equal_with_it() -> None:
    without = only(dmsnap.simulate(areas=50, models=NETWORK, depths=[0, 3]))
    with_it = only(dmsnap.simulate(areas=50, models=NETWORK, depths=[0, 12]))
    assert without.kernel_seconds == with_it.kernel_seconds == seconds(with_it)[12]


def test_one_read_after_another_costs_a_round_trip_each() -> None:
    load = seconds(only(dmsnap.simulate(areas=99, room_areas=0, models=NETWORK, depths=[0])))[0]
    assert 100 * 0.0045 < load < 100 * 0.0055  # the header and 99 areas


def test_best_and_knee_are_what_they_are_said_to_be() -> None:
    for model in dmsnap.simulate(areas=90).models:
        times = seconds(model)
        assert model.best_seconds == min(times.values()) == times[model.best_depth]
        assert model.knee_seconds == times[model.knee_depth] <= 1.1 * model.best_seconds
        assert all(time > 1.1 * model.best_seconds for depth, time in times.items() if depth < model.knee_depth)
        assert all(time > model.best_seconds for depth, time in times.items() if depth < model.best_depth)


def test_reading_ahead_past_the_end_costs_time_where_there_is_room() -> None:
    small = {"areas": 4, "models": ["network-1ms"], "depths": [200]}
    with_room, without = (only(dmsnap.simulate(room_areas=room, **small)).best_seconds for room in (256, 0))
    assert with_room > 2 * without


def test_the_reads_in_flight_of_auto_are_counted() -> None:
    shallow = only(dmsnap.simulate(areas=3, room_areas=0, models=NETWORK))
    deep = only(dmsnap.simulate(areas=2000, models=NETWORK, depths=[0]))
    assert 1 <= shallow.auto_reads_in_flight <= 3
    assert 10 < deep.auto_reads_in_flight <= 65536


def test_a_disk_is_slower_further_in_and_a_network_the_same_everywhere() -> None:
    def took(model: str, start_bytes: int) -> float:
        return only(dmsnap.simulate(areas=20, models=[model], start_bytes=start_bytes, depths=[12])).best_seconds

    assert took("sata-7200", 400 << 30) != took("sata-7200", 0)
    assert took("network-1ms", 0) == took("network-1ms", 40 << 30)


def test_depths_are_put_in_order_and_done_once() -> None:
    model = only(dmsnap.simulate(areas=2, models=[*NETWORK, *NETWORK], depths=[12, 0, 12, 5]))
    assert list(seconds(model)) == [0, 5, 12]


def test_a_store_that_is_given_is_loaded_and_nothing_else(files: SnapshotFiles) -> None:
    before = files.cow.read_bytes(), files.cow.stat().st_mtime_ns
    result = dmsnap.simulate(files.cow, models=NETWORK)
    assert (result.name, result.areas, result.chunk_size_bytes) == (str(files.cow), 1, CHUNK)
    assert result.device_size_bytes == files.cow.stat().st_size
    assert 0.009 < seconds(only(result))[0] < 0.011
    assert (files.cow.read_bytes(), files.cow.stat().st_mtime_ns) == before


def test_a_device_that_is_given_stays_open(files: SnapshotFiles) -> None:
    device = LogDevice(MemoryDevice(files.cow.read_bytes(), read_only=True))
    dmsnap.simulate(device, models=NETWORK, depths=[0])
    assert not device.closed


def test_what_is_opened_is_closed(files: SnapshotFiles) -> None:
    before = open_descriptors()
    dmsnap.simulate(files.cow, depths=[0, 12])
    assert open_descriptors() == before


def test_progress_counts_every_load() -> None:
    seen: list[tuple[int, int]] = []
    dmsnap.simulate(areas=1, models=["nvme", *NETWORK], depths=[0, 1], progress=lambda *step: seen.append(step))
    assert seen == [(done, 8) for done in range(1, 9)]  # 0, 1, the kernel's and auto, twice


def test_json_holds_every_number() -> None:
    result = dmsnap.simulate(areas=2, models=NETWORK, depths=[0, 1])
    told = json.loads(json.dumps(result.to_json()))
    assert told["models"][0]["loads"][1] == {"depth": 1, "seconds": seconds(only(result))[1]}
    assert (told["name"], told["areas"], told["too_small"]) == (None, 2, [])


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depths", [[], [-1], [65537], [0] * 1001])
def test_depths_out_of_bounds_are_refused(depths: list[int]) -> None:
    with pytest.raises(BadDepths):
        dmsnap.simulate(areas=1, depths=depths)


@pytest.mark.parametrize("start_bytes", [-512, 511])
def test_a_device_begins_at_a_sector(start_bytes: int) -> None:
    with pytest.raises(BadStart):
        dmsnap.simulate(areas=1, start_bytes=start_bytes)


def test_a_device_ends_before_its_drive_does() -> None:
    with pytest.raises(BadRequest, match="drive"):
        dmsnap.simulate(areas=1, models=["scsi-15k"], start_bytes=146 << 30)


def test_an_unknown_drive_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(UnknownDrive, match="floppy"):
        dmsnap.simulate("no-such-file", models=["nvme", "floppy"])


@pytest.mark.parametrize("areas", [0, 1 << 40])
def test_a_store_that_cannot_be_is_refused(areas: int) -> None:
    with pytest.raises(BadDescription):
        dmsnap.simulate(areas=areas)


def test_a_damaged_store_is_refused_as_by_every_loader(files: SnapshotFiles) -> None:
    data = bytearray(files.cow.read_bytes())
    with pytest.raises(EmptyStore):
        dmsnap.simulate(MemoryDevice(bytes(len(data))))
    full = io.BytesIO()
    build_store(full, in_allocation_order(range(256), 8))
    with pytest.raises(TruncatedStore):
        dmsnap.simulate(MemoryDevice(full.getvalue()[: 257 * CHUNK]))


def test_an_invalid_store_is_refused_since_nothing_of_it_is_loaded(files: SnapshotFiles) -> None:
    data = bytearray(files.cow.read_bytes())
    data[4] = 0
    with pytest.raises(InvalidStore, match="invalid") as caught:
        dmsnap.simulate(MemoryDevice(bytes(data)))
    assert "--areas" in caught.value.hint


def test_drives_too_small_are_left_out_and_said(files: SnapshotFiles) -> None:
    capacities = {name: make_drive(name).capacity_bytes for name in DRIVES}
    smallest, largest = min(capacities.values()), max(capacities.values())
    assert smallest < largest
    device = MemoryDevice(files.cow.read_bytes())
    device.grow((smallest // 512 + 1) * 512)
    result = dmsnap.simulate(device, depths=[0])
    assert {*result.too_small, *(model.model for model in result.models)} == set(DRIVES)
    assert all(capacities[name] < device.size_bytes for name in result.too_small)
    with pytest.raises(BadRequest, match="drive"):
        dmsnap.simulate(device, models=result.too_small[:1], depths=[0])


def test_a_device_larger_than_every_drive_is_refused(files: SnapshotFiles) -> None:
    device = MemoryDevice(files.cow.read_bytes())
    device.grow(1 << 60)
    with pytest.raises(BadRequest, match="drive"):
        dmsnap.simulate(device)
