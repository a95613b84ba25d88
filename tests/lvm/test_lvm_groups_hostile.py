"""Every number of every structure given awkward values, under good checksums: groups or findings, never an error."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from dmsnap.block.memory import MemoryDevice
from dmsnap.lvm.groups import find_groups
from dmsnap.testing.lvm_builder import AREA_OFFSET, PvText, build_pv, group_text, seal_area, seal_label
from dmsnap.testing.partition_builder import build_gpt, build_mbr, put, seal_gpt

SIZE = 128 * 1024
EDGES = [
    *(0, 1, 2, 31, 32, 511, 512, 513, 4096, SIZE - 512, SIZE - 1, SIZE, SIZE + 1),
    *(2**power + step for power in (31, 32, 40, 54, 63) for step in (-1, 0)),
    2**64 - 512,
    2**64 - 1,
]
START = 40 * 512


def in_gpt() -> bytearray:
    disk = build_gpt(340, {1: (40, 256)})
    put(disk, START, build_pv(group_text(), older=[group_text()]))
    return disk


def in_mbr() -> bytearray:
    disk = build_mbr(340, {}, extended=(8, 330), logical=[(40, 256), (300, 20)])
    put(disk, START, build_pv(group_text()))
    return disk


def sealed_header(disk: bytearray) -> None:
    seal_gpt(disk)
    put(disk, 512 * 339, bytes(512))  # or else the backup would count


def volume() -> bytearray:
    return build_pv(group_text(seqno=2), older=[group_text(seqno=1)], precommitted=group_text(seqno=3))


CASES: dict[str, tuple[Callable[[], bytearray], range, Callable[[bytearray], None]]] = {
    "label": (volume, range(512 + 8, 512 + 160, 4), seal_label),
    "area": (volume, range(AREA_OFFSET + 4, AREA_OFFSET + 96, 4), seal_area),
    "mbr": (in_mbr, range(446, 512, 4), lambda disk: None),
    "extended": (in_mbr, range(8 * 512 + 446, 8 * 512 + 512, 4), lambda disk: None),
    "gpt header": (in_gpt, range(512 + 8, 512 + 92, 4), sealed_header),
}


@pytest.mark.parametrize("what", CASES)
@pytest.mark.parametrize("width", [4, 8])
def test_a_hostile_number_is_never_an_error(what: str, width: int) -> None:
    build, places, seal = CASES[what]
    sound, found = build(), 0
    assert find_groups([MemoryDevice(sound)])[0]
    for place in places:
        for edge in EDGES:
            disk = bytearray(sound)
            struct.pack_into("<Q" if width == 8 else "<I", disk, place, edge % 256**width)
            seal(disk)
            groups, findings = find_groups([MemoryDevice(disk)])
            assert all(finding.message and "\n" not in finding.message for finding in findings)
            found += len(groups)
    print(f"{what}: {found} of {len(places) * len(EDGES)} still gave a group")
    assert 0 < found < len(places) * len(EDGES)


def test_a_disk_cut_anywhere_is_never_an_error() -> None:
    for disk in (volume(), in_gpt(), in_mbr()):
        for size in range(0, len(disk), 512 * 3):
            find_groups([MemoryDevice(bytes(disk[:size]))])


def test_what_the_metadata_says_of_a_path_cannot_write_to_a_terminal() -> None:
    text = group_text(pvs=[PvText("pv0", 7), PvText("pv1", 7)]).replace(b"/dev/pv1", b"\x1b[2J\n/dev/pv1")
    text = text.replace(b"pv1000-0000", b"pv1000-0\n\x1b0")
    (group,), _ = find_groups([MemoryDevice(build_pv(text))])
    assert group.findings[0].message.isprintable()
