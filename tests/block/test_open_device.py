"""Addresses as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmsnap.block import CannotOpen, ReadOnlyDevice, open_device


def test_a_path_is_opened_to_look_unless_asked_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(512))
    for address in (path, str(path)):
        with open_device(address) as device, pytest.raises(ReadOnlyDevice):
            device.write_at(0, b"\x01" * 512)
    with open_device(path, writable=True) as device:
        device.write_at(0, b"\x01" * 512)
    assert path.read_bytes() == b"\x01" * 512


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("s3://bucket/disk", "s3"),
        ("S3://bucket/disk", "s3"),
        ("nbd+ssh://localhost/disk", r"nbd\+ssh"),
        ("https://example.org/disk", "https"),
        ("lvm:vg/lv@disk.img", "lvm"),
    ],
)
def test_addresses_of_later_versions_are_refused_in_one_line(address: str, kind: str) -> None:
    with pytest.raises(CannotOpen, match=f": {kind} addresses cannot stand here") as caught:
        open_device(address)
    assert f"./{address}" in caught.value.hint


def test_a_file_with_the_name_of_an_address_is_reached_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lvm:vg").write_bytes(bytes(512))
    (tmp_path / "nbd:").mkdir()
    (tmp_path / "nbd:" / "disk").write_bytes(bytes(1024))
    for address, size in (("./lvm:vg", 512), (Path("lvm:vg"), 512), ("./nbd://disk", 1024)):
        with open_device(address) as device:
            assert device.size_bytes == size


def test_names_with_colons_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pci-0000:00:1f.2-part1", "lvm", "a:b"):
        (tmp_path / name).write_bytes(bytes(512))
        with open_device(name) as device:
            assert device.size_bytes == 512
