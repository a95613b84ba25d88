"""Metadata areas: their header, the ring that goes round, and numbers nobody should believe."""

from __future__ import annotations

import random
import struct

import pytest

from dmsnap.block.memory import MemoryDevice
from dmsnap.lvm.label import DiskArea
from dmsnap.lvm.metadata_area import BadMetadataArea, MetadataArea, read_metadata_area, read_text
from dmsnap.lvm.older_metadata import assumed_area, older_texts
from dmsnap.testing.lvm_builder import AREA_OFFSET, AREA_SIZE, PvText, build_pv, group_text, seal_area

PLACE = DiskArea(AREA_OFFSET, AREA_SIZE)
TEXT = group_text(seqno=7)
HUGE = struct.pack("<Q", 2**64 - 1)


def area_of(image: bytes | bytearray, place: DiskArea = PLACE) -> tuple[MemoryDevice, MetadataArea]:
    device = MemoryDevice(image, read_only=True)
    return device, read_metadata_area(device, place)


def text_of(image: bytes | bytearray) -> bytes:
    device, area = area_of(image)
    assert area.committed is not None
    return read_text(device, area, area.committed)


def changed(offset: int, content: bytes, *, image: bytearray | None = None) -> bytearray:
    """A volume whose area header has other bytes at an offset, and a good checksum."""
    image = build_pv(TEXT) if image is None else image
    image[AREA_OFFSET + offset : AREA_OFFSET + offset + len(content)] = content
    seal_area(image)
    return image


def test_the_text_is_read_without_the_zero_at_its_end() -> None:
    assert text_of(build_pv(TEXT)) == TEXT


@pytest.mark.parametrize("left", [1, 511, 512, 513, len(TEXT), len(TEXT) + 1])
def test_a_text_goes_on_at_the_start_of_the_ring(left: int) -> None:
    assert text_of(build_pv(TEXT, text_offset=AREA_SIZE - left)) == TEXT


def test_a_text_may_fill_the_ring_from_anywhere() -> None:
    room = AREA_SIZE - 512 - 1
    text = group_text(padding="x" * (room - len(group_text())))
    assert text_of(build_pv(text, text_offset=512 * 50)) == text


def test_an_area_of_no_group_has_no_text() -> None:
    _, area = area_of(build_pv())
    assert (area.committed, area.precommitted, area.ignored) == (None, None, False)


def test_an_ignored_area_says_so() -> None:
    assert area_of(build_pv(ignored=True))[1].ignored
    assert area_of(build_pv(TEXT, ignored=True))[1].ignored


def test_a_text_that_is_about_to_count_is_told_apart() -> None:
    device, area = area_of(build_pv(TEXT, precommitted=group_text(seqno=8)))
    assert area.committed is not None
    assert area.precommitted is not None
    assert read_text(device, area, area.committed) == TEXT
    assert read_text(device, area, area.precommitted) == group_text(seqno=8)


def test_a_device_of_large_blocks_is_read_too() -> None:
    device = MemoryDevice(build_pv(TEXT, text_offset=AREA_SIZE - 512), logical_block_size_bytes=4096)
    area = read_metadata_area(device, PLACE)
    assert area.committed is not None
    assert read_text(device, area, area.committed) == TEXT


@pytest.mark.parametrize("offset", [AREA_OFFSET + 100, AREA_OFFSET + 24, AREA_OFFSET + 511])
def test_a_damaged_header_is_refused(offset: int) -> None:
    image = build_pv(TEXT)
    image[offset] ^= 1
    with pytest.raises(BadMetadataArea, match="checksum"):
        area_of(image)


@pytest.mark.parametrize("place", [0, len(TEXT) // 2, len(TEXT)])
def test_a_damaged_text_is_refused_and_says_where(place: int) -> None:
    image = build_pv(TEXT)
    image[AREA_OFFSET + 512 + place] ^= 1
    with pytest.raises(BadMetadataArea, match="checksum") as told:
        text_of(image)
    assert told.value.fields["offset_bytes"] == AREA_OFFSET + 512


HEADERS = {
    "another magic": (4, b"NTFS", "magic"),
    "another version": (20, struct.pack("<I", 2), "version 2"),
    "elsewhere": (24, struct.pack("<Q", 8192), "byte 8192"),
    "far away": (24, HUGE, "lies at byte"),
    "no ring": (32, struct.pack("<Q", 512), "512 bytes long"),
    "empty": (32, bytes(8), " 0 bytes long"),
    "larger than its place": (32, struct.pack("<Q", AREA_SIZE + 1), "bytes long"),
    "exabytes": (32, HUGE, "bytes long"),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_that_contradicts_itself_is_refused(what: str) -> None:
    offset, content, message = HEADERS[what]
    with pytest.raises(BadMetadataArea, match=message):
        area_of(changed(offset, content))


LOCATIONS = {
    "in the header": (40, struct.pack("<Q", 511)),
    "at the end": (40, struct.pack("<Q", AREA_SIZE)),
    "far behind": (40, HUGE),
    "no bytes": (48, bytes(8)),
    "more than the ring": (48, struct.pack("<Q", AREA_SIZE - 511)),
    "exabytes": (48, HUGE),
}


@pytest.mark.parametrize("what", LOCATIONS)
def test_a_text_outside_the_ring_is_refused(what: str) -> None:
    with pytest.raises(BadMetadataArea, match="outside the area"):
        text_of(changed(*LOCATIONS[what]))


@pytest.mark.parametrize("place", [DiskArea(2**64 - 1, 2**64 - 1), DiskArea(131072, 0), DiskArea(130560 + 1, 4096)])
def test_a_place_outside_the_device_is_refused(place: DiskArea) -> None:
    with pytest.raises(BadMetadataArea, match="outside the device"):
        area_of(build_pv(TEXT), place)


def test_an_area_that_the_label_calls_endless_ends_with_the_device() -> None:
    place = DiskArea(AREA_OFFSET, 0)
    assert area_of(build_pv(TEXT), place)[1].size_bytes == AREA_SIZE
    with pytest.raises(BadMetadataArea, match="bytes long"):
        area_of(changed(32, struct.pack("<Q", 128 * 1024 - AREA_OFFSET + 1)), place)


def test_a_huge_text_on_a_huge_device_takes_no_memory() -> None:
    device = MemoryDevice(1 << 60)
    header = build_pv(TEXT)
    struct.pack_into("<Q", header, AREA_OFFSET + 32, 1 << 59)
    struct.pack_into("<Q", header, AREA_OFFSET + 48, 1 << 58)
    seal_area(header)
    device.write_at(0, header)
    area = read_metadata_area(device, DiskArea(AREA_OFFSET, 1 << 59))
    assert area.committed is not None
    with pytest.raises(BadMetadataArea, match="more than"):
        read_text(device, area, area.committed)


# -- what is left in the ring -----------------------------------------------------------------------------------------


def versions(*numbers: int, **words: object) -> list[bytes]:
    """Texts of one group, each a second after the one before."""
    return [group_text(seqno=number, created=1000 + number, **words) for number in numbers]  # type: ignore[arg-type]


def left_in(image: bytes | bytearray) -> list[int]:
    """The numbers of the older texts that an area gives."""
    return [older.seqno for older in older_texts(*area_of(image))]


def test_older_texts_come_newest_first() -> None:
    image = build_pv(versions(4)[0], older=versions(1, 2, 3))
    assert left_in(image) == [3, 2, 1]
    assert [older.text for older in older_texts(*area_of(image))] == versions(3, 2, 1)


def test_older_texts_tell_where_they_lie() -> None:
    older = older_texts(*area_of(build_pv(versions(2)[0], older=versions(1))))
    assert older[0].offset_bytes == AREA_OFFSET + 512


def test_a_ring_may_hold_none() -> None:
    assert left_in(build_pv(TEXT)) == []


def test_an_older_text_may_go_on_at_the_start_of_the_ring() -> None:
    image = build_pv(group_text(padding="-" * (AREA_SIZE - 4096)), text_offset=512)
    whole = build_pv(versions(1)[0], text_offset=AREA_SIZE - 512)
    image[AREA_OFFSET + AREA_SIZE - 512 : AREA_OFFSET + AREA_SIZE] = whole[AREA_OFFSET + AREA_SIZE - 512 :][:512]
    image[AREA_OFFSET + 512 : AREA_OFFSET + 1536] = whole[AREA_OFFSET + 512 : AREA_OFFSET + 1536]
    assert [older.text for older in older_texts(*area_of(image))] == versions(1)


def test_what_was_written_after_the_text_that_counts_is_left_out() -> None:
    image = build_pv(versions(3)[0], older=versions(1, 4, 2), precommitted=versions(5)[0])
    assert left_in(image) == [2, 1]


def test_texts_of_a_group_that_lay_there_before_are_left_out() -> None:
    image = build_pv(versions(2)[0], older=[*versions(8, 9, name="before"), *versions(1)])
    assert left_in(image) == [1]


def test_without_a_sound_header_the_last_written_comes_first() -> None:
    before = versions(8, 9, name="before")
    image = build_pv(group_text(seqno=2, created=5000), older=[*before, group_text(seqno=1, created=4000)])
    area = assumed_area(MemoryDevice(image), PLACE)
    assert area is not None
    assert [older.seqno for older in older_texts(MemoryDevice(image), area)] == [2, 1, 9, 8]


def test_a_text_that_never_ends_is_left_out() -> None:
    image = build_pv()
    ring = memoryview(image)[AREA_OFFSET + 512 : AREA_OFFSET + AREA_SIZE]
    ring[:] = b"x" * len(ring)
    ring[: len(TEXT)] = TEXT
    area = assumed_area(MemoryDevice(image), PLACE)
    assert area is not None
    assert older_texts(MemoryDevice(image), area) == []


def test_a_ring_full_of_beginnings_is_read_about_twice() -> None:
    beginning = group_text()[:200].ljust(512, b"#")
    image = build_pv()
    image[AREA_OFFSET + 512 : AREA_OFFSET + AREA_SIZE - 1] = (beginning * 120)[: AREA_SIZE - 513]
    area = assumed_area(MemoryDevice(image), PLACE)
    assert area is not None
    assert sum(len(older.text) for older in older_texts(MemoryDevice(image), area)) <= 2 * AREA_SIZE


@pytest.mark.parametrize("place", [DiskArea(2**64 - 1, 0), DiskArea(131072, 512), DiskArea(4096, 512)])
def test_no_area_is_assumed_where_there_is_no_room(place: DiskArea) -> None:
    assert assumed_area(MemoryDevice(build_pv()), place) is None


def test_any_bytes_under_a_good_checksum_are_an_area_or_refused() -> None:
    chance = random.Random(6)
    outcomes = {"text": 0, "refused": 0}
    edges = [0, 1, 511, 512, 513, AREA_SIZE - 1, AREA_SIZE, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
    sound = build_pv(group_text(seqno=2, pvs=[PvText("pv0", 3)]), older=versions(1))
    for _ in range(1000):
        image = bytearray(sound)
        for _ in range(chance.randint(1, 3)):
            at = AREA_OFFSET + chance.choice([20, 24, 32, 40, 48, 56, 60, 64, 72, 80, 84])
            struct.pack_into("<Q", image, at, chance.choice([*edges, chance.randrange(2**20)]))
        seal_area(image)
        try:
            device, area = area_of(image)
            assert all(len(older.text) < area.ring_bytes for older in older_texts(device, area))
            if area.committed is not None:
                read_text(device, area, area.committed)
            outcomes["text"] += 1
        except BadMetadataArea as error:
            assert error.message.isprintable()  # noqa: PT017 - most raise, some need not
            outcomes["refused"] += 1
    assert all(outcomes.values()), outcomes
