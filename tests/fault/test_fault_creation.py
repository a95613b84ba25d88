"""An I/O error at every request of a creation: no store, or an empty one, and never half of one."""

import random

import pytest

from dmsnap.block import IOFailed, MemoryDevice
from dmsnap.block.wrap import FaultDevice, LogDevice
from dmsnap.block.wrap.fault import fail_nth
from dmsnap.store import NotAStore, create_store, open_store

GARBAGE = random.Random(1).randbytes(20 * 4096)


@pytest.mark.parametrize("chunk_sectors", [1, 8, 16])
@pytest.mark.parametrize("before", ["zeros", "garbage", "a store"])
def test_a_creation_that_failed_leaves_no_store_or_an_empty_one_and_can_be_made_again(before, chunk_sectors):
    def device() -> MemoryDevice:
        medium = MemoryDevice(bytes(len(GARBAGE)) if before == "zeros" else GARBAGE)
        if before == "a store":
            create_store(medium, 2)
        return medium

    log = LogDevice(device())
    create_store(log, chunk_sectors)
    counts = {op: sum(event.op == op for event in log.events) for op in ("write", "zero", "flush")}
    failures = [(op, number) for op, count in counts.items() for number in range(1, count + 1)]
    failed = 0
    for op, number in failures:
        medium = device()
        try:
            create_store(FaultDevice(medium, fail_nth(op, number)), chunk_sectors)
        except IOFailed:
            failed += 1
        try:
            store = open_store(medium)
        except NotAStore:
            pass
        else:  # the old one, or the new one
            assert len(store.table) == 0
            assert store.chunk_size_sectors in ({2, chunk_sectors} if before == "a store" else {chunk_sectors})
        create_store(medium, chunk_sectors)
        assert len(open_store(medium).table) == 0
    assert failed == len(failures)
    assert failed >= 3
