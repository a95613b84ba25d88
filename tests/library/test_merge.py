"""``merge``: a snapshot's content goes into its origin, and the store is empty afterwards."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from library_files import CHUNK, SnapshotFiles, open_descriptors, snapshot_files

import dmsnap
from dmsnap.block import FileDevice, MemoryDevice
from dmsnap.block.wrap import FaultDevice, LogDevice, Request, fail_nth, fail_range
from dmsnap.testing.store_builder import build_store, in_allocation_order

BIG = 700
"""Chunks that fill two metadata areas and a part of a third."""


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    return snapshot_files(tmp_path)


def big_snapshot(folder: Path) -> SnapshotFiles:
    """A snapshot of `BIG` changed chunks, single and in runs, in no order."""
    rng = random.Random(5)
    order = [*rng.sample(range(800), BIG - 100), *range(900, 1000)]
    content = bytearray(rng.randbytes(1000 * CHUNK))
    files = SnapshotFiles(folder / "big.cow", folder / "big.img", b"")
    files.origin.write_bytes(content)
    for chunk in order:
        content[chunk * CHUNK : (chunk + 1) * CHUNK] = chunk.to_bytes(8, "big") * (CHUNK // 8)
    with files.cow.open("wb") as out:
        build_store(out, in_allocation_order(order, 8), data=lambda old, _: old.to_bytes(8, "big") * (CHUNK // 8))
    return files._replace(content=bytes(content))


def test_the_origin_becomes_the_snapshot_and_the_store_empty(files: SnapshotFiles) -> None:
    result = dmsnap.merge(files.cow, files.origin)
    assert files.origin.read_bytes() == files.content
    assert result == dmsnap.MergeResult(False, 5, 3, 4 * CHUNK + 512, 0, "16/512 16")
    assert dmsnap.status(files.cow) == "16/512 16"
    assert dmsnap.info(files.cow).exceptions == 0


def test_a_store_of_many_areas_is_empty_too(tmp_path: Path) -> None:
    files = big_snapshot(tmp_path)
    dmsnap.merge(files.cow, files.origin)
    assert files.origin.read_bytes() == files.content
    assert dmsnap.info(files.cow).to_json() | {"name": "", "physical_bytes": 0} == _info_of_a_new_store(files)


def _info_of_a_new_store(files: SnapshotFiles) -> dict[str, object]:
    new = files.cow.with_name("new.cow")
    dmsnap.create(new, files.cow.stat().st_size, CHUNK)
    return dmsnap.info(new).to_json() | {"name": "", "physical_bytes": 0}


def test_merging_what_is_merged_does_nothing(files: SnapshotFiles) -> None:
    dmsnap.merge(files.cow, files.origin)
    before = files.cow.read_bytes(), files.origin.read_bytes()
    assert dmsnap.merge(files.cow, files.origin) == dmsnap.MergeResult(False, 0, 0, 0, 0, "16/512 16")
    assert (files.cow.read_bytes(), files.origin.read_bytes()) == before


def test_the_store_can_be_used_again(files: SnapshotFiles) -> None:
    dmsnap.merge(files.cow, files.origin)
    with dmsnap.open_snapshot(files.cow, files.origin, "r+") as snapshot:
        snapshot.write(b"again")
    dmsnap.merge(files.cow, files.origin)
    assert files.origin.read_bytes() == b"again" + files.content[5:]


def test_a_dry_run_says_the_same_and_changes_nothing(files: SnapshotFiles) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (files.cow, files.origin)}
    for path in before:
        path.chmod(0o444)
    planned = dmsnap.merge(files.cow, files.origin, dry_run=True)
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
    assert planned == dmsnap.MergeResult(True, 5, 3, 4 * CHUNK + 512, 0, dmsnap.status(files.cow))


def test_progress_counts_up_to_the_whole(tmp_path: Path) -> None:
    files = big_snapshot(tmp_path)
    told: list[tuple[int, int]] = []
    dmsnap.merge(files.cow, files.origin, max_rate_bytes=1 << 24, progress=lambda *numbers: told.append(numbers))
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1] == (BIG * CHUNK, BIG * CHUNK)


def test_at_its_end_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    origin, cow = MemoryDevice(bytes(1 << 20)), tmp_path / "one.cow"
    dmsnap.create(cow, 1 << 20)
    with dmsnap.open_snapshot(cow, origin, "r+") as snapshot:
        snapshot.write(b"one chunk")
    assert dmsnap.merge(cow, origin, max_rate_bytes=1).chunks == 1  # hours, else


def test_devices_serve_as_well_as_paths_and_stay_open(files: SnapshotFiles) -> None:
    cow, origin = MemoryDevice(files.cow.read_bytes()), MemoryDevice(files.origin.read_bytes())
    dmsnap.merge(cow, origin)
    assert bytes(origin.read_at(0, origin.size_bytes)) == files.content
    assert not cow.closed
    assert not origin.closed


def test_a_single_other_store_needs_no_list(files: SnapshotFiles) -> None:
    other = files.cow.with_name("other.cow")
    dmsnap.create(other, 1 << 20, CHUNK)
    before = files.origin.read_bytes()
    assert dmsnap.merge(files.cow, files.origin, others=str(other)).kept_bytes == 5 * CHUNK
    with dmsnap.open_snapshot(other, files.origin) as snapshot:
        assert snapshot.read_at(0, len(before)) == before


def test_everything_is_let_go_of(files: SnapshotFiles) -> None:
    before = open_descriptors()
    dmsnap.merge(files.cow, files.origin)
    assert open_descriptors() == before


def test_the_origin_is_flushed_before_the_store_forgets(files: SnapshotFiles) -> None:
    steps: list[str] = []

    def note(name: str, request: Request) -> bool:
        if request.op in ("write", "zero", "flush"):
            steps.append(f"{request.op} {name}")
        return False

    cow = FaultDevice(MemoryDevice(files.cow.read_bytes()), lambda request: note("cow", request))
    origin = FaultDevice(MemoryDevice(files.origin.read_bytes()), lambda request: note("origin", request))
    dmsnap.merge(cow, origin)
    last_copy = max(number for number, step in enumerate(steps) if step == "write origin")
    first_clear = min(number for number, step in enumerate(steps) if step.endswith(" cow") and "flush" not in step)
    assert "flush origin" in steps[last_copy:first_clear]
    assert steps[-1] == "flush cow"


# -- stopped and gone on with -----------------------------------------------------------------------------------------


def requests_of_a_merge(files: SnapshotFiles) -> int:
    logs = [LogDevice(MemoryDevice(path.read_bytes())) for path in (files.cow, files.origin)]
    dmsnap.merge(*logs)
    return sum(len(log.events) for log in logs)


@pytest.mark.parametrize("how", ["interrupt", "error"])
def test_stopped_at_any_request_it_is_gone_on_with(how: str, files: SnapshotFiles) -> None:
    stopped = 0
    for stop_at in range(1, 2 + requests_of_a_merge(files)):
        count = 0

        def stop(request: Request, stop_at: int = stop_at) -> bool:
            nonlocal count
            count += 1
            if count == stop_at and how == "interrupt":
                raise KeyboardInterrupt
            return count == stop_at

        cow, origin = MemoryDevice(files.cow.read_bytes()), MemoryDevice(files.origin.read_bytes())
        try:
            dmsnap.merge(FaultDevice(cow, stop), FaultDevice(origin, stop))
        except (KeyboardInterrupt, dmsnap.DmsnapError):
            stopped += 1
        with dmsnap.open_snapshot(cow, origin) as half_way:
            assert half_way.read() == files.content
        dmsnap.merge(cow, origin)
        assert bytes(origin.read_at(0, origin.size_bytes)) == files.content
        assert dmsnap.status(cow) == "16/512 16"
    assert stopped >= 5


@pytest.mark.parametrize("device", ["cow", "origin"])
def test_a_failing_device_stops_it_with_what_to_do(device: str, files: SnapshotFiles) -> None:
    cow, origin = (
        FaultDevice(MemoryDevice(files.cow.read_bytes())),
        FaultDevice(MemoryDevice(files.origin.read_bytes())),
    )
    failing = cow if device == "cow" else origin
    failing.faults.append(fail_range(2 * CHUNK, CHUNK) if device == "cow" else fail_nth("write"))
    with pytest.raises(dmsnap.DmsnapError, match="shutting down merge") as raised:
        dmsnap.merge(cow, origin)
    assert type(raised.value).__name__ == "MergeFailed"
    assert raised.value.hint
    failing.faults.clear()
    dmsnap.merge(cow, origin)
    assert bytes(origin.read_at(0, origin.size_bytes)) == files.content


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_merge_and_another_writer_exclude_each_other(files: SnapshotFiles) -> None:
    for path in (files.cow, files.origin):
        with FileDevice(path, writable=True, exclusive=True), pytest.raises(dmsnap.DmsnapError, match="in use"):
            dmsnap.merge(files.cow, files.origin)
    dmsnap.merge(files.cow, files.origin)


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_that_never_ends_is_refused(rate: int, files: SnapshotFiles) -> None:
    with pytest.raises(dmsnap.DmsnapError, match="no rate"):
        dmsnap.merge(files.cow, files.origin, max_rate_bytes=rate)
