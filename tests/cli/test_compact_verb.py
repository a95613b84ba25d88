"""``dmsnap compact``."""

from __future__ import annotations

import json

import pytest


def test_it_says_what_became_of_the_store(run, files) -> None:
    process = run("compact", files.store, "-o", "new.cow")
    assert process.stdout == "new.cow: 1.1 MiB, 272 chunks of 4 KiB; was 2 MiB and 272\n"
    assert run("status", "new.cow").stdout == "2200/2200 24\n"
    assert run("map", "new.cow") == run("map", files.store)


def test_json_has_the_documented_fields(run, files) -> None:
    process = run("compact", files.store, "-o", "new.cow", "--origin", files.origin, "--chunk-size", "64K", "--json")
    assert json.loads(process.stdout) == {
        "chunk_size_bytes": 65536,
        "exceptions_before": 272,
        "exceptions": 24,
        "size_before_bytes": 2 << 20,
        "size_bytes": 26 * 65536,
    }


def test_smaller_chunks_without_what_is_equal_take_less(run, files) -> None:
    options = ("--origin", files.origin, "--chunk-size", "512b", "--drop-unchanged")
    assert run("compact", files.store, "-o", "new.cow", *options).returncode == 0
    assert (files.folder / "new.cow").stat().st_size < files.store.stat().st_size // 8
    for store in (files.store, "new.cow"):
        assert run("export", store, f"{store}.img", "--origin", files.origin).returncode == 0
    assert (files.folder / "new.cow.img").read_bytes() == (files.folder / "monday.cow.img").read_bytes()


@pytest.mark.parametrize("options", [("--drop-unchanged",), ("--chunk-size", "8K"), ("--chunk-size", "5K")])
def test_what_needs_an_origin_or_a_chunk_size_is_wrong_usage_without(options: tuple[str, ...], run, files) -> None:
    assert run("compact", files.store, "-o", "new.cow", *options).returncode == 2
    assert not (files.folder / "new.cow").exists()


def test_extra_room_is_told_by_the_status(run, files) -> None:
    run("compact", files.store, "-o", "new.cow", "--extra", "1M")
    assert run("status", "new.cow").stdout == f"2200/{2200 + 2048} 24\n"


def test_an_invalid_store_is_refused_with_a_way_out(run, files) -> None:
    data = bytearray(files.store.read_bytes())
    data[4] = 0
    files.store.write_bytes(data)
    process = run("compact", files.store, "-o", "new.cow")
    assert process.returncode == 1
    assert "dmsnap repair" in process.stderr
    assert not (files.folder / "new.cow").exists()
