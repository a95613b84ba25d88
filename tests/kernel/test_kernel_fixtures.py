"""Stores that Linux 6.1 wrote, kept as fixtures: ours gives its status words and its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmsnap.block.file import FileDevice
from dmsnap.store import NotAStore, open_store
from dmsnap.target import SnapshotDevice, SnapshotInvalid, status_words
from dmsnap.testing import fixtures
from dmsnap.testing.kernelvm.catalogue import SCENARIOS

ALL = fixtures.names()


def test_every_scenario_has_its_fixture() -> None:
    assert sorted(scenario.name for scenario in SCENARIOS) == ALL


@pytest.mark.parametrize("name", ALL)
def test_status_and_content_are_the_kernels(name: str, tmp_path: Path) -> None:
    fixture = fixtures.load(name, tmp_path)
    with FileDevice(fixture.origin) as origin, FileDevice(fixture.cow) as cow:
        if fixture.status is None:
            with pytest.raises(NotAStore):
                open_store(cow)
            return
        store = open_store(cow, origin_size_bytes=origin.size_bytes)
        assert status_words(store) == fixture.status
        assert fixture.table is not None
        assert store.chunk_size_sectors == int(fixture.table.split()[1])
        assert store.findings == ()
        snapshot = SnapshotDevice(origin, store)
        if fixture.content is None:
            with pytest.raises(SnapshotInvalid):
                snapshot.read_at(0, 512)
        else:
            assert first_difference(snapshot.read_at(0, snapshot.size_bytes), fixture.content) is None


@pytest.mark.parametrize("policy", ["kernel", "auto", 0, 1, 64])
def test_prefetch_changes_nothing(policy: str | int, tmp_path: Path) -> None:
    fixture = fixtures.load("areas-scattered", tmp_path)
    with FileDevice(fixture.origin) as origin, FileDevice(fixture.cow) as cow:
        store = open_store(cow, prefetch=policy)
        assert status_words(store) == fixture.status
        snapshot = SnapshotDevice(origin, store)
        assert first_difference(snapshot.read_at(0, snapshot.size_bytes), fixture.content) is None


def test_a_fixture_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    source = fixtures.COLLECTION / "fresh.tar.xz"
    (tmp_path / "renamed.tar.xz").write_bytes(source.read_bytes())
    with pytest.raises(fixtures.FixtureBroken, match="not what the kernel had"):
        fixtures.load("renamed", tmp_path, collection=tmp_path)


def first_difference(ours: bytes | bytearray, kernels: bytes | None) -> int | None:
    """Returns the first sector that differs; None if there is none."""
    assert kernels is not None
    assert len(ours) == len(kernels)
    return next((at // 512 for at in range(0, len(ours), 512) if ours[at : at + 512] != kernels[at : at + 512]), None)
