"""``dmsnap export``."""

from __future__ import annotations

import os

import pytest


def test_the_image_is_what_the_kernel_read(run, files) -> None:
    process = run("export", files.store, "out.img", "--origin", files.origin)
    assert process.returncode == 0, process.stderr
    assert (files.folder / "out.img").read_bytes() == files.notebook.snapshot()


def test_stdout_gets_the_same(run, files) -> None:
    process = run("export", files.store, "-", "--origin", files.origin)
    assert process.returncode == 0, process.stderr
    assert process.raw == files.notebook.snapshot()


def test_the_image_is_sparse(run, tmp_path) -> None:
    run("create", "new.cow", "--size", "1M")
    with (tmp_path / "origin.img").open("wb") as origin:
        origin.truncate(1 << 30)
    assert run("export", "new.cow", "out.img", "--origin", "origin.img").returncode == 0
    assert (tmp_path / "out.img").stat().st_size == 1 << 30
    assert (tmp_path / "out.img").stat().st_blocks == 0


def test_a_file_in_the_way_is_kept(run, files) -> None:
    (files.folder / "out.img").write_text("precious")
    process = run("export", files.store, "out.img", "--origin", files.origin)
    assert process.returncode == 1
    assert process.stderr == "dmsnap: out.img exists (hint: --force (overwrite=True) overwrites it)\n"
    assert (files.folder / "out.img").read_text() == "precious"


def test_force_overwrites(run, files) -> None:
    (files.folder / "out.img").write_text("no longer wanted")
    assert run("export", files.store, "out.img", "--origin", files.origin, "--force").returncode == 0
    assert (files.folder / "out.img").read_bytes() == files.notebook.snapshot()


@pytest.mark.parametrize("target", ["monday.cow", "notebook.img"])
def test_an_input_is_never_the_output(target: str, run, files) -> None:
    before = (files.folder / target).read_bytes()
    process = run("export", files.store, target, "--origin", files.origin, "--force")
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert (files.folder / target).read_bytes() == before


def test_a_store_is_never_the_output(run, files) -> None:
    run("create", "other.cow", "--size", "1M")
    before = (files.folder / "other.cow").read_bytes()
    process = run("export", files.store, "other.cow", "--origin", files.origin, "--force")
    assert process.returncode == 1
    assert "is itself a COW store (hint: were SNAP and OUT swapped? remove it first)" in process.stderr
    assert (files.folder / "other.cow").read_bytes() == before


def test_a_wrong_origin_needs_force(run, files) -> None:
    os.truncate(files.origin, 1 << 20)
    process = run("export", files.store, "out.img", "--origin", files.origin)
    assert process.returncode == 1
    assert "is it the right origin?" in process.stderr
    process = run("export", files.store, "out.img", "--origin", files.origin, "--force")
    assert process.returncode == 0
    assert process.stderr.startswith("dmsnap: warning: ")
    assert process.stderr.count("\n") == 1
    assert (files.folder / "out.img").stat().st_size == 1 << 20


@pytest.mark.parametrize("verb", ["map", "table"])
def test_other_verbs_warn_of_a_wrong_origin(verb: str, run, files) -> None:
    os.truncate(files.origin, 1 << 20)
    process = run(verb, files.store, "--origin", files.origin)
    assert process.returncode == 0
    assert process.stdout
    assert process.stderr.startswith("dmsnap: warning: ")
    assert process.stderr.count("\n") == 1


def test_a_failure_leaves_no_file(run, files) -> None:
    data = bytearray(files.store.read_bytes())
    data[4096 + 8 : 4096 + 16] = (1 << 40).to_bytes(8, "little")
    files.store.write_bytes(data)
    process = run("export", files.store, "out.img", "--origin", files.origin)
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert sorted(path.name for path in files.folder.iterdir()) == ["monday.cow", "notebook.img"]


def test_an_invalid_store_cannot_be_exported(run, files) -> None:
    data = bytearray(files.store.read_bytes())
    data[4] = 0
    files.store.write_bytes(data)
    process = run("export", files.store, "out.img", "--origin", files.origin)
    assert process.returncode == 1
    assert "invalid" in process.stderr.lower()
    assert not (files.folder / "out.img").exists()


def test_a_full_disk_is_one_line(program, files) -> None:
    process = program("export", files.store, "-", "--origin", files.origin, redirection="> /dev/full")
    assert process.returncode == 1
    assert process.stderr.startswith("dmsnap: ")
    assert process.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_news(program, files) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = program("export", files.store, "-", "--origin", files.origin, stdout=writing)
    os.close(writing)
    assert (process.returncode, process.stderr) == (1, "")


def test_a_terminal_sees_progress_and_a_summary(terminal, files) -> None:
    status, shown = terminal("export", files.store, "out.img", "--origin", files.origin)
    assert status == 0
    assert b"export out.img" in shown
    assert b"out.img: 4 MiB, of which" in shown


def test_a_terminal_is_spared_raw_bytes(terminal, files) -> None:
    status, shown = terminal("export", files.store, "-", "--origin", files.origin)
    assert status == 1
    assert shown.startswith(b"dmsnap: a raw image would garble the terminal")
