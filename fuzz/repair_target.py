"""Any bytes as a COW device: a repair that accepts everything leaves a sound store, or says that this is none."""

from __future__ import annotations

import zlib

import engine

with engine.instrumented(include=["dmsnap"]):
    from dmsnap.block.memory import MemoryDevice
    from dmsnap.maintenance.checking import check_store
    from dmsnap.maintenance.doubtful_ranges import judged_ranges
    from dmsnap.maintenance.repairing import CannotRepair, Repair
    from dmsnap.store import NotAStore, open_store

LARGEST_BYTES = 1 << 24
"""Of a new store: a header may say that a chunk is a gibibyte."""


def test_one(data: bytes) -> None:
    """Repairs a store, checks and loads what came of it."""
    choice = zlib.crc32(data)  # of the input alone, so that it replays
    origin_size = (1 + (choice >> 8) % 200) * 512
    accept = ["all", "chunk-size"][: 1 + (choice >> 5 & 1)]
    device = MemoryDevice(data[: len(data) // 512 * 512], read_only=True)
    try:
        repair = Repair(device, origin=MemoryDevice(origin_size, read_only=True), accept=accept)
    except (NotAStore, CannotRepair):
        return
    if repair.report.size_bytes > LARGEST_BYTES:
        return
    out = MemoryDevice(repair.report.size_bytes)
    report = repair.write(out)
    assert not check_store(out).damaged
    store = open_store(out)
    assert store.valid
    assert len(store.table) == report.exceptions
    assert sum(judged.length for judged in judged_ranges(repair, origin_size)) == origin_size
    for fate in report.records():
        assert fate.cow_chunk is None or fate.origin_chunk is not None


if __name__ == "__main__":
    engine.fuzz(test_one, of_stores=True)
