"""Targets over drives in simulated time: who waits for the whole waits for each part."""

import random

from dmsnap.block import MemoryDevice
from dmsnap.block.model import ModelDevice, make_drive
from dmsnap.store import open_store
from dmsnap.target.snapshot import SnapshotDevice
from dmsnap.target.striped import StripedDevice
from dmsnap.testing.store_builder import build_store, in_allocation_order

CHUNK = 4096
SIZE = 64 * CHUNK


def test_a_snapshot_of_a_modelled_origin_is_read_across_its_exceptions(tmp_path):
    content = random.Random(1).randbytes(SIZE)
    path = tmp_path / "snap.cow"
    with path.open("wb") as out:
        build_store(out, in_allocation_order([3, 4, 9], 8), data=lambda old, _: bytes([old]) * CHUNK)
    store = open_store(MemoryDevice(path.read_bytes(), read_only=True))
    wanted = bytearray(content)
    for chunk in (3, 4, 9):
        wanted[chunk * CHUNK : (chunk + 1) * CHUNK] = bytes([chunk]) * CHUNK
    with ModelDevice(MemoryDevice(content), make_drive("nvme")) as origin:
        assert SnapshotDevice(origin, store).read_at(0, SIZE) == wanted
        assert origin.clock() > 0


def test_stripes_on_two_modelled_drives_are_read_as_one():
    halves = [random.Random(seed).randbytes(SIZE) for seed in (1, 2)]
    stripes = [ModelDevice(MemoryDevice(half), make_drive("sata-ssd")) for half in halves]
    with StripedDevice(stripes, CHUNK) as device:
        chunks = [halves[n % 2][n // 2 * CHUNK : (n // 2 + 1) * CHUNK] for n in range(2 * SIZE // CHUNK)]
        view = memoryview(bytearray(2 * SIZE))
        device.start_read(0, view).wait()
        assert view == b"".join(chunks)
