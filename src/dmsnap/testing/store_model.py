"""What a store of given bytes means, the slow and plain way: the judge of the loader in property tests and fuzzing.

Pure Python on bytes, record by record, and nothing of dmsnap's own store code, so that a mistake has to be made twice
to go unseen. The rules are those of Linux dm-snapshot; the layout is drawn in `dmsnap.store.format`.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from dmsnap.testing.linux_runs import linux_finds

if TYPE_CHECKING:
    from dmsnap.store.finding import Finding

__all__ = ["StoreModel", "counted", "model_store"]

SECTOR_BYTES = 512
RECORD = struct.Struct("<QQ")
LARGEST_CHUNK_SECTORS = 1 << 21
LARGEST_DEVICE_BYTES = 1 << 63


class StoreModel(NamedTuple):
    """The meaning of a store's bytes.

    Attributes:
        refusal: Name of the error that opening raises, or empty; then nothing below but ``chunk_bytes`` counts.
        valid: Whether the header says so.
        chunk_bytes: From the header; 0 where it cannot be known.
        copies: Origin chunk to COW chunk, as Linux finds it; 0 where the record points at no data.
        areas: In use, the one with the end marker included.
        committed: Records in the last of them.
        next_free: The chunk that the next exception would get.
        findings: How many records are odd, by the names of `dmsnap.store.Kind`.
        status: The kernel's status words.
    """

    refusal: str = ""
    valid: bool = False
    chunk_bytes: int = 0
    copies: dict[int, int] = {}  # noqa: RUF012 - never changed: a named tuple's default
    areas: int = 1
    committed: int = 0
    next_free: int = 2
    findings: dict[str, int] = {}  # noqa: RUF012
    status: str = "Invalid"


def counted(findings: Iterable[Finding]) -> dict[str, int]:
    """Returns how many records findings are about, by kind: to be held against those of a `StoreModel`."""
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.kind.value] += finding.count
    return dict(counts)


def model_store(data: bytes, *, origin_size_bytes: int | None = None) -> StoreModel:
    """Reads a store as the kernel does.

    Args:
        data: The whole COW device; a last part of less than a sector does not count, as with a loop device.
        origin_size_bytes: Where it is known, records beyond it are findings.
    """
    size = len(data) // SECTOR_BYTES * SECTOR_BYTES
    if size < SECTOR_BYTES:
        return StoreModel("NotAStore")
    magic, valid, version, sectors = struct.unpack_from("<4I", data)
    if magic == 0:
        return StoreModel("EmptyStore")
    if data[:4] != b"SnAp":
        return StoreModel("NotAStore")
    if sectors.bit_count() != 1 or sectors > LARGEST_CHUNK_SECTORS:
        return StoreModel("BadChunkSize")
    chunk = sectors * SECTOR_BYTES
    if version != 1:
        return StoreModel("UnsupportedVersion", chunk_bytes=chunk)
    if size < chunk:
        return StoreModel("TruncatedStore", chunk_bytes=chunk)
    if not valid:
        return StoreModel(chunk_bytes=chunk)
    return _model_areas(data, size, chunk, origin_size_bytes)


def _model_areas(data: bytes, size: int, chunk: int, origin_size_bytes: int | None) -> StoreModel:
    chunks, begun, stride = size // chunk, -(-size // chunk), chunk // RECORD.size + 1
    possible = LARGEST_DEVICE_BYTES // chunk
    origin_chunks = possible if origin_size_bytes is None else -(-origin_size_bytes // chunk)
    records: list[tuple[int, int]] = []
    findings: Counter[str] = Counter()
    next_free, area, index = 2, 0, 0
    while True:
        if 1 + area * stride >= chunks:
            return StoreModel("TruncatedStore", chunk_bytes=chunk)
        old, new = RECORD.unpack_from(data, (1 + area * stride) * chunk + index * RECORD.size)
        if not new:
            break
        next_free = max(next_free, (new + 1) % 2**64)
        findings["top-bits"] += new >= 1 << 56
        findings["outside-cow"] += chunks <= new < 1 << 56
        findings["into-metadata"] += new < chunks and new % stride == 1
        findings["outside-origin"] += old >= origin_chunks
        if old < possible:
            records.append((old, 0 if new >= begun or new % stride == 1 else new))
        index += 1
        if index == stride - 1:
            area, index = area + 1, 0
    if next_free % stride == 1:
        next_free += 1
    copies = linux_finds(records)
    findings["duplicate"] = len(records) - len(copies)
    sectors = chunk // SECTOR_BYTES
    return StoreModel(
        valid=True,
        chunk_bytes=chunk,
        copies=copies,
        areas=area + 1,
        committed=index,
        next_free=next_free,
        findings={kind: count for kind, count in findings.items() if count},
        status=f"{next_free * sectors % 2**64}/{size // SECTOR_BYTES} {(area + 2) * sectors}",
    )
