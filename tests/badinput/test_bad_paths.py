"""Paths that are no store and no origin: one clear line, no waiting, and nothing followed or made."""

import os
import tempfile
from pathlib import Path

import pytest

import dmsnap
from dmsnap.errors import DmsnapError
from dmsnap.testing import need_tool
from dmsnap.testing.damage import sound_store


def make_file(path):
    path.write_bytes(sound_store())


def make_dangling_link(path):
    path.symlink_to("nowhere")


def make_loop(path):
    path.symlink_to(path.name)


PATHS = {
    "missing": (lambda path: None, "no such file"),
    "a-directory": (lambda path: path.mkdir(), "is a directory"),
    "a-fifo": (os.mkfifo, "is a FIFO"),
    "a-dangling-link": (make_dangling_link, "no such file"),
    "a-loop-of-links": (make_loop, "too many levels of symbolic links"),
    "in-a-file": (make_file, "not a directory"),
    "a-character-device": (lambda path: path.symlink_to("/dev/zero"), "is a character device"),
    "a-terminal": (lambda path: path.symlink_to("/dev/tty"), "is a character device"),
    "n" * 300: (lambda path: None, "file name too long"),
}


@pytest.fixture
def bad(tmp_path, request):
    make, says = PATHS[request.param]
    path = tmp_path / request.param
    make(path)
    return (path / "below" if request.param == "in-a-file" else path), says


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "sound.cow"
    path.write_bytes(sound_store())
    return path


@pytest.mark.parametrize("bad", PATHS, indirect=True, ids=lambda name: name[:20])
class TestPath:
    def test_as_store(self, bad, origin, dmsnap_command):
        path, says = bad
        with pytest.raises(DmsnapError, match=says):
            dmsnap.info(path)
        dmsnap_command("info", path).is_one_clear_line(says, path.name)

    def test_as_origin(self, bad, store, dmsnap_command, unchanged):
        path, says = bad
        with pytest.raises(DmsnapError, match=says):
            dmsnap.open_snapshot(store, path)
        with unchanged(store):
            dmsnap_command("export", store, "out.img", "--origin", path).is_one_clear_line(says, path.name)


@pytest.mark.parametrize("which", ["store", "origin"])
def test_a_file_that_may_not_be_read_is_refused(which, dmsnap_command):
    # In a folder that everybody may enter; root is without its power over permissions.
    before = (
        ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all") if os.geteuid() == 0 else ()
    )
    if before:
        before = (need_tool("setpriv"), *before[1:])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("store", "origin"):
            (folder / part).write_bytes(sound_store())
        (folder / which).chmod(0)
        words = ["map", "store", "--origin", "origin"]
        dmsnap_command(*words, before=before, folder=folder).is_one_clear_line(f"{which}: permission denied")


@pytest.mark.parametrize("alias", ["itself", "a hard link", "a symbolic link"])
def test_a_store_cannot_be_its_own_origin(alias, store, tmp_path, dmsnap_command):
    other = store if alias == "itself" else tmp_path / "other"
    if alias == "a hard link":
        other.hardlink_to(store)
    elif alias == "a symbolic link":
        other.symlink_to(store.name)
    with pytest.raises(DmsnapError, match="cannot be the same"):
        dmsnap.open_snapshot(store, other)
    dmsnap_command("info", store, "--origin", other).is_one_clear_line("cannot be the same")


@pytest.mark.parametrize("name", ["two\nlines", "col\x1b[31mour", "\udcff\udcfe", "left\u202etfel", "-", "--json", " "])
class TestName:
    def test_of_a_store_is_only_a_name(self, name, store, origin, dmsnap_command):
        strange = store.rename(store.with_name(name))
        assert dmsnap.info(strange).exceptions == 70
        outcome = dmsnap_command("info", "--origin", origin, "--", name)
        assert (outcome.status, outcome.stderr) == (0, "")
        assert all(line.isprintable() for line in outcome.stdout.splitlines())

    def test_of_what_is_missing_stays_on_one_line(self, name, dmsnap_command):
        with pytest.raises(DmsnapError) as raised:
            dmsnap.info(name)
        assert "\n" not in str(raised.value)
        dmsnap_command("info", "--", name).is_one_clear_line("no such file")


def test_a_name_with_a_zero_byte_is_one_error():
    with pytest.raises(DmsnapError, match="null byte"):
        dmsnap.info("a\0b")


def test_an_origin_smaller_than_an_exception_says_is_a_finding(store, tmp_path, dmsnap_command, unchanged):
    small = tmp_path / "small.img"
    small.write_bytes(b"\x07" * 10 * 512)
    with unchanged(store, small):
        (finding,) = dmsnap.info(store, origin=small).findings
        assert finding.message == "66 records for a chunk past the end of the origin, which has 10 chunks"
        assert "is it the right origin" in finding.advice
        outcome = dmsnap_command("map", store, "--origin", small)
        assert (outcome.status, len(outcome.stdout.splitlines())) == (0, 1 + 4)
        with dmsnap.open_snapshot(store, small) as snapshot:
            assert snapshot.read_at(512, 1024) == b"\x07" * 1024


def test_an_origin_smaller_than_a_sector_makes_an_empty_snapshot(store, tmp_path, dmsnap_command):
    small = tmp_path / "small.img"
    small.write_bytes(b"tiny")
    outcome = dmsnap_command("export", store, "out.img", "--origin", small, "--force")
    assert (outcome.status, (tmp_path / "out.img").read_bytes()) == (0, b"")


def test_without_an_origin_export_is_wrong_usage(store, dmsnap_command):
    outcome = dmsnap_command("export", store, "out.img")
    assert outcome.status == 2
    assert outcome.stderr.count("\n") == 1
