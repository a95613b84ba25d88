"""``dmsnap table``."""

from __future__ import annotations

import json
import os
import subprocess


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


def test_names_that_do_not_print_come_out_as_shell(run, files) -> None:
    name = os.fsdecode(b"ev\x1b[31m'il\n\xff\\\xe2\x80\xae.cow")
    strange = files.store.rename(files.folder / name)
    commands = run("table", strange, "--origin", files.origin).stdout
    assert len(commands.splitlines()) == 3
    assert commands.replace("\n", "").isprintable()
    losetup = 'losetup() { printf %s "${!#}"; }; dmsetup() { :; };'
    process = subprocess.run(["bash", "-c", f'{losetup} {commands} printf %s "$cow"'], capture_output=True, check=True)
    assert process.stdout == os.fsencode(strange)
