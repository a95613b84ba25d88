"""``dmsnap create``."""

from __future__ import annotations

import pytest


def test_the_bytes_are_the_kernels(run, tmp_path) -> None:
    process = run("create", "new.cow", "--size", "1M", "--chunk-size", "4K")
    assert process.returncode == 0, process.stderr
    data = (tmp_path / "new.cow").read_bytes()
    assert len(data) == 1 << 20
    assert data[:16] == b"SnAp" + bytes.fromhex("01000000 01000000 08000000")
    assert not any(data[16:])
    assert run("status", "new.cow").stdout == "16/2048 16\n"


def test_the_default_chunk_size_is_the_kernels(run, tmp_path) -> None:
    run("create", "new.cow", "--size", "1M")
    assert (tmp_path / "new.cow").read_bytes()[12:16] == (32).to_bytes(4, "little")


def test_the_file_is_sparse(run, tmp_path) -> None:
    assert run("create", "new.cow", "--size", "1T").returncode == 0
    assert (tmp_path / "new.cow").stat().st_blocks * 512 <= 1 << 20


def test_a_file_that_exists_is_left_alone(run, tmp_path) -> None:
    (tmp_path / "new.cow").write_text("precious")
    process = run("create", "new.cow", "--size", "1M")
    assert process.returncode == 1
    assert process.stderr.startswith("dmsnap: ")
    assert (tmp_path / "new.cow").read_text() == "precious"


@pytest.mark.parametrize(
    "options",
    [
        ["--size", "4K"],
        ["--size", "1000"],
        ["--size", "1M", "--chunk-size", "3K"],
        ["--size", "1M", "--chunk-size", "256b"],
        ["--size", "8G", "--chunk-size", "2G"],
    ],
    ids=" ".join,
)
def test_impossible_sizes_fail_and_leave_nothing(options: list[str], run, tmp_path) -> None:
    process = run("create", "new.cow", *options)
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert "unexpected" not in process.stderr
    assert not (tmp_path / "new.cow").exists()


@pytest.mark.parametrize("size", ["", "big", "-1M", "1.3b"])
def test_what_is_no_size_is_wrong_usage(size: str, run, tmp_path) -> None:
    process = run("create", "new.cow", "--size", size)
    assert process.returncode == 2
    assert "--size" in process.stderr
    assert not (tmp_path / "new.cow").exists()


def test_a_folder_that_is_not_there_is_one_line(run) -> None:
    process = run("create", "no/such/folder/new.cow", "--size", "1M")
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
