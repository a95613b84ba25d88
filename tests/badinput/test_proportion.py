"""Effort in proportion: what is huge but empty costs nothing, and no small file costs much."""

import os
import threading

import numpy as np
import pytest

import dmsnap
from dmsnap.block.contract import IOFailed
from dmsnap.block.file import FileDevice
from dmsnap.block.memory import MemoryDevice
from dmsnap.store import open_store
from dmsnap.target import SnapshotDevice
from dmsnap.testing.damage import sound_store
from dmsnap.testing.store_builder import area_chunk, build_store

LARGEST_BYTES = 2**63 - 512


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "sound.cow"
    path.write_bytes(sound_store())
    return path


def test_an_origin_of_8_eib_is_walked_by_its_exceptions(store):
    snapshot = SnapshotDevice(MemoryDevice(LARGEST_BYTES), open_store(FileDevice(store)))
    extents = list(snapshot.extents(0, LARGEST_BYTES))
    assert len(extents) == 70 + 70
    assert sum(extent.length for extent in extents) == LARGEST_BYTES
    assert list(snapshot.data_extents(0, LARGEST_BYTES))[-1].offset + extents[-1].length >= LARGEST_BYTES


def test_a_store_of_8_eib_is_read_where_its_areas_are():
    device = MemoryDevice(LARGEST_BYTES)
    device.write_at(0, sound_store()[: 68 * 512])
    store = open_store(device)
    assert len(store.table) == 70
    assert store.total_sectors == LARGEST_BYTES // 512


def test_a_huge_origin_exports_as_a_huge_hole(store, tmp_path, put_huge, dmsnap_command):
    origin = tmp_path / "origin.img"
    origin.touch()
    size = put_huge(origin, LARGEST_BYTES)
    outcome = dmsnap_command("export", store, "out.img", "--origin", origin)
    assert (outcome.status, outcome.stderr) == (0, "")
    out = (tmp_path / "out.img").stat()
    assert (out.st_size, out.st_blocks < 2000) == (size, True)


def test_chunks_of_1_gib_cost_no_memory_for_areas_that_are_not_there(tmp_path, put_huge, dmsnap_command):
    path = tmp_path / "store"
    with path.open("wb") as out:
        build_store(out, [], chunk_size_sectors=1, header_chunk_size_sectors=1 << 21)
    put_huge(path, 1 << 44)
    record = np.array([5, 2], "<u8").tobytes()
    with path.open("r+b") as out:  # an area that only begins: 4 MiB of it, then a hole
        out.seek(1 << 30)
        out.write(record * (1 << 18))
    outcome = dmsnap_command("status", path)
    assert (outcome.status, outcome.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["overlapping runs", "scattered", "backwards"])
def test_half_a_million_records_in_the_smallest_areas_load_in_time_and_memory(kind, tmp_path, dmsnap_command):
    # A file whose data chunks are holes: 15625 areas of 512 bytes, read one by one.
    count = 500_000
    step = np.arange(count, dtype=np.uint64)
    origin = {
        "overlapping runs": step - step // 3 * 2,
        "scattered": step * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(12),
        "backwards": step[::-1] * 2,
    }[kind]
    cow = step % np.uint64(32) + 2
    areas = np.zeros((count // 32 + 1, 33 * 64), "<u8")  # each area and its data chunks, as numbers
    areas[:-1, :64] = np.column_stack((origin, cow)).reshape(-1, 64)
    path = tmp_path / "store"
    with path.open("wb") as out:
        build_store(out, [], chunk_size_sectors=1, size_chunks=area_chunk(len(areas), 1))
        for number in range(0, len(areas), 4096):
            out.seek((1 + 33 * number) * 512)
            out.write(areas[number : number + 4096].tobytes())
    outcome = dmsnap_command("status", path)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith("35/")


class TestSizeThatChanges:
    def test_a_store_that_shrinks_loses_only_what_was_there(self, store, origin):
        with dmsnap.open_snapshot(store, origin) as snapshot:
            os.truncate(store, 70 * 512)
            assert snapshot.read_at(0, 512)
            with pytest.raises(IOFailed, match="cut short while it was open"):
                snapshot.read_at(69 * 3 * 512, 512)
            with pytest.raises(IOFailed):
                snapshot.read_at(0, snapshot.size_bytes)

    def test_a_store_that_shrinks_while_it_is_loaded_is_an_error(self, store):
        with FileDevice(store) as device:
            assert device.size_bytes
            read = device._read_into

            def shrink_then_read(offset, view):
                os.truncate(store, 512)
                read(offset, view)

            device._start_reads = lambda requests: super(FileDevice, device)._start_reads(requests)
            device._nowait = 0  # as where nothing is in the page cache
            header = device.read_at(0, 512)
            assert header[:4] == b"SnAp"
            device._read_into = lambda offset, view: shrink_then_read(offset, view) if offset else read(offset, view)
            with pytest.raises(IOFailed, match="metadata area 0"):
                open_store(device)

    def test_an_origin_that_shrinks_is_an_error_where_it_is_gone(self, store, origin):
        with dmsnap.open_snapshot(store, origin) as snapshot:
            os.truncate(origin, 512 * 100)
            assert snapshot.read_at(512, 512)
            with pytest.raises(IOFailed, match="cut short while it was open"):
                snapshot.read_at(512 * 101, 512)

    def test_an_export_of_an_origin_that_shrank_leaves_nothing(self, store, origin, tmp_path):
        folder = tmp_path / "out"
        folder.mkdir()
        with dmsnap.open_snapshot(store, origin) as snapshot:
            os.truncate(origin, 512 * 100)
            with pytest.raises(IOFailed):
                dmsnap.export(snapshot.store.device, snapshot.origin, folder / "image")
        assert list(folder.iterdir()) == []

    def test_files_that_grow_keep_the_snapshot_as_it_was(self, store, origin):
        with dmsnap.open_snapshot(store, origin) as snapshot:
            size, before = snapshot.size_bytes, snapshot.read_at(0, snapshot.size_bytes)
            os.truncate(store, 1 << 20)
            os.truncate(origin, 1 << 20)
            assert (snapshot.size_bytes, snapshot.read_at(0, size)) == (size, before)
            assert snapshot.store.total_sectors == (1 << 20) // 512

    def test_a_store_that_grows_while_it_is_loaded_is_one_store(self, store):
        done = threading.Event()

        def grow():
            while not done.is_set():
                with store.open("ab") as file:
                    file.write(bytes(512))

        writer = threading.Thread(target=grow)
        writer.start()
        try:
            for _ in range(30):
                assert dmsnap.info(store).exceptions == 70
        finally:
            done.set()
            writer.join()
