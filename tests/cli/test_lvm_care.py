"""The verbs that care for a store take snapshots inside LVM as they take files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_values import Ended

from dmsnap.testing.lvm_fixtures import load_lvm_fixture

Run = Callable[..., Ended]
SNAPSHOT, OTHER = "lvm:vgsnap/snap4@disk0.img", "lvm:vgsnap/snap8@disk0.img"


@pytest.fixture(autouse=True)
def image(tmp_path: Path) -> bytes:
    """The disk, and what it holds."""
    load_lvm_fixture("snapshots", tmp_path)
    return (tmp_path / "disk0.img").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["check", SNAPSHOT], "4 exceptions in 1 area"),
        (["dump", SNAPSHOT], 'nr_exceptions="4"'),
        (["dump", SNAPSHOT, "-o", "a.xml", "--data"], ""),
        (["compact", SNAPSHOT, "-o", "new.cow"], "4 chunks of 4 KiB"),
        (["compact", SNAPSHOT, "-o", "new.cow", "--drop-unchanged"], "new.cow: "),
        (["compact", SNAPSHOT, "-o", "new.cow", "--chunk-size", "8K"], "3 chunks of 8 KiB"),
        (["repair", SNAPSHOT, "-o", "new.cow", "--image", "a.img", "--map", "a.map"], "new.cow"),
        (["info", SNAPSHOT, "--what-if"], "at 8 KiB"),
        (["diff", SNAPSHOT, OTHER], "both"),
        (["diff", SNAPSHOT, OTHER, "--compare"], "equal"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_snapshot_inside_lvm_brings_its_origin(
    words: list[str], says: str, run: Run, image: bytes, tmp_path: Path
) -> None:
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert says in done.stdout
    assert "unknown" not in done.stdout
    assert (tmp_path / "disk0.img").read_bytes() == image


@pytest.mark.parametrize(
    "words",
    [
        ["dump", SNAPSHOT, "-o", "disk0.img", "--force"],
        ["compact", SNAPSHOT, "-o", "disk0.img"],
        ["repair", SNAPSHOT, "-o", "disk0.img"],
        ["restore", "a.xml", "-o", "disk0.img", "--force", "--data-from", SNAPSHOT],
    ],
    ids=lambda words: words[0],
)
def test_the_image_that_it_lies_in_is_never_overwritten(
    words: list[str], run: Run, image: bytes, tmp_path: Path
) -> None:
    run("dump", SNAPSHOT, "-o", "a.xml")
    done = run(*words)
    assert done.returncode == 1
    assert "would overwrite what the same command reads" in done.stderr
    assert (tmp_path / "disk0.img").read_bytes() == image
