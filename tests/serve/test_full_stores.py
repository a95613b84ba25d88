"""What clients are told when a store is full, and what goes on."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block import IOFailed, OutOfRoom, open_device

CHUNK = 4096
OLD, NEW = b"o" * 16 * CHUNK, b"n" * 16 * CHUNK


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A store with room for 4 chunks, and its origin."""
    origin, cow = tmp_path / "origin.img", tmp_path / "small.cow"
    origin.write_bytes(OLD)
    dmsnap.create(cow, 6 * CHUNK, CHUNK)
    return cow, origin


@pytest.mark.parametrize(("full", "number"), [("enospc", errno.ENOSPC), ("overflow", errno.EIO)])
def test_the_client_of_a_full_snapshot_is_told_and_reads_on(files: tuple[Path, Path], full, number: int) -> None:
    cow, origin = files
    with (
        dmsnap.serve([cow], origin=origin, full=full) as server,
        open_device(server.uri("small"), writable=True) as disk,
    ):
        disk.write_at(0, NEW[: 3 * CHUNK])
        disk.flush()
        with pytest.raises(OutOfRoom if full == "enospc" else IOFailed) as failed:
            disk.write_at(8 * CHUNK, NEW[: 2 * CHUNK])
        assert failed.value.errno == number
        assert disk.read_at(0, 8 * CHUNK) == NEW[: 3 * CHUNK] + OLD[3 * CHUNK : 8 * CHUNK]
        if full == "enospc":  # what has its copy can be written, and so can what there is room for
            disk.write_at(0, OLD[:CHUNK])
            disk.write_at(12 * CHUNK, NEW[:CHUNK])
    with dmsnap.open_snapshot(cow, origin) as snapshot:
        assert snapshot.read_at(CHUNK, 2 * CHUNK) == NEW[: 2 * CHUNK]


def test_the_client_of_a_snapshot_that_is_lost_when_full_gets_errors_from_then_on(files: tuple[Path, Path]) -> None:
    cow, origin = files
    with (
        dmsnap.serve([cow], origin=origin, full="invalidate") as server,
        open_device(server.uri("small"), writable=True) as disk,
        open_device(server.uri("origin")) as below,
    ):
        for _ in range(2):
            with pytest.raises(IOFailed) as failed:
                disk.write_at(0, NEW[: 5 * CHUNK])
            assert failed.value.errno == errno.EIO
        with pytest.raises(IOFailed):
            disk.read_at(0, CHUNK)
        assert below.read_at(0, CHUNK) == OLD[:CHUNK]
    assert dmsnap.status(cow) == "Invalid"


def test_an_origin_whose_snapshot_is_full_refuses_or_loses_it(files: tuple[Path, Path]) -> None:
    cow, origin = files
    with dmsnap.serve([cow], origin=origin) as server, open_device(server.uri("origin"), writable=True) as disk:
        disk.write_at(0, NEW[: 3 * CHUNK])
        with pytest.raises(OutOfRoom):
            disk.write_at(8 * CHUNK, NEW[: 2 * CHUNK])
    with dmsnap.open_snapshot(cow, origin) as snapshot:
        assert snapshot.read_at(0, len(OLD)) == OLD
    with (
        dmsnap.serve([cow], origin=origin, full="overflow") as server,
        open_device(server.uri("origin"), writable=True) as disk,
    ):
        disk.write_at(8 * CHUNK, NEW[: 2 * CHUNK])
    assert dmsnap.status(cow) == "Invalid"
