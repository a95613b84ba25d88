"""The simplest snapshot writer that is safe, and the mistakes that make it unsafe: for the checker to find."""

from __future__ import annotations

import struct

from dmsnap.block import BlockDevice
from dmsnap.testing.crash import Client

SECTOR = 512
HEADER = struct.Struct("<4s3I")

MISTAKES = {
    "a record before its data": "holds",
    "the origin before its copy": "holds",
    "a full area before its successor": "past the end|point|holds|share|copy",
    "a store before its first area": "past the end|point|holds|share|copy",
    "records cleared before the origin is flushed": "holds",
    "a flush that flushes nothing": "holds",
    "overwritten before it is invalid": "holds",
    "a merge over another snapshot": "holds",
    "no copy for part of a chunk": "holds",
    "data where an area belongs": "metadata area",
    "invalid unasked": "for no reason",
}
"""What can be done wrong, and a pattern of what is said about it."""


class ToySnapshot:
    """Writes a store of its own accord: one record at a time, everything flushed as soon as it matters."""

    def __init__(
        self, origin: BlockDevice, cow: BlockDevice, client: Client, name: str, chunk_sectors: int, mistake: str | None
    ) -> None:
        self.origin, self.cow, self.client, self.name, self.mistake = origin, cow, client, name, mistake
        self.chunk_bytes = chunk_sectors * SECTOR
        self.per_area = chunk_sectors * 32
        self.chunks: dict[int, int] = {}
        self.records: list[tuple[int, int]] = []
        self.pending: list[tuple[int, int]] = []
        self.valid = True

    def create(self, cow_disk: int) -> None:
        self.client.takes(self.name, cow_disk)
        if self.mistake == "a store before its first area":
            self._header(valid=1)
        self.cow.zero(self.chunk_bytes, self.chunk_bytes)
        self.cow.flush()
        self._header(valid=1)
        self.cow.flush()
        self.client.took(self.name)
        if self.mistake == "invalid unasked":
            self._header(valid=0)

    def write(self, offset: int, data: bytes) -> None:
        """Writes part of a chunk, or all of it."""
        self.client.writes(self.name, offset, data)
        chunk, within = divmod(offset, self.chunk_bytes)
        if chunk not in self.chunks:
            copied = self.mistake != "no copy for part of a chunk"
            old = self.origin.read_at(chunk * self.chunk_bytes, self.chunk_bytes) if copied else b""
            self._add(chunk, bytes(old))
        self.cow.write_at(self.chunks[chunk] * self.chunk_bytes + within, data)
        self.client.wrote(self.name, offset, data)

    def flush(self) -> None:
        begun = self.client.flushes()
        if self.mistake != "a flush that flushes nothing":
            self.commit()
        self.client.flushed(self.name, begun)

    def keep(self, chunk: int) -> None:
        """Makes sure that the origin's chunk may be overwritten."""
        if not self.valid or chunk in self.chunks:
            return
        self._add(chunk, bytes(self.origin.read_at(chunk * self.chunk_bytes, self.chunk_bytes)))

    def commit(self) -> None:
        if self.mistake != "a record before its data":
            self.cow.flush()
        for record in self.pending:
            self.records.append(record)
            area, count = divmod(len(self.records), self.per_area)
            if not count:
                hasty = self.mistake == "a full area before its successor"
                for each in (area - 1, area) if hasty else (area, area - 1):
                    self._area(each)
                    self.cow.flush()
        if self.pending and len(self.records) % self.per_area:
            self._area(len(self.records) // self.per_area)
        self.pending.clear()
        self.cow.flush()

    def invalidate(self) -> None:
        self.client.may_lose(self.name)
        self.valid = False
        self._header(valid=0)
        if self.mistake != "overwritten before it is invalid":
            self.cow.flush()

    def merge_last(self, others: list[ToySnapshot]) -> None:
        chunk, copy = self.records.pop()
        if self.mistake != "a merge over another snapshot":
            for other in others:
                other.keep(chunk)
                other.commit()
        data = self.cow.read_at(copy * self.chunk_bytes, self.chunk_bytes)
        self.origin.write_at(chunk * self.chunk_bytes, data)
        if self.mistake != "records cleared before the origin is flushed":
            self.origin.flush()
        self._area(len(self.records) // self.per_area)
        self.cow.flush()
        del self.chunks[chunk]

    def _add(self, chunk: int, data: bytes) -> None:
        known = len(self.chunks)
        into_area = self.mistake == "data where an area belongs"
        copy = self.chunks[chunk] = 2 + known + (0 if into_area else known // self.per_area)
        if data:
            self.cow.write_at(copy * self.chunk_bytes, data)
        self.pending.append((chunk, copy))

    def _area(self, area: int) -> None:
        records = self.records[area * self.per_area : (area + 1) * self.per_area]
        content = b"".join(struct.pack("<QQ", *record) for record in records)
        self.cow.write_at((1 + area * (self.per_area + 1)) * self.chunk_bytes, content.ljust(self.chunk_bytes, b"\0"))

    def _header(self, *, valid: int) -> None:
        header = HEADER.pack(b"SnAp", valid, 1, self.chunk_bytes // SECTOR)
        self.cow.write_at(0, header.ljust(self.chunk_bytes, b"\0"))


class ToyOrigin:
    """Copies out what is overwritten."""

    def __init__(self, origin: BlockDevice, snapshots: list[ToySnapshot], client: Client) -> None:
        self.origin, self.snapshots, self.client = origin, snapshots, client

    def write(self, offset: int, data: bytes) -> None:
        """Writes within one chunk."""
        self.client.writes("origin", offset, data)
        safe = [one for one in self.snapshots if one.mistake != "the origin before its copy"]
        for snapshot in self.snapshots:
            snapshot.keep(offset // snapshot.chunk_bytes)
        for snapshot in safe:
            if snapshot.valid:
                snapshot.commit()
        self.origin.write_at(offset, data)
        for snapshot in self.snapshots:
            if snapshot not in safe:
                snapshot.commit()
        self.client.wrote("origin", offset, data)

    def flush(self) -> None:
        begun = self.client.flushes()
        self.origin.flush()
        self.client.flushed("origin", begun)
