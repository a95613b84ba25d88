"""``dmsnap demo`` and the sample that it shows."""

from __future__ import annotations

import hashlib

import pytest
from make_demo_sample import make_sample

from dmsnap.cli.sample import Notebook
from dmsnap.testing.kernelvm import need_kernelvm


def test_every_step_is_checked_and_nothing_is_left(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = run("demo")
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.count("✓") == 14
    assert "14 checks passed" in process.stdout
    assert "\x1b" not in process.stdout, "colours in a pipe"
    assert list(tmp_path.iterdir()) == []


def test_keep_leaves_the_files(run, tmp_path) -> None:
    assert run("demo", "--keep", "mine").returncode == 0
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "monday.cow", "monday.img", "new.cow", "notebook.img", "wednesday.cow", "wednesday.img"
    ]  # fmt: skip


def test_keep_wants_a_new_folder(run, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    process = run("demo", "--keep", "mine")
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == "dmsnap: mine exists (hint: --keep wants a folder that it can make)\n"


def test_the_generated_pages_are_what_the_kernel_read() -> None:
    notebook = Notebook.load()
    assert hashlib.sha256(notebook.origin()).hexdigest() == notebook.kernel.origin_sha256
    assert hashlib.sha256(notebook.snapshot()).hexdigest() == notebook.kernel.snapshot_sha256


@pytest.mark.kernel
@pytest.mark.timeout(600)  # one machine at a time boots; others may be waiting
def test_the_sample_is_what_a_kernel_makes_today() -> None:
    need_kernelvm()
    store, words = make_sample()
    packaged = Notebook.load()
    assert words.status == packaged.kernel.status
    assert words.snapshot_sha256 == packaged.kernel.snapshot_sha256
    assert words.origin_sha256 == packaged.kernel.origin_sha256
    assert store == packaged.store
