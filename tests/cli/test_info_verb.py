"""``dmsnap info``."""

from __future__ import annotations

import json
import re

import pytest

DOCUMENTED = {
    "name", "valid", "version", "chunk_size_bytes", "exceptions", "runs", "areas", "allocated_sectors", "total_sectors",
    "metadata_sectors", "next_free_chunk", "usage_percent", "status", "changed_bytes", "physical_bytes", "findings",
    "what_if",
}  # fmt: skip


def test_json_has_the_documented_fields_and_the_kernels_numbers(run, files) -> None:
    info = json.loads(run("info", files.store, "--json").stdout)
    assert set(info) == DOCUMENTED
    allocated, rest = files.notebook.kernel.status.split("/")
    total, metadata = rest.split()
    assert (info["allocated_sectors"], info["total_sectors"], info["metadata_sectors"]) == (
        int(allocated), int(total), int(metadata)
    )  # fmt: skip
    assert (info["valid"], info["version"], info["chunk_size_bytes"]) == (True, 1, 4096)
    assert (info["exceptions"], info["areas"], info["findings"]) == (272, 2, [])
    assert info["status"] == files.notebook.kernel.status


@pytest.mark.parametrize("prefetch", ["", "-1", "many", "65537"])
def test_other_prefetch_is_wrong_usage(prefetch: str, run, files) -> None:
    process = run("info", files.store, "--prefetch", prefetch)
    assert process.returncode == 2
    assert "prefetch" in process.stderr


def test_text_has_a_line_a_fact(run, files) -> None:
    lines = run("info", files.store).stdout.splitlines()
    facts = dict(line.split(maxsplit=1) for line in lines)
    assert facts["state"] == "valid"
    assert facts["status"] == files.notebook.kernel.status
    assert facts["findings"] == "none"
    assert not any(line != line.rstrip() for line in lines)


def test_an_invalid_store_says_so(run, files) -> None:
    data = bytearray(files.store.read_bytes())
    data[4] = 0
    files.store.write_bytes(data)
    process = run("info", files.store)
    assert process.returncode == 0
    assert "INVALID" in process.stdout
    assert json.loads(run("info", files.store, "--json").stdout)["valid"] is False


def test_an_origin_too_small_is_a_finding(run, files) -> None:
    with files.origin.open("r+b") as origin:
        origin.truncate(1 << 20)
    process = run("info", files.store, "--origin", files.origin)
    assert process.returncode == 0
    assert "\nfinding " in process.stdout
    assert len(json.loads(run("info", files.store, "--origin", files.origin, "--json").stdout)["findings"]) == 1


def test_damage_is_a_finding(run, files) -> None:
    data = bytearray(files.store.read_bytes())
    data[4096 + 8 : 4096 + 16] = (1 << 40).to_bytes(8, "little")
    files.store.write_bytes(data)
    (finding,) = json.loads(run("info", files.store, "--json").stdout)["findings"]
    assert (finding["kind"], finding["severity"], finding["count"]) == ("outside-cow", "damage", 1)
    assert "\nfinding     damage: outside-cow: 1 record with a copy past the end" in run("info", files.store).stdout
    assert "damage: outside-cow: 1 record with a copy past the end" in run("check", files.store).stdout


def test_a_terminal_gets_a_table_with_the_same_facts(terminal, run, files) -> None:
    strange = files.store.rename(files.folder / "[red]\x07.cow")
    status, shown = terminal("info", strange.name)
    assert status == 0
    assert b"\x1b[1;36m" in shown, "no colours on a terminal"
    assert b"[red]\\x07.cow" in shown
    plain = re.sub(rb"\x1b\[[0-9;]*m", b"", shown).decode().split()
    assert plain == run("info", strange.name).stdout.split()


def test_what_if_tells_sizes_at_other_chunk_sizes(run, files) -> None:
    assert json.loads(run("info", files.store, "--json").stdout)["what_if"] is None
    told = json.loads(run("info", files.store, "--what-if", "--json").stdout)["what_if"]
    assert [each["chunk_size_bytes"] for each in told] == [512 << shift for shift in range(12)]
    assert told[3] == {"chunk_size_bytes": 4096, "exceptions": 272, "size_bytes": 275 * 4096}
    assert told[0]["exceptions"] == 8 * 272
    lines = [line for line in run("info", files.store, "--what-if").stdout.splitlines() if line.startswith("at ")]
    assert lines[0] == "at 4 KiB    1.1 MiB for 272 chunks"
    assert len(lines) == 9, "those of less than 4 KiB are for programs"


def test_of_an_invalid_store_nobody_knows_what_if(run, files) -> None:
    data = bytearray(files.store.read_bytes())
    data[4] = 0
    files.store.write_bytes(data)
    assert json.loads(run("info", files.store, "--what-if", "--json").stdout)["what_if"] is None
