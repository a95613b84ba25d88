"""``dmsnap map``."""

from __future__ import annotations

import json

from dmsnap.cli.sample.notebook import DRAFTS, PAGE_BYTES, REWRITTEN

CHANGED_PAGES = sorted({number for numbers in (*REWRITTEN, *DRAFTS) for number in numbers})


def test_json_is_the_changed_pages_as_ranges(run, files) -> None:
    ranges = json.loads(run("map", files.store, "--json").stdout)
    pages = [
        number
        for item in ranges
        for number in range(item["offset"] // PAGE_BYTES, (item["offset"] + item["length"]) // PAGE_BYTES)
    ]
    assert pages == CHANGED_PAGES
    assert len(ranges) == 8, "neighbours are joined"
    assert all(item["exists"] is True for item in ranges)


def test_lines_say_the_same(run, files) -> None:
    ranges = json.loads(run("map", files.store, "--json").stdout)
    header, *lines = run("map", files.store).stdout.splitlines()
    assert header.split() == ["offset", "length"]
    assert [[int(word) for word in line.split()] for line in lines] == [[r["offset"], r["length"]] for r in ranges]


def test_an_empty_store_maps_to_an_empty_array(run) -> None:
    run("create", "new.cow", "--size", "1M")
    assert json.loads(run("map", "new.cow", "--json").stdout) == []


def test_ranges_end_where_the_origin_ends(run, files) -> None:
    with files.origin.open("r+b") as origin:
        origin.truncate(100 * PAGE_BYTES)
    ranges = json.loads(run("map", files.store, "--origin", files.origin, "--json").stdout)
    assert ranges[-1] == {"offset": 96 * PAGE_BYTES, "length": 4 * PAGE_BYTES, "exists": True}
