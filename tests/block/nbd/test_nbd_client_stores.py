"""Stores and snapshots behind NBD."""

from __future__ import annotations

import time
from pathlib import Path

import dmsnap
from dmsnap.block.nbd.device import NbdDevice
from dmsnap.store import open_store
from dmsnap.testing import fixtures
from dmsnap.testing.store_builder import build_store, data_chunks

DELAY_SECONDS = 0.005


def test_a_snapshot_that_linux_wrote(nbdkit, qemu_nbd, tmp_path: Path) -> None:
    fixture = fixtures.load("areas-scattered", tmp_path)
    cow = nbdkit("--readonly", "file", fixture.cow)
    origin = qemu_nbd("--read-only", "--format=raw", fixture.origin)
    with dmsnap.open_snapshot(cow, origin=origin) as snapshot:
        assert snapshot.read() == fixture.content


def test_areas_are_prefetched_with_many_requests_under_way(nbdkit, tmp_path: Path) -> None:
    areas = 300
    path = tmp_path / "cow"
    with path.open("wb") as out:
        data = data_chunks(256 * areas, 8)
        build_store(out, [(number, int(chunk)) for number, chunk in enumerate(data)], chunk_size_sectors=8)
    slow = ("--threads=64", "--filter=delay", "file", path, f"rdelay={round(DELAY_SECONDS * 1000)}ms")
    with NbdDevice(nbdkit(*slow)) as device:
        started = time.monotonic()
        assert len(open_store(device, prefetch="auto").table) == 256 * areas
        seconds = time.monotonic() - started
    assert seconds < areas * DELAY_SECONDS / 3
