"""``dmsnap check``."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dmsnap.testing.named_damage import NAMED_DAMAGES, NamedDamage


@pytest.fixture
def damaged(files):
    """Writes a named damage, and an origin of the size that goes with it."""

    def write(word: str) -> NamedDamage:
        named = NAMED_DAMAGES[word]
        files.store.write_bytes(named.content())
        files.origin.write_bytes(bytes(named.origin_bytes))
        return named

    return write


def test_a_sound_store_is_one_line(run, files) -> None:
    process = run("check", files.store, "--origin", files.origin)
    assert process.returncode == 0
    assert process.stdout == f"{files.store}: sound; 272 exceptions in 2 areas, chunks of 4 KiB; 237 left\n"


def test_json_has_the_documented_fields(run, files) -> None:
    report = json.loads(run("check", files.store, "--json").stdout)
    assert set(report) == {
        "name", "valid", "chunk_size_bytes", "exceptions", "areas", "used_chunks", "leaked_chunks", "left_chunks",
        "findings",
    }  # fmt: skip
    assert (report["exceptions"], report["chunk_size_bytes"], report["findings"]) == (272, 4096, [])


@pytest.mark.parametrize("word", [word for word, named in NAMED_DAMAGES.items() if named.unreadable is None])
def test_damage_fails_and_anything_less_does_not(word: str, run, files, damaged) -> None:
    named = damaged(word)
    process = run("check", files.store, "--origin", files.origin)
    assert process.returncode == (named.severity == "damage")
    assert process.stderr == ""
    assert f"\n{named.severity}: {word}: " in process.stdout
    (finding,) = json.loads(run("check", files.store, "--origin", files.origin, "--json").stdout)["findings"]
    assert (finding["kind"], finding["severity"], finding["count"]) == (word, named.severity, named.count)


@pytest.mark.parametrize("word", ["magic", "leaked"])
def test_quiet_prints_nothing_and_the_status_tells(word: str, run, files, damaged) -> None:
    named = damaged(word)
    process = run("check", "--quiet", files.store)
    assert (process.returncode, process.stdout, process.stderr) == (named.severity == "damage", "", "")


def test_quiet_json_is_wrong_usage(run, files) -> None:
    assert run("check", "--quiet", "--json", files.store).returncode == 2


def test_findings_have_colours_on_a_terminal(terminal, files, damaged) -> None:
    damaged("top-bits")
    status, shown = terminal("check", files.store)
    assert status == 1
    assert b"\x1b[31m\x1b[1mdamage: top-bits\x1b[0m" in shown


def test_an_evil_name_is_harmless(run, files) -> None:
    strange = files.store.rename(files.folder / "ev\x1b[31mil\n.cow")
    assert "\x1b" not in run("check", strange.name).stdout


def test_what_only_volumes_and_servers_need_is_not_imported(files) -> None:
    """A check of a small store takes as long as its imports."""
    code = (
        "import sys; from dmsnap.cli import main; status = main(['check', sys.argv[1]])\n"
        "names = ('dmsnap.lvm', 'dmsnap.target', 'dmsnap.transfer', 'dmsnap.serve',\n"
        "         'rich', 'json', 'logging', 'pathlib')\n"
        "heavy = [module for module in sys.modules if module.startswith(names)]\n"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    command = [sys.executable, "-c", code, str(files.store)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
