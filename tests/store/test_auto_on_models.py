"""``auto`` on every drive that is modelled: close to the best fixed depth, from the first load on."""

import pytest

from dmsnap.block.model import DRIVES, ModelDevice, make_drive
from dmsnap.library.simulation.described_store import DescribedStore
from dmsnap.store import open_store

WORST = 1.15
DEPTHS = (2, 8, 24, 48, 96, 192)
SEED = 3


def seconds(drive, prefetch, *, areas, chunk_size_bytes, room_areas):
    store = DescribedStore(areas, chunk_size_bytes, room_areas=room_areas)
    with ModelDevice(store, make_drive(drive, SEED)) as device:
        open_store(device, prefetch=prefetch)
        return device.clock()


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize(
    ("areas", "chunk_size_bytes", "room_areas"), [(1563, 4096, 256), (1200, 16384, 0)], ids=["LVM2", "exactly full"]
)
def test_auto_takes_little_longer_than_the_best_depth(drive, areas, chunk_size_bytes, room_areas):
    store = {"areas": areas, "chunk_size_bytes": chunk_size_bytes, "room_areas": room_areas}
    best = min(seconds(drive, depth, **store) for depth in DEPTHS)
    assert seconds(drive, "auto", **store) <= WORST * best


@pytest.mark.parametrize("drive", DRIVES)
def test_auto_is_never_far_worse_than_linux_for_a_small_store(drive):
    store = {"areas": 20, "chunk_size_bytes": 4096, "room_areas": 256}
    assert seconds(drive, "auto", **store) <= 2 * seconds(drive, "kernel", **store)


def test_the_first_load_is_as_good_as_the_second():
    store = {"areas": 300, "chunk_size_bytes": 4096, "room_areas": 256}
    assert seconds("nvme", "auto", **store) == seconds("nvme", "auto", **store)
