"""What lies on what: files, loop devices, partitions."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block.file import FileDevice
from dmsnap.testing import need, need_tool
from dmsnap.transfer import OutputIsInput, export_raw
from dmsnap.transfer.media import overlapping, same_medium

MIB = 1 << 20


@pytest.fixture
def loop() -> Iterator[Callable[..., Path]]:
    """Makes loop devices, which go with the test."""
    losetup = need_tool("losetup")
    need(os.geteuid() == 0, "loop devices need root")
    made: list[str] = []

    def attach(path: Path, *options: str) -> Path:
        process = subprocess.run(
            [losetup, "--find", "--show", *options, path], capture_output=True, text=True, check=False
        )
        need(not process.returncode, f"no loop devices here: {process.stderr.strip()}")
        made.append(process.stdout.strip())
        return Path(made[-1])

    yield attach
    for device in made:
        subprocess.run([losetup, "--detach", device], check=True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file of 4 MiB."""
    path = tmp_path / "image"
    path.write_bytes(b"i" * 4 * MIB)
    return path


def test_a_loop_device_is_the_file_below_it(image: Path, loop: Callable[..., Path]) -> None:
    first, second = loop(image).stat(), loop(image).stat()
    assert same_medium(first, image.stat())
    assert same_medium(image.stat(), first)
    assert same_medium(first, second)


def test_a_part_overlaps_the_whole_but_not_another_part(image: Path, loop: Callable[..., Path]) -> None:
    first = loop(image, "--sizelimit", str(MIB)).stat()
    second = loop(image, "--offset", str(MIB)).stat()
    assert overlapping(first, image.stat())
    assert overlapping(image.stat(), second)
    assert not same_medium(first, image.stat())
    assert not overlapping(first, second)


def test_a_loop_device_over_a_loop_device_is_seen_through(image: Path, loop: Callable[..., Path]) -> None:
    upper = loop(loop(image, "--offset", str(MIB)))
    assert overlapping(upper.stat(), image.stat())


def block_device(number: str) -> os.stat_result:
    """The status of a block device that only a made-up system knows."""
    major, minor = map(int, number.split(":"))
    return os.stat_result((stat.S_IFBLK, *(0,) * 9), {"st_rdev": os.makedev(major, minor)})


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk 8:0 with two partitions, and a mapped device 253:0 over the second, laid out as Linux does."""
    devices, numbers = tmp_path / "devices", tmp_path / "numbers"
    numbers.mkdir()
    for name, number in (("sda", "8:0"), ("sda/sda1", "8:1"), ("sda/sda2", "8:2"), ("dm-0", "253:0")):
        (devices / name / "slaves").mkdir(parents=True)
        (devices / name / "dev").write_text(f"{number}\n")
        (numbers / number).symlink_to(devices / name)
        if "/" in name:
            (devices / name / "partition").write_text("1\n")
    (devices / "dm-0/slaves/sda2").symlink_to(devices / "sda/sda2")
    monkeypatch.setattr("dmsnap.transfer.media.SYSTEM", numbers)


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("8:0", "8:1", True),
        ("8:1", "8:2", False),
        ("253:0", "8:2", True),
        ("253:0", "8:0", True),
        ("253:0", "8:1", False),
        ("8:1", "8:1", True),
        ("8:1", "9:9", False),
    ],
)
def test_parts_overlap_what_they_are_parts_of(one: str, other: str, overlap: bool) -> None:
    assert overlapping(block_device(one), block_device(other)) == overlap
    assert overlapping(block_device(other), block_device(one)) == overlap
    assert same_medium(block_device(one), block_device(other)) == (one == other)


def test_other_files_do_not_overlap(image: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    assert not overlapping(image.stat(), (tmp_path / "other").stat())


def test_an_export_to_a_loop_device_spares_the_file_below(image: Path, loop: Callable[..., Path]) -> None:
    target = loop(image)
    with FileDevice(image) as device, pytest.raises(OutputIsInput, match="would overwrite"):
        export_raw(device, target, overwrite=True)
    with FileDevice(target) as device, pytest.raises(OutputIsInput, match="would overwrite"):
        export_raw(device, image, overwrite=True)
    assert image.read_bytes() == b"i" * 4 * MIB


def test_a_store_and_a_loop_device_over_it_are_no_snapshot(image: Path, loop: Callable[..., Path]) -> None:
    with pytest.raises(dmsnap.DmsnapError, match="cannot be the same"):
        dmsnap.open_snapshot(image, loop(image))
