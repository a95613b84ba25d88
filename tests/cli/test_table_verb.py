"""``dmsnap table``."""

from __future__ import annotations

import json


def test_the_line_has_the_kernels_type_and_chunk_size(run, files) -> None:
    output = json.loads(run("table", files.store, "--origin", files.origin, "--json").stdout)
    assert set(output) == {"line", "commands"}
    start, sectors, target, _origin, _cow, *rest = output["line"].split()
    assert [start, sectors, target, *rest] == ["0", "8192", "snapshot", *files.notebook.kernel.table.split()[2:]]


def test_the_text_is_the_commands(run, files) -> None:
    arguments = ["table", files.store, "--origin", files.origin]
    text = run(*arguments).stdout
    assert text.splitlines() == json.loads(run(*arguments, "--json").stdout)["commands"]
    assert "dmsetup create snap " in text


def test_the_device_gets_the_name_that_was_asked_for(run, files) -> None:
    text = run("table", files.store, "--origin", files.origin, "--name", "monday").stdout
    assert "dmsetup create monday " in text
