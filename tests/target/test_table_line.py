"""Table lines and the commands that load them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dmsnap.target import BadDeviceName, BadTable, activation, origin_table_line, table_line

HOSTILE = """/img/a 'b' "c" $(touch owned) `touch owned` \\ ;&|*\tend.img"""


def test_the_line_is_the_kernels() -> None:
    assert table_line(2097152, "/dev/vg/home", "/dev/vg/snap-cow", 32) == (
        "0 2097152 snapshot /dev/vg/home /dev/vg/snap-cow P 32"
    )
    assert table_line(8, "7:0", "7:1", 8, store_type="PO") == "0 8 snapshot 7:0 7:1 PO 8"


def test_blanks_in_a_path_do_not_split_the_line() -> None:
    assert table_line(8, "/dev/my disk", "/dev/a\\b", 8) == "0 8 snapshot /dev/my\\ disk /dev/a\\\\b P 8"


def test_block_devices_need_no_loop_devices() -> None:
    assert activation(8, "/dev/vg/home", "/dev/vg/cow", 16).commands == (
        "origin=/dev/vg/home",
        "cow=/dev/vg/cow",
        'dmsetup create snap --table "0 8 snapshot $origin $cow P 16"',
    )


def test_files_get_loop_devices_and_the_origin_stays_unwritable() -> None:
    commands = activation(8, "/img/o.img", "/img/c.cow", 16, origin_is_file=True, cow_is_file=True).commands
    assert commands[:2] == (
        "origin=$(losetup --find --show --read-only -- /img/o.img)",
        "cow=$(losetup --find --show -- /img/c.cow)",
    )


@pytest.mark.parametrize("is_file", [True, False])
def test_a_hostile_path_stays_one_argument(is_file: bool, tmp_path: Path) -> None:
    for program, answer in (("losetup", "/dev/loop7"), ("dmsetup", "")):
        script = tmp_path / program
        script.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" >> {tmp_path}/{program}.args\necho {answer}\n')
        script.chmod(0o755)
    commands = activation(8, HOSTILE, "/dev/cow", 16, origin_is_file=is_file)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", str(commands)], cwd=tmp_path, env=environment, check=True)
    table = (tmp_path / "dmsetup.args").read_text().split("\0")[3]
    if is_file:
        assert (tmp_path / "losetup.args").read_text().split("\0")[4] == HOSTILE
        assert table == "0 8 snapshot /dev/loop7 /dev/cow P 16"
    else:
        assert table == table_line(8, HOSTILE, "/dev/cow", 16)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-x", "x" * 128, "é", ".", ".."])
def test_names_that_device_mapper_would_change_are_refused(name: str) -> None:
    with pytest.raises(BadDeviceName, match="not a name for a device"):
        activation(8, "/dev/a", "/dev/b", 8, name=name)


@pytest.mark.parametrize(
    ("features", "tail"),
    [
        ((), "P 8"),
        (("discard_zeroes_cow",), "P 8 1 discard_zeroes_cow"),
        (("discard_passdown_origin", "discard_zeroes_cow"), "P 8 2 discard_zeroes_cow discard_passdown_origin"),
    ],
)
def test_features_follow_their_number(features: tuple[str, ...], tail: str) -> None:
    assert table_line(100, "253:0", "253:1", 8, features=features) == f"0 100 snapshot 253:0 253:1 {tail}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"store_type": "X"}, "Exception store type is not P or N"),
        ({"features": ["other"]}, "Unrecognised feature requested"),
        ({"features": ["discard_passdown_origin"]}, "discard_passdown_origin feature depends on discard_zeroes_cow"),
    ],
)
def test_what_the_kernel_refuses_is_refused_in_its_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadTable, match=words):
        table_line(100, "253:0", "253:1", 8, **options)


def test_the_line_of_a_snapshot_origin() -> None:
    assert origin_table_line(100, "253:0") == "0 100 snapshot-origin 253:0"
