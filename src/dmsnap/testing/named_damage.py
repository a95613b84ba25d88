"""One damage for each kind of finding: a sound store, what happens to it, and what a check has to say then.

The sound store has chunks of 512 bytes, so that 32 records already fill an area: 70 exceptions, of every third chunk of
its origin, in three areas; and some room behind. Each chunk of data says which one it is.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

from dmsnap.block.contract import BlockDevice
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap.fault import FaultDevice, fail_range
from dmsnap.store.finding import Kind, Severity
from dmsnap.testing.store_builder import build_store, data_chunks, fill_chunk, in_allocation_order

__all__ = ["NAMED_DAMAGES", "ORIGIN_BYTES", "NamedDamage", "sound_store_with_room"]

CHUNK_BYTES = 512
PER_AREA = 32
STRIDE = PER_AREA + 1
EXCEPTIONS = 70
CHUNKS = 120
ORIGIN_BYTES = 256 * CHUNK_BYTES
"""Size of the origin that the stores are of."""

Damaging = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class NamedDamage:
    """What happens to a store, and what is to be found then.

    Attributes:
        kind: The finding.
        severity: The finding's.
        story: How it comes about, in a few words.
        damage: Makes the damaged store of the sound one.
        count: Records or chunks that the finding is about.
        place: Area and index of the first record it is about, where it is about records.
        origin_bytes: Size of the origin to check it with.
        unreadable: Bytes that cannot be read: where they begin, and how many.
    """

    kind: Kind
    severity: Severity
    story: str
    damage: Damaging
    count: int = 1
    place: tuple[int, int] | None = None
    origin_bytes: int = ORIGIN_BYTES
    unreadable: tuple[int, int] | None = None

    def content(self) -> bytes:
        """The damaged store."""
        return self.damage(sound_store_with_room())

    def device(self) -> BlockDevice:
        """The damaged store on a device, which cannot be written to."""
        device = MemoryDevice(self.content(), read_only=True)
        return device if self.unreadable is None else FaultDevice(device, fail_range(*self.unreadable, "read"))


def sound_store_with_room(size_chunks: int = CHUNKS, exceptions: int = EXCEPTIONS) -> bytes:
    """A store without any damage, with room for more exceptions."""
    out = io.BytesIO()
    records = in_allocation_order(range(0, 3 * exceptions, 3), 1)
    build_store(out, records, chunk_size_sectors=1, size_chunks=size_chunks, data=fill_chunk(1))
    return out.getvalue()


def _header(offset_bytes: int, number: int) -> Damaging:
    """Another number in the header."""
    return lambda store: store[:offset_bytes] + struct.pack("<I", number) + store[offset_bytes + 4 :]


def _record(number: int, origin: int | None = None, cow: int | None = None) -> Damaging:
    """Other numbers in a record."""

    def damage(store: bytes) -> bytes:
        at = _place(number)
        old, new = struct.unpack_from("<QQ", store, at)
        record = struct.pack("<QQ", old if origin is None else origin, new if cow is None else cow)
        return store[:at] + record + store[at + 16 :]

    return damage


def _place(number: int) -> int:
    area, index = divmod(number, PER_AREA)
    return (1 + area * STRIDE) * CHUNK_BYTES + 16 * index


def _chunks(count: int) -> Damaging:
    """Another size of the device."""
    return lambda store: store[: count * CHUNK_BYTES].ljust(count * CHUNK_BYTES, b"\0")


def _overflow(_store: bytes) -> bytes:
    return _header(4, 0)(sound_store_with_room(74))


def _leak(store: bytes) -> bytes:
    """Old kernels lost the chunks whose records were not yet written in a crash: here those of records 40 and 41."""
    cow = data_chunks(EXCEPTIONS + 2, 1).tolist()
    for number in range(40, EXCEPTIONS):
        store = _record(number, cow=cow[number + 2])(store)
    return store


def _swap(store: bytes) -> bytes:
    one, other = (slice(_place(number), _place(number) + 16) for number in (10, 11))
    return store[: one.start] + store[other] + store[one] + store[other.stop :]


def _no_end(store: bytes) -> bytes:
    """The rest of the last area is what lay there before: a text."""
    begin, end = _place(EXCEPTIONS), _place(3 * PER_AREA - 1) + 16
    return store[:begin] + (b"end marker lost, text instead of it; " * 20)[: end - begin] + store[end:]


_DAMAGE, _WARNING, _NOTE = Severity.DAMAGE, Severity.WARNING, Severity.NOTE

NAMED_DAMAGES: dict[str, NamedDamage] = {
    named.kind.value: named
    for named in (
        NamedDamage(Kind.MAGIC, _DAMAGE, "the first bytes were wiped", _header(0, 0)),
        NamedDamage(Kind.VERSION, _DAMAGE, "a bit of the version has flipped", _header(8, 3)),
        NamedDamage(Kind.CHUNK_SIZE, _DAMAGE, "the header says 4 KiB", _header(12, 8)),
        NamedDamage(Kind.INVALID_FULL, _DAMAGE, "the store overflowed in a kernel", _overflow),
        NamedDamage(Kind.INVALID_ERROR, _DAMAGE, "a kernel gave up after an error of the disk", _header(4, 0)),
        NamedDamage(Kind.TRUNCATED, _DAMAGE, "the end of a file was not copied", _chunks(70), 4, (2, 2)),
        NamedDamage(Kind.CHAIN_PAST_THE_END, _DAMAGE, "nor was the last area", _chunks(67)),
        NamedDamage(
            Kind.UNREADABLE, _DAMAGE, "bad sectors", _chunks(CHUNKS), unreadable=(34 * CHUNK_BYTES, CHUNK_BYTES)
        ),
        NamedDamage(Kind.OUTSIDE_COW, _DAMAGE, "a bit of a record has flipped", _record(40, cow=2**40), 1, (1, 8)),
        NamedDamage(
            Kind.OUTSIDE_ORIGIN,
            _WARNING,
            "the origin has shrunk, or is another one",
            _chunks(CHUNKS),
            36,
            (1, 2),
            origin_bytes=100 * CHUNK_BYTES,
        ),
        NamedDamage(Kind.INTO_METADATA, _DAMAGE, "a copy in an area", _record(40, cow=34), 1, (1, 8)),
        NamedDamage(Kind.TOP_BITS, _DAMAGE, "a length where none may be", _record(40, cow=44 | 5 << 56), 1, (1, 8)),
        NamedDamage(Kind.DUPLICATE, _DAMAGE, "a race in old kernels", _record(40, origin=9), 1, (1, 8)),
        NamedDamage(Kind.SHARED_COPY, _DAMAGE, "two records, one copy", _record(40, cow=5), 1, (1, 8)),
        NamedDamage(Kind.OUT_OF_ORDER, _NOTE, "an old kernel wrote it", _swap, 1, (0, 11)),
        NamedDamage(Kind.LEAKED, _WARNING, "a crash under an old kernel", _leak, 2),
        NamedDamage(Kind.NEXT_AREA, _WARNING, "a device of 4 strides and a chunk", _chunks(4 * STRIDE + 1)),
        NamedDamage(Kind.END_LOST, _DAMAGE, "an area that was never zeroed", _no_end, 26, (2, 6)),
        NamedDamage(Kind.EARLY_END, _DAMAGE, "a record was zeroed", _record(40, 0, 0), 23, (1, 9)),
        NamedDamage(Kind.FULL, _WARNING, "all chunks are in use", _chunks(74)),
    )
}
"""Every kind of finding, by its word: one damage that shows it."""
