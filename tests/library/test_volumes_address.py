"""Addresses of logical volumes: what they are made of, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmsnap.library.volumes.address import (
    BadLvmAddress,
    LvmAddress,
    is_lvm_address,
    parse_lvm_address,
    paths_named,
)

NAMES = st.text("abcXYZ019+_.-", min_size=1, max_size=20).filter(lambda name: not name.startswith("-"))
IMAGES = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("lvm:vg/root@disk.img", ("disk.img",)),
        ("lvm:vg/root@a.img,b.img", ("a.img", "b.img")),
        ("LVM:vg/root@a,,b.img", ("a,b.img",)),
        ("lvm:vg/root@a,,,b", ("a,", "b")),
        ("lvm:vg/root@/dev/disk/by-id/x@y", ("/dev/disk/by-id/x@y",)),
        ("lvm:vg/root@nbd+unix:///a?socket=/s,b.img", ("nbd+unix:///a?socket=/s", "b.img")),
    ],
)
def test_what_stands_behind_the_first_at_sign_is_images(text: str, images: tuple[str, ...]) -> None:
    assert parse_lvm_address(text) == LvmAddress("vg", "root", images)


@given(NAMES, NAMES, IMAGES)
def test_an_address_that_was_written_is_read_as_it_was(group: str, volume: str, images: list[str]) -> None:
    address = LvmAddress(group, volume, tuple(images))
    alone_at_a_comma = any(image.startswith(",") for image in images[1:])
    if not alone_at_a_comma:  # "a" and ",b" would read as "a," and "b"
        assert parse_lvm_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ["lvm:", "lvm:vg", "lvm:vg/root", "lvm:vg/root@", "lvm:/root@a", "lvm:vg/@a", "lvm:v g/r@a", "lvm:a/b/c@d"]
)
def test_anything_else_that_begins_so_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(BadLvmAddress, match="lvm:VG/LV@IMAGE"):
        parse_lvm_address(text)


@pytest.mark.parametrize("text", ["lvm:vg/root@,a", "lvm:vg/root@a,"])
def test_an_image_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(BadLvmAddress, match="without a name"):
        parse_lvm_address(text)


def test_a_path_is_never_an_address() -> None:
    assert is_lvm_address("lvm:vg/root@a")
    assert not is_lvm_address(Path("lvm:vg/root@a"))
    assert not is_lvm_address("./lvm:vg/root@a")


def test_the_images_of_an_address_are_what_must_not_be_overwritten() -> None:
    assert paths_named("lvm:vg/root@a,b") == ("a", "b")
    assert paths_named("plain") == ("plain",)
    assert paths_named("lvm:nonsense") == ()
