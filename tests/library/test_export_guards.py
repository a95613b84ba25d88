"""``export`` and wrong inputs: what it refuses, and what it only remarks on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from library_files import CHUNK, SnapshotFiles, snapshot_files

import dmsnap


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    return snapshot_files(tmp_path)


def test_the_store_of_a_nested_snapshot_is_never_overwritten(files: SnapshotFiles, tmp_path: Path) -> None:
    before = files.cow.read_bytes()
    upper = tmp_path / "upper.cow"
    dmsnap.create(upper, 1 << 20)
    with (
        dmsnap.open_snapshot(files.cow, files.origin) as inner,
        pytest.raises(dmsnap.DmsnapError, match="would overwrite"),
    ):
        dmsnap.export(upper, inner, files.cow, overwrite=True)
    assert files.cow.read_bytes() == before


def test_a_file_is_overwritten_only_when_asked(files: SnapshotFiles, tmp_path: Path) -> None:
    out = tmp_path / "out.img"
    out.write_bytes(b"before")
    with pytest.raises(dmsnap.DmsnapError, match="exists"):
        dmsnap.export(files.cow, files.origin, out)
    assert out.read_bytes() == b"before"
    dmsnap.export(files.cow, files.origin, out, overwrite=True)
    assert out.read_bytes() == files.content


def test_the_store_is_judged_before_the_output(files: SnapshotFiles, tmp_path: Path) -> None:
    (tmp_path / "out.img").write_bytes(b"before")
    with pytest.raises(dmsnap.DmsnapError, match="missing"):
        dmsnap.export(tmp_path / "missing", files.origin, tmp_path / "out.img")


def test_an_origin_that_is_too_small_is_refused(files: SnapshotFiles, tmp_path: Path) -> None:
    os.truncate(files.origin, 10 * CHUNK)
    with pytest.raises(dmsnap.DmsnapError, match="too small") as caught:
        dmsnap.export(files.cow, files.origin, tmp_path / "out.img")
    assert type(caught.value).__name__ == "OriginTooSmall"
    assert "right origin" in caught.value.hint
    assert not (tmp_path / "out.img").exists()


def test_any_origin_is_taken_when_asked_with_a_warning(files: SnapshotFiles, tmp_path: Path) -> None:
    os.truncate(files.origin, 10 * CHUNK)
    told: list[str] = []
    dmsnap.export(files.cow, files.origin, tmp_path / "out.img", any_origin=True, warn=told.append)
    assert (tmp_path / "out.img").read_bytes() == files.content[: 10 * CHUNK]
    assert len(told) == 1
    assert "too small" in told[0]


def test_map_and_table_warn_of_an_origin_that_is_too_small(files: SnapshotFiles) -> None:
    os.truncate(files.origin, 10 * CHUNK)
    told: list[str] = []
    assert list(dmsnap.map_changes(files.cow, origin=files.origin, warn=told.append))
    dmsnap.table(files.cow, files.origin, warn=told.append)
    assert ["too small" in line for line in told] == [True, True]


def test_swapped_inputs_are_guessed(files: SnapshotFiles, tmp_path: Path) -> None:
    with pytest.raises(dmsnap.DmsnapError) as caught:
        dmsnap.export(files.origin, files.cow, tmp_path / "out.img")
    assert "SNAP and ORIGIN swapped?" in caught.value.hint


def test_a_store_is_no_origin(files: SnapshotFiles, tmp_path: Path) -> None:
    other = tmp_path / "other.cow"
    dmsnap.create(other, 1 << 20)
    with pytest.raises(dmsnap.DmsnapError, match="begins as a COW store") as caught:
        dmsnap.export(files.cow, other, tmp_path / "out.img")
    assert "SNAP and ORIGIN swapped?" in caught.value.hint
    assert not (tmp_path / "out.img").exists()


def test_bytes_that_fill_no_sector_are_told_of(files: SnapshotFiles, tmp_path: Path) -> None:
    with files.origin.open("ab") as file:
        file.write(b"end")
    told: list[str] = []
    dmsnap.export(files.cow, files.origin, tmp_path / "out.img", warn=told.append)
    assert told == [f"{files.origin}: its last 3 bytes do not fill a sector and are left out"]


def test_a_sound_export_says_nothing(files: SnapshotFiles, tmp_path: Path) -> None:
    told: list[str] = []
    dmsnap.export(files.cow, files.origin, tmp_path / "out.img", warn=told.append)
    assert told == []


def test_the_package_knows_its_version_and_its_names() -> None:
    from importlib.metadata import version

    assert dmsnap.__version__ == version("dmsnap")
    assert {"__version__", *dmsnap.__all__} <= set(dir(dmsnap))
    assert "importlib" not in dir(dmsnap)
