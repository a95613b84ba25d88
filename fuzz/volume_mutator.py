"""Mutations that know the layout of physical volumes and partitions, so that most inputs get past the checksums."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from dmsnap.testing.lvm_builder import crc_of

AREA_MAGIC = b" LVM2 x[5A%r0N*>"
GPT_MAGIC = b"EFI PART"
LARGEST_INPUT_BYTES = 1 << 16
EDGES = [0, 1, 2, 32, 511, 512, 513, 4096, 8192, 2**31, 2**32 - 1, 2**32, 2**55, 2**63 - 1, 2**63, 2**64 - 1]
LABEL_FIELDS = [8, 20, 24, 32, 64, 72, 80, 88, 96, 104, 112, 120, 128, 136, 140, 144]
AREA_FIELDS = [20, 24, 32, 40, 48, 60, 64, 72, 84]
TABLE_FIELDS = [*(446 + 16 * entry + field for entry in range(4) for field in (0, 4, 8, 12)), 510]
GPT_FIELDS = [12, 24, 32, 72, 80, 84, 88]
WORDS = [b"{", b"}", b"[", b"]", b'"', b"=", b"seqno = 2", b"\0", b"#", b"\n", b"pv0", b"18446744073709551616", b"-1"]


def mutate_volume(data: bytes, max_size: int, seed: int, fall_back: Callable[[bytes, int], bytes]) -> bytes:
    """Returns ``data`` after one to four mutations, mostly with good checksums; now and then one that knows nothing."""
    chance = random.Random(seed)
    image = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        kind = chance.choice(MUTATIONS)
        if kind is None:
            image = bytearray(fall_back(bytes(image), max_size))
        elif len(image) >= 1024:
            kind(image, chance)
    if chance.random() < 0.9:
        seal(image, texts=chance.random() < 0.8)
    return bytes(image[:max_size])


def seal(image: bytearray, *, texts: bool) -> None:
    """Makes the checksums of labels, headers and GPTs good, and those of texts if wanted."""
    for label in _places(image, b"LABELONE"):
        if label % 512 == 0 and label + 512 <= len(image):
            struct.pack_into("<I", image, label + 16, crc_of(image[label + 20 : label + 512]))
    for magic in _places(image, AREA_MAGIC):
        area = magic - 4
        if area < 0 or area + 512 > len(image):
            continue
        size, offset, length = struct.unpack_from("<QQQ", image, area + 32)
        if texts and 512 <= offset < size <= len(image) - area and length <= size - 512:
            ring = image[area + 512 : area + size]
            text = (ring + ring)[offset - 512 : offset - 512 + length]
            struct.pack_into("<I", image, area + 56, crc_of(text))
        struct.pack_into("<I", image, area, crc_of(image[area + 4 : area + 512]))
    for header in _places(image, GPT_MAGIC):
        if header + 512 > len(image):
            continue
        first, count, size = struct.unpack_from("<QII", image, header + 72)
        if count * size <= len(image):
            struct.pack_into("<I", image, header + 88, zlib.crc32(image[first * 512 : first * 512 + count * size]))
        length = struct.unpack_from("<I", image, header + 12)[0]
        struct.pack_into("<I", image, header + 16, 0)
        struct.pack_into("<I", image, header + 16, zlib.crc32(image[header : header + min(length, 512)]))


def _places(image: bytearray, magic: bytes) -> list[int]:
    found, at = [], image.find(magic)
    while at >= 0 and len(found) < 16:
        found.append(at)
        at = image.find(magic, at + 1)
    return found


def _put_number(image: bytearray, at: int, chance: random.Random) -> None:
    number = chance.choice(EDGES) + chance.randint(-2, 2) if chance.random() < 0.5 else chance.randrange(1 << 14)
    size = chance.choice([1, 4, 8, 8])
    if at + size <= len(image):
        image[at : at + size] = (number % 2**64).to_bytes(8, "little")[:size]


def _field(magic: bytes, before: int, fields: list[int]) -> Callable[[bytearray, random.Random], None]:
    def change(image: bytearray, chance: random.Random) -> None:
        if places := _places(image, magic):
            _put_number(image, chance.choice(places) - before + chance.choice(fields), chance)

    return change


def _table(image: bytearray, chance: random.Random) -> None:
    _put_number(
        image, chance.choice([0, 0, 512 * chance.randrange(len(image) // 512)]) + chance.choice(TABLE_FIELDS), chance
    )
    if chance.random() < 0.5:
        image[510:512] = b"\x55\xaa"


def _text(image: bytearray, chance: random.Random) -> None:
    """Puts a word somewhere behind the header of an area."""
    if places := _places(image, AREA_MAGIC):
        at, word = chance.choice(places) + 508 + chance.randrange(2048), chance.choice(WORDS)
        if at + len(word) <= len(image):
            image[at : at + len(word)] = word


def _copy(image: bytearray, chance: random.Random) -> None:
    """Copies sectors to another place: a second label, an older text, an area within another."""
    sectors, count = len(image) // 512, chance.choice([1, 1, 2, 3, 8])
    source, target = chance.randrange(sectors) * 512, chance.randrange(sectors) * 512
    piece = image[source : source + count * 512]
    image[target : target + len(piece)] = piece


def _length(image: bytearray, chance: random.Random) -> None:
    change = chance.choice([1, 511, 512, 4096])
    if chance.random() < 0.5:
        del image[max(0, len(image) - change) :]
    elif len(image) < LARGEST_INPUT_BYTES:
        image.extend(bytes(change))


_label = _field(b"LABELONE", 0, LABEL_FIELDS)
_area = _field(AREA_MAGIC, 4, AREA_FIELDS)
_gpt = _field(GPT_MAGIC, 0, GPT_FIELDS)
MUTATIONS = (_label, _label, _area, _area, _gpt, _table, _text, _text, _copy, _length, None)
