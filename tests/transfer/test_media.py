"""What lies on what: files, loop devices, partitions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block.file import FileDevice
from dmsnap.testing import need_tool
from dmsnap.transfer import OutputIsInput, export_raw
from dmsnap.transfer.media import overlapping, same_medium

MIB = 1 << 20


@pytest.fixture
def loop() -> Iterator[Callable[..., Path]]:
    """Makes loop devices, which go with the test."""
    losetup = need_tool("losetup")
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    made: list[str] = []

    def attach(path: Path, *options: str) -> Path:
        process = subprocess.run(
            [losetup, "--find", "--show", *options, path], capture_output=True, text=True, check=False
        )
        if process.returncode:
            pytest.skip(f"no loop devices here: {process.stderr.strip()}")
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


def test_a_partition_overlaps_its_disk(tmp_path: Path) -> None:
    partitions = [path for path in Path("/sys/class/block").iterdir() if (path / "partition").exists()]
    devices = [(Path("/dev") / path.name, Path("/dev") / path.resolve().parent.name) for path in partitions]
    devices = [pair for pair in devices if pair[0].is_block_device() and pair[1].is_block_device()]
    if not devices:
        pytest.skip("no partitions here")
    partition, disk = devices[0]
    assert overlapping(partition.stat(), disk.stat())
    assert overlapping(disk.stat(), partition.stat())


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
