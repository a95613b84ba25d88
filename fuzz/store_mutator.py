"""Mutations that know the layout of a store, so that most inputs get past the header and into the areas."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

RECORD = struct.Struct("<QQ")
HEADER = struct.Struct("<4s3I")
LARGEST_INPUT_BYTES = 1 << 17

EDGES = [0, 1, 2, 3, 33, 34, 2**32 - 1, 2**32, 2**54 - 1, 2**54, 2**55, 2**56 + 2, 2**63 - 1, 2**63, 2**64 - 1]


def mutate_store(data: bytes, max_size: int, seed: int, fall_back: Callable[[bytes, int], bytes]) -> bytes:
    """Returns ``data`` after one to four mutations; now and then one that knows nothing of stores."""
    chance = random.Random(seed)
    store = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        kind = chance.choice(MUTATIONS)
        if kind is None:
            store = bytearray(fall_back(bytes(store), max_size))
        else:
            kind(store, chance)
    return bytes(store[:max_size])


def _chunk_bytes(store: bytearray) -> int:
    """The chunk size that the header gives if it is a small one, or else 512."""
    sectors = HEADER.unpack_from(store)[3] if len(store) >= HEADER.size else 1
    return sectors * 512 if sectors in (1, 2, 4, 8) else 512


def _number(chance: random.Random, usual: int) -> int:
    near = chance.choice(EDGES) + chance.randint(-2, 2) if chance.random() < 0.2 else chance.randrange(usual + 2)
    return near % 2**64


def _header(store: bytearray, chance: random.Random) -> None:
    if len(store) < 512:
        store.extend(bytes(512 - len(store)))
    magic, valid, version, sectors = HEADER.unpack_from(store)
    magic = b"SnAp" if chance.random() < 0.9 else chance.choice([bytes(4), b"SnAq", magic])
    valid = chance.choice([1, 1, 1, 0, 2**32 - 1, valid])
    version = 1 if chance.random() < 0.9 else chance.choice([0, 2, version])
    sectors = chance.choice([1, 1, 1, 2, 4, 8, 32, 0, 3, 1 << 21, 1 << 22, sectors])
    HEADER.pack_into(store, 0, magic, valid, version, sectors)


def _records(store: bytearray, chance: random.Random) -> None:
    """Writes a few records, single ones or a run, at a random place of a random area."""
    chunk = _chunk_bytes(store)
    chunks, per_area = len(store) // chunk, chunk // RECORD.size
    areas = (chunks - 2) // (per_area + 1) + 1
    if chunks < 2:
        return
    at = (1 + chance.randrange(areas) * (per_area + 1)) * chunk
    first = chance.choice([0, chance.randrange(per_area)])
    count = chance.choice([1, 1, 2, per_area])
    origin, cow = _number(chance, 3 * chunks), _number(chance, chunks)
    step = chance.choice([0, 1, 1, 2])
    for index in range(first, min(first + count, per_area)):
        RECORD.pack_into(store, at + index * RECORD.size, origin, cow)
        origin, cow = (origin + step) % 2**64, (cow + chance.choice([step, 1])) % 2**64


def _length(store: bytearray, chance: random.Random) -> None:
    """Cuts or lengthens, mostly by whole chunks and areas."""
    chunk = _chunk_bytes(store)
    change = chance.choice([1, 511, chunk, 2 * chunk, chunk * (chunk // RECORD.size + 1)])
    if chance.random() < 0.4:
        del store[max(0, len(store) - change) :]
    elif len(store) < LARGEST_INPUT_BYTES:
        store.extend(bytes(change))


def _copy(store: bytearray, chance: random.Random) -> None:
    """Copies a record or a chunk to another place."""
    size = chance.choice([RECORD.size, _chunk_bytes(store)])
    places = len(store) // size
    if places:
        source, target = chance.randrange(places) * size, chance.randrange(places) * size
        store[target : target + size] = store[source : source + size]


MUTATIONS = (_header, _records, _records, _records, _length, _copy, None)
