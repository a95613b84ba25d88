"""Any bytes as a COW device: opening raises what the model of the format says, or gives what the model says."""

from __future__ import annotations

import zlib

import engine

with engine.instrumented(include=["dmsnap"]):
    from dmsnap.block.memory import MemoryDevice
    from dmsnap.errors import DmsnapError
    from dmsnap.store import Store, open_store
    from dmsnap.target import parse_status, status_words
from dmsnap.testing.store_model import StoreModel, counted, model_store

PREFETCH = ("auto", "kernel", 0, 1, 7)


def test_one(data: bytes) -> None:
    """Opens a store by one of the policies, with or without an origin's size, and compares."""
    choice = zlib.crc32(data)  # of the input alone, so that it replays, and spread over all choices
    origin_size = None if choice & 16 else (choice >> 8) % 200 * 512
    device = MemoryDevice(data[: len(data) // 512 * 512], read_only=True)
    model = model_store(data, origin_size_bytes=origin_size)
    try:
        store = open_store(device, prefetch=PREFETCH[choice % len(PREFETCH)], origin_size_bytes=origin_size)
    except DmsnapError as error:
        refusal = type(error).__name__, str(error)
    else:
        refusal = "", ""
        compare(store, model)
    assert refusal[0] == model.refusal, refusal
    assert "\n" not in refusal[1]


def compare(store: Store, model: StoreModel) -> None:
    """Everything that a store says of itself, against the model."""
    assert not model.refusal
    assert store.valid == model.valid
    assert store.chunk_size_bytes == model.chunk_bytes
    assert len(store.table) == len(model.copies)
    copies = {
        origin + step: cow + step if cow else 0
        for runs in store.table.batches()
        for origin, cow, length in zip(*(column.tolist() for column in runs), strict=True)
        for step in range(length)
    }
    assert copies == model.copies
    for origin in [near for chunk in [0, *list(copies)[:20]] for near in (chunk - 1, chunk, chunk + 1) if near >= 0]:
        assert store.table.lookup(origin) == copies.get(origin)
    assert (store.areas, store.committed, store.next_free) == (model.areas, model.committed, model.next_free)
    assert counted(store.findings) == model.findings
    assert status_words(store) == model.status
    assert str(parse_status(model.status)) == model.status


if __name__ == "__main__":
    engine.fuzz(test_one, of_stores=True)
