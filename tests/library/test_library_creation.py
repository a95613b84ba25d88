"""``create``: a new store as the kernel makes it."""

from __future__ import annotations

from pathlib import Path

import pytest

import dmsnap


def test_a_new_store_is_the_kernels_bytes_in_a_sparse_file(tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "new.cow", 1 << 30, 4096)
    header = bytes.fromhex("536e4170 01000000 01000000 08000000")
    with (tmp_path / "new.cow").open("rb") as file:
        assert file.read(1 << 20) == header + bytes((1 << 20) - 16)
    status = (tmp_path / "new.cow").stat()
    assert status.st_size == 1 << 30
    assert status.st_blocks * 512 <= 16384
    assert dmsnap.status(tmp_path / "new.cow") == "16/2097152 16"


def test_the_chunk_size_is_the_kernels_unless_given(tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "new.cow", 1 << 20)
    assert dmsnap.info(tmp_path / "new.cow").chunk_size_bytes == 16384


def test_the_largest_chunks_are_as_quick(tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "new.cow", 3 << 30, 1 << 30)
    assert dmsnap.info(tmp_path / "new.cow").chunk_size_bytes == 1 << 30
    assert (tmp_path / "new.cow").stat().st_blocks * 512 <= 16384


@pytest.mark.parametrize("content", [b"", b"precious"])
def test_a_file_that_exists_is_left_alone(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(content)
    with pytest.raises(dmsnap.DmsnapError, match=r"exists \(name a new file"):
        dmsnap.create(tmp_path / "old", 1 << 20)
    assert (tmp_path / "old").read_bytes() == content


@pytest.mark.parametrize(
    ("size", "chunk", "words"),
    [
        (2 * 4096, 4096, "3 chunks"),
        (0, 4096, "0 bytes long"),
        (-512, 4096, "bytes long"),
        (100_000, 4096, "bytes long"),
        (1 << 20, 0, "invalid chunk size"),
        (1 << 20, 1000, "invalid chunk size"),
        (1 << 20, 1536, "Chunk size is not a power of 2"),
        (1 << 40, 1 << 31, "Chunk size is too high"),
        (1 << 80, 4096, "cannot be made"),
        ((1 << 63) - 512, 4096, "cannot be made"),
    ],
)
def test_sizes_that_cannot_be_are_refused_and_leave_nothing(size: int, chunk: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(dmsnap.DmsnapError, match=words):
        dmsnap.create(tmp_path / "new.cow", size, chunk)
    assert not list(tmp_path.iterdir())


def test_three_chunks_are_enough(tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "new.cow", 3 * 512, 512)
    assert dmsnap.status(tmp_path / "new.cow") == "2/3 2"


def test_a_folder_that_is_missing_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "missing/new.cow", "a\0b"):
        with pytest.raises(dmsnap.DmsnapError, match="cannot be made"):
            dmsnap.create(path, 1 << 20)
