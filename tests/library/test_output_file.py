"""Where result files may go, and how they appear: whole, in one step, and never through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import dmsnap
from dmsnap.library.output_file import check_output_file, whole_output
from dmsnap.transfer.raw import OutputIsInput, OutputIsStore
from dmsnap.transfer.whole_file import CannotWrite


def write(path: Path, data: bytes = b"new") -> None:
    with whole_output(str(path)) as file:
        file.write(data)


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"kept")
    link.symlink_to(real)
    write(link)
    assert not link.is_symlink()
    assert (link.read_bytes(), real.read_bytes()) == (b"new", b"kept")


def test_a_link_to_nowhere_creates_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / "link").read_bytes() == b"new"


def test_another_name_of_the_same_file_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"kept")
    os.link(tmp_path / "one", tmp_path / "two")
    write(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == b"kept"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_file_that_is_replaced_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert path.stat().st_mode & 0o777 == mode


def test_set_user_id_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o4755)
    write(path)
    assert path.stat().st_mode & 0o7777 == 0o755


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(TypeError), whole_output(str(tmp_path / "file")) as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_a_folder_that_takes_no_files_is_found_before(folder: str) -> None:
    with pytest.raises(CannotWrite):
        check_output_file(f"{folder}/loads.svg")


@pytest.mark.parametrize("name", ["x" * 300, "missing/file", "file\0"])
def test_a_name_that_cannot_be_is_found_before(name: str, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite):
        check_output_file(str(tmp_path / name))


def test_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_output_file(str(tmp_path / "file"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_store_is_refused_by_any_name(link, tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "store", 1 << 20)
    link(tmp_path / "store", tmp_path / "file")
    with pytest.raises(OutputIsStore):
        check_output_file(str(tmp_path / "file"))
    with pytest.raises(OutputIsInput):
        check_output_file(str(tmp_path / "file"), [tmp_path / "store"])
