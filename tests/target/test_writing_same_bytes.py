"""The same requests leave the same bytes, however they are cached, read ahead, committed and stored."""

import hashlib
import random
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from dmsnap.block import BlockDevice, FileDevice, IOFailed, MemoryDevice
from dmsnap.store import areas, create_store, open_store
from dmsnap.store.transient import TransientStore
from dmsnap.store.writable import PersistentStore
from dmsnap.target.merging import MergeDevice
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.writable_snapshot import WritableSnapshot
from dmsnap.testing.device_contract import in_threads

SECTORS = 400
SIZE = SECTORS * 512
STORES = (("P", 1, 420), ("PO", 8, 25), ("N", 4, 110), ("P", 2, 90))
"""Kind, chunk size in sectors, and size in chunks; the last one runs full."""


class Way(NamedTuple):
    """How the same is done."""

    sync: str = "flush"
    prefetch: str | int = "auto"
    cache_bytes: int = 4 << 20
    medium: str = "memory"
    reload: bool = False
    step_chunks: int = 20
    in_order: bool = True
    piece_sectors: int = 0
    """Of writes by the call for many to snapshots that do not run full: with others, some pieces may be left undone."""


USUAL = Way()
WAYS = [
    Way(sync="commit"),
    Way(prefetch="kernel", reload=True),
    Way(prefetch=0, reload=True),
    Way(prefetch=7, reload=True, sync="commit"),
    Way(cache_bytes=0),
    Way(cache_bytes=1024, sync="commit"),
    Way(medium="file"),
    Way(medium="file", sync="commit", reload=True, step_chunks=1),
    Way(step_chunks=1),
    Way(step_chunks=7, cache_bytes=512),
    Way(step_chunks=10_000),
    Way(step_chunks=33, in_order=False),
    Way(piece_sectors=1),
    Way(piece_sectors=3, sync="commit"),
    Way(piece_sectors=16, medium="file"),
]


class Scene:
    """The devices of one run."""

    def __init__(self, way: Way, folder: Path, stack: ExitStack) -> None:
        self.way, self.folder, self.stack = way, folder, stack
        self.disk = self.device("origin", SIZE)
        self.disk.write_at(0, random.Random(0).randbytes(SIZE))
        self.cows = [self.device(f"cow{n}", chunks * chunk * 512) for n, (_, chunk, chunks) in enumerate(STORES)]
        for cow, (kind, chunk, _) in zip(self.cows, STORES, strict=True):
            cow.write_at(0, random.Random(1).randbytes(cow.size_bytes))
            if kind != "N":
                create_store(cow, chunk)
        self.stores = [None] * len(STORES)
        self.load()

    def device(self, name: str, size: int) -> BlockDevice:
        if self.way.medium == "memory":
            return MemoryDevice(size, name=name)
        path = self.folder / name
        path.write_bytes(bytes(size))
        return self.stack.enter_context(FileDevice(str(path), writable=True))

    def load(self) -> None:
        in_use = OriginSnapshots()
        self.snapshots = []
        for number, (kind, chunk, _) in enumerate(STORES):
            if kind != "N":
                store = open_store(self.cows[number], prefetch=self.way.prefetch)
                self.stores[number] = PersistentStore(store, overflow=kind == "PO")
            elif self.stores[number] is None:
                self.stores[number] = TransientStore(self.cows[number], chunk)
            snapshot = WritableSnapshot(self.disk, self.stores[number], sync=self.way.sync, discard_zeroes_cow=True)
            in_use.add(snapshot.exceptions, SIZE)
            self.snapshots.append(snapshot)
        self.origin = OriginDevice(self.disk, in_use)

    def write(self, seed: int) -> list[bool]:
        """Random requests; says which of them succeeded."""
        rng = random.Random(seed)
        well = []
        for number in range(120):
            device = rng.choice([*[self.origin] * (seed % 2 * 2), *self.snapshots])
            sector = rng.randrange(SECTORS)
            length = min(SECTORS - sector, rng.choice([1, 2, 8, 16, rng.randrange(1, 40)])) * 512
            action, data = rng.choice(["write", "write", "write", "zero", "flush", "discard"]), rng.randbytes(length)
            try:
                if action == "write" and self.way.piece_sectors and device in self.snapshots[::2]:
                    piece = self.way.piece_sectors * 512
                    cuts = range(0, length, piece)
                    device.write_many([(sector * 512 + at, memoryview(data)[at : at + piece]) for at in cuts])
                elif action == "write":
                    device.write_at(sector * 512, data)
                elif action == "zero":
                    device.zero(sector * 512, length)
                elif action == "flush":
                    device.flush()
                else:
                    device.discard(sector // 8 * 4096, 4096)
                well.append(True)
            except IOFailed:
                well.append(False)
            if (
                self.way.reload
                and number in (60, 90)
                and not any(each.exceptions.overflowed for each in self.snapshots)
            ):
                for snapshot in self.snapshots:
                    snapshot.flush()
                self.load()
        for snapshot in self.snapshots:
            snapshot.flush()
        return well

    def reload(self) -> None:
        """Goes on with what is on the devices, unless that would forget that a snapshot has overflowed."""
        if not any(each.exceptions.overflowed for each in self.snapshots):
            for snapshot in self.snapshots:
                snapshot.flush()
            self.load()

    def merge(self) -> None:
        """Merges the first snapshot into the origin, beside the others."""
        self.origin.snapshots.remove(self.snapshots[0].exceptions)
        merge = MergeDevice(self.disk, self.stores[0], others=self.origin.snapshots)
        while merge.step(self.way.step_chunks * 512, in_order=self.way.in_order).chunks:
            pass
        for snapshot in self.snapshots[1:]:
            snapshot.flush()

    def digests(self) -> list[str]:
        devices = [self.disk, *self.cows]
        return [hashlib.sha256(device.read_at(0, device.size_bytes)).hexdigest() for device in devices]


def outcome(way: Way, seed: int, folder: Path) -> tuple:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(areas, "_CACHE_BYTES", way.cache_bytes)
        scene = Scene(way, folder, stack)
        well = scene.write(seed)
        written, words = scene.digests(), [str(each.status()) for each in scene.snapshots]
        scene.merge()
        merged = scene.digests() if way.step_chunks == USUAL.step_chunks else scene.digests()[:2]
        return well, written, words, merged


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(f"{value}" for value in way))
def test_the_same_requests_leave_the_same_bytes(way, seed, tmp_path):
    (tmp_path / "usual").mkdir()
    usual, other = outcome(USUAL, seed, tmp_path / "usual"), outcome(way, seed, tmp_path)
    assert other[:3] == usual[:3]
    # Other stores get their copies in the order of the merge, so a step's size shows in theirs, but nowhere else.
    assert other[3] == usual[3][: len(other[3])]


def test_the_requests_are_worth_comparing():
    with ExitStack() as stack:
        words, failures = set(), 0
        for seed in range(4):
            scene = Scene(USUAL, Path(), stack)
            failures += scene.write(seed).count(False)
            words |= {str(each.status()).split("/")[0] for each in scene.snapshots}
        assert failures > 10
        assert {"Invalid", "Overflow"} <= words
        assert len(words) > 5


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("sync", ["flush", "commit"])
def test_however_many_threads_write_their_parts_the_content_is_the_same(threads, sync):
    disk, cow = MemoryDevice(SIZE), MemoryDevice(4 * SIZE)
    create_store(cow, 4)
    snapshot = WritableSnapshot(disk, PersistentStore(open_store(cow)), sync=sync)

    def work(number: int) -> None:
        for sector in range(number, SECTORS, threads):
            snapshot.write_at(sector * 512, bytes([sector % 251]) * 512)

    in_threads(threads, work)
    snapshot.flush()
    loaded = WritableSnapshot(disk, PersistentStore(open_store(cow)))
    assert loaded.read_at(0, SIZE) == b"".join(bytes([sector % 251]) * 512 for sector in range(SECTORS))
    assert str(loaded.status()) == f"{(2 + 100) * 4}/1600 8"
