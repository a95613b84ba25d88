"""Status words: those of the kernel, both ways."""

from __future__ import annotations

import pytest
from snapshot_parts import store_in_memory

from dmsnap.target import BadStatus, Status, ima_words, parse_status, status_words
from dmsnap.testing.store_builder import in_allocation_order


@pytest.mark.parametrize(
    ("exceptions", "size_chunks", "words"),
    [
        (0, 32, "16/256 16"),  # fresh
        (1, 32, "24/256 16"),
        (255, 258, "2056/2064 16"),  # as seen on Linux 6.1
        (256, 259, "2072/2072 24"),
        (257, 260, "2080/2080 24"),
    ],
)
def test_a_store_has_the_kernels_numbers(exceptions: int, size_chunks: int, words: str) -> None:
    store = store_in_memory(in_allocation_order(range(exceptions), 8), size_chunks=size_chunks)
    assert status_words(store) == words


def test_an_invalid_store_is_one_word() -> None:
    assert status_words(store_in_memory([], valid=0)) == "Invalid"


@pytest.mark.parametrize(
    "words", ["397896/2097152 1560", "16/2097152 16", "24/24", "0/0", "Invalid", "Merge failed", "Overflow", "Unknown"]
)
def test_the_kernels_words_are_read_and_written_alike(words: str) -> None:
    assert str(parse_status(f" {words}\n")) == words


@pytest.mark.parametrize(
    "words",
    ["", "invalid", "1/2/3", "1 / 2 3", "-1/2 3", "1/2 3 4", "१/२ ३", "9" * 21 + "/1 1", "1/2 0x3", "x" * 10_000],
)
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(BadStatus, match="not the status of a snapshot"):
        parse_status(words)


@pytest.mark.parametrize(
    ("words", "percent"),
    [
        ("24/200 16", 12.0),
        ("16/200 16", 0.0),
        ("24/24 16", 100.0),
        ("24/48", 50.0),
        ("1/100000000000 0", 1e-6),
        ("99999999999/100000000000 8", 99.999999),
        ("30/20 8", 150.0),
        ("Invalid", 100.0),
        ("Overflow", 100.0),
    ],
)
def test_usage_is_what_lvm_shows(words: str, percent: float) -> None:
    assert parse_status(words).usage_percent == percent


def test_a_status_without_metadata_prints_two_numbers() -> None:
    assert str(Status("", 8, 16)) == "8/16"


def test_what_the_kernel_measures_of_a_snapshot() -> None:
    assert ima_words(Status("Merge failed"), "253:0", "253:1") == (
        "target_name=snapshot,target_version=1.16.0,snap_origin_name=253:0,snap_cow_name=253:1,"
        "snap_valid=y,snap_merge_failed=y,snapshot_overflowed=n;"
    )
    assert "snap_valid=n" in ima_words(Status("Invalid"), "7:0", "7:1")
