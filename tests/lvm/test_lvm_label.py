"""The label: found in any of the first four sectors, and never believed where it contradicts itself."""

from __future__ import annotations

import random
import struct

import pytest

from dmsnap.block.memory import MemoryDevice
from dmsnap.lvm.crc import lvm_crc
from dmsnap.lvm.finding import FindingKind
from dmsnap.lvm.label import BadLabel, DiskArea, parse_label, read_label
from dmsnap.testing.lvm_builder import AREA_OFFSET, AREA_SIZE, DATA_OFFSET, build_pv, seal_label, uuid_of

HEADER = 512 + 32  # in a volume whose label is in sector 1
DATA_LIST = HEADER + 40
AREA_LIST = DATA_LIST + 32
EXTENSION = AREA_LIST + 32


def label_of(image: bytes | bytearray, sector: int = 1) -> bytes:
    return bytes(image[sector * 512 : sector * 512 + 512])


def changed(offset: int, content: bytes) -> bytes:
    """A label with other bytes at an offset of its volume, and a good checksum."""
    image = build_pv()
    image[offset : offset + len(content)] = content
    seal_label(image)
    return label_of(image)


def test_the_checksum_is_the_one_lvm_writes() -> None:
    assert lvm_crc(b"") == 0xF597A6CF
    assert lvm_crc(b"world", lvm_crc(b"hello ")) == lvm_crc(b"hello world")


@pytest.mark.parametrize("sector", range(4))
def test_a_label_is_found_in_each_of_the_first_four_sectors(sector: int) -> None:
    label, findings = read_label(MemoryDevice(build_pv(label_sector=sector, name="here")))
    assert label is not None
    assert (label.sector, label.uuid, label.size_bytes) == (sector, uuid_of("here"), 128 * 1024)
    assert not findings


def test_a_label_in_the_fifth_sector_is_none() -> None:
    assert read_label(MemoryDevice(build_pv(label_sector=4))) == (None, ())


def test_a_label_tells_its_areas_and_its_flag() -> None:
    places = ((AREA_OFFSET, AREA_SIZE), (120 * 1024, 8192))
    label = parse_label(label_of(build_pv(areas=places, used=True)), 1)
    assert label.metadata_areas == tuple(DiskArea(*place) for place in places)
    assert label.data_areas == (DiskArea(DATA_OFFSET, 0),)
    assert (label.bootloader_areas, label.extension_version, label.used) == ((), 2, True)


@pytest.mark.parametrize(("version", "used"), [(0, None), (1, None), (2, False), (3, False)])
def test_only_extensions_since_version_2_say_whether_a_group_uses_the_volume(version: int, used: bool | None) -> None:
    label = parse_label(label_of(build_pv(extension_version=version)), 1)
    assert (label.extension_version, label.used) == (version, used)


def test_a_volume_may_have_no_metadata_area() -> None:
    assert parse_label(label_of(build_pv(areas=())), 1).metadata_areas == ()


def test_a_bootloader_area_is_told() -> None:
    label = parse_label(changed(EXTENSION + 8, struct.pack("<QQ", 65536, 4096)), 1)
    assert label.bootloader_areas == (DiskArea(65536, 4096),)


def test_the_first_of_two_labels_counts_and_the_other_is_told() -> None:
    image = build_pv(name="first")
    image[1024:1536] = label_of(build_pv(name="second", label_sector=2), 2)
    label, findings = read_label(MemoryDevice(image))
    assert label is not None
    assert label.uuid == uuid_of("first")
    assert [(finding.kind, finding.offset_bytes) for finding in findings] == [(FindingKind.DAMAGED_LABEL, 1024)]


def test_a_damaged_label_is_told_beside_a_good_one() -> None:
    image = build_pv(name="first")
    image[1024:1536] = label_of(build_pv(name="second", label_sector=2), 2)
    image[700] ^= 1
    label, findings = read_label(MemoryDevice(image))
    assert label is not None
    assert label.uuid == uuid_of("second")
    assert "checksum" in findings[0].message


@pytest.mark.parametrize("size", [0, 512, 1024, 1536])
def test_a_device_may_end_before_or_in_the_sectors_of_labels(size: int) -> None:
    label, findings = read_label(MemoryDevice(bytes(build_pv()[:size])))
    assert (label is not None) == (size >= 1024)
    assert not findings


def test_a_device_of_large_blocks_is_read_too() -> None:
    label, _ = read_label(MemoryDevice(build_pv(label_sector=3), logical_block_size_bytes=4096))
    assert label is not None


HOSTILE = {
    "another sector": (512 + 8, struct.pack("<Q", 2), "sector 2"),
    "a huge sector": (512 + 8, struct.pack("<Q", 2**64 - 1), "sector"),
    "another type": (512 + 24, b"LVM1 001", "another kind"),
    "a type of no letters": (512 + 24, bytes(range(0xF8, 0x100)), "another kind"),
    "a header in the label's own": (512 + 20, struct.pack("<I", 8), "begin at byte 8"),
    "a header at the end": (512 + 20, struct.pack("<I", 500), "begin at byte 500"),
    "a header far away": (512 + 20, struct.pack("<I", 2**32 - 1), "begin at byte"),
    "a UUID of no letters": (HEADER + 5, b"\n", "UUID"),
    "a UUID with an escape": (HEADER, b"\x1b[31m", "UUID"),
    "data areas without an end": (DATA_LIST, b"\x01" * (1024 - DATA_LIST), "does not end"),
    "metadata areas without an end": (AREA_LIST, b"\x01" * (1024 - AREA_LIST), "does not end"),
    "bootloader areas without an end": (EXTENSION + 8, b"\x01" * (1024 - EXTENSION - 8), "does not end"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_label_that_contradicts_itself_is_refused(what: str) -> None:
    offset, content, message = HOSTILE[what]
    with pytest.raises(BadLabel, match=message):
        parse_label(changed(offset, content), 1)


def test_every_changed_bit_under_the_checksum_is_noticed() -> None:
    sound = label_of(build_pv())
    for bit in range(16 * 8, 512 * 8):
        data = bytearray(sound)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadLabel, match="checksum"):
            parse_label(bytes(data), 1)


def test_any_bytes_under_a_good_checksum_are_a_label_or_refused() -> None:
    chance = random.Random(6)
    read = 0
    for _ in range(1500):
        image = build_pv()
        for _ in range(chance.randint(1, 6)):
            at = 512 + chance.randrange(8, 200)
            count = chance.choice([1, 4, 8])
            image[at : at + count] = chance.choice([bytes(count), b"\xff" * count, chance.randbytes(count)])
        seal_label(image)
        try:
            parse_label(label_of(image), 1)
        except BadLabel as error:
            assert error.message.isprintable()  # noqa: PT017 - most raise, some need not
        else:
            read += 1
    assert 100 < read < 1400
