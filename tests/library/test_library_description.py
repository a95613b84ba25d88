"""``info``, ``status``, ``table``, ``map_changes`` and ``export`` by path."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from library_files import CHUNK, SnapshotFiles, snapshot_files

import dmsnap
from dmsnap.block.memory import MemoryDevice
from dmsnap.testing.damage import DAMAGES
from dmsnap.testing.store_builder import build_store


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    return snapshot_files(tmp_path)


def test_info_has_the_numbers_of_the_store(files: SnapshotFiles) -> None:
    told = dmsnap.info(files.cow).to_json()
    assert told.pop("physical_bytes") == files.cow.stat().st_blocks * 512
    assert told == {
        "name": str(files.cow),
        "valid": True,
        "version": 1,
        "chunk_size_bytes": CHUNK,
        "exceptions": 5,
        "runs": 3,
        "areas": 1,
        "allocated_sectors": 7 * 8,
        "total_sectors": 64 * 8,
        "metadata_sectors": 2 * 8,
        "next_free_chunk": 7,
        "usage_percent": 10.9375,
        "status": "56/512 16",
        "changed_bytes": 5 * CHUNK,
        "findings": [],
        "what_if": None,
    }
    assert json.loads(json.dumps(told)) == told


def test_info_of_an_invalid_store(tmp_path: Path) -> None:
    with (tmp_path / "cow").open("wb") as out:
        build_store(out, [(0, 2)], valid=0)
    info = dmsnap.info(tmp_path / "cow")
    assert (info.valid, info.status, info.usage_percent, info.exceptions) == (False, "Invalid", 100.0, 0)


def test_info_with_an_origin_finds_records_beyond_it(files: SnapshotFiles) -> None:
    assert dmsnap.info(files.cow, origin=files.origin).findings == ()
    os.truncate(files.origin, 10 * CHUNK)
    (finding,) = dmsnap.info(files.cow, origin=files.origin).findings
    assert (finding.kind, finding.area) == ("outside-origin", 0)


def test_status_is_the_kernels(files: SnapshotFiles) -> None:
    assert dmsnap.status(str(files.cow)) == "56/512 16"


def test_table_uses_loop_devices_for_files(files: SnapshotFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files.cow.parent)
    activation = dmsnap.table("snap.cow", "origin.img", name="monday")
    sectors = len(files.content) // 512
    assert activation.line == f"0 {sectors} snapshot {files.origin} {files.cow} P 8"
    assert str(activation).splitlines() == [
        f"origin=$(losetup --find --show --read-only -- {files.origin})",
        f"cow=$(losetup --find --show -- {files.cow})",
        f'dmsetup create monday --table "0 {sectors} snapshot $origin $cow P 8"',
    ]


def test_table_needs_devices_that_a_kernel_can_open(files: SnapshotFiles) -> None:
    with pytest.raises(dmsnap.DmsnapError, match="no path"):
        dmsnap.table(files.cow, MemoryDevice(1 << 20))


def test_map_changes_is_clipped_where_the_origin_is_known(files: SnapshotFiles) -> None:
    whole = [(3 * CHUNK, 3 * CHUNK, True), (17 * CHUNK, CHUNK, True)]
    assert list(dmsnap.map_changes(files.cow)) == [*whole, (39 * CHUNK, CHUNK, True)]
    assert list(dmsnap.map_changes(files.cow, origin=files.origin)) == [*whole, (39 * CHUNK, 512, True)]


def test_nobody_knows_what_changed_in_an_invalid_store(tmp_path: Path) -> None:
    with (tmp_path / "cow").open("wb") as out:
        build_store(out, [(0, 2)], valid=0)
    with pytest.raises(dmsnap.DmsnapError, match="marked invalid"):
        dmsnap.map_changes(tmp_path / "cow")


def test_export_writes_the_content_to_a_file_or_a_stream(files: SnapshotFiles, tmp_path: Path) -> None:
    dmsnap.export(files.cow, files.origin, tmp_path / "out.img")
    assert (tmp_path / "out.img").read_bytes() == files.content
    out = io.BytesIO()
    dmsnap.export(files.cow, files.origin, out)
    assert out.getvalue() == files.content


@pytest.mark.parametrize("part", ["cow", "origin"])
def test_export_never_overwrites_its_parts(part: str, files: SnapshotFiles) -> None:
    before = getattr(files, part).read_bytes()
    with pytest.raises(dmsnap.DmsnapError, match="would overwrite"):
        dmsnap.export(files.cow, files.origin, getattr(files, part))
    assert getattr(files, part).read_bytes() == before


@pytest.mark.parametrize("name", [name for name, damage in DAMAGES.items() if damage.refusal])
def test_what_is_no_store_is_one_line_for_every_verb(name: str, tmp_path: Path) -> None:
    cow, origin, out = tmp_path / "cow", tmp_path / "origin", tmp_path / "out"
    with cow.open("wb") as file:
        DAMAGES[name].write(file)
    origin.write_bytes(bytes(8192))
    for verb in (
        lambda: dmsnap.open_snapshot(cow, origin),
        lambda: dmsnap.info(cow),
        lambda: dmsnap.status(cow),
        lambda: dmsnap.table(cow, origin),
        lambda: dmsnap.map_changes(cow),
        lambda: dmsnap.export(cow, origin, out),
    ):
        with pytest.raises(dmsnap.DmsnapError, match=DAMAGES[name].says) as caught:
            verb()
        assert type(caught.value).__name__ == DAMAGES[name].refusal
        assert "\n" not in str(caught.value)
    assert not out.exists()


def test_paths_that_cannot_be_opened_are_one_line_each(tmp_path: Path, files: SnapshotFiles) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "missing", "/dev/null", "a\0b"):
        with pytest.raises(dmsnap.DmsnapError):
            dmsnap.info(path)
        with pytest.raises(dmsnap.DmsnapError):
            dmsnap.open_snapshot(files.cow, path)
