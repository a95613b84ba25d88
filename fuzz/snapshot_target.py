"""Any store over a small origin: what can be had is right, what cannot is an error, and extents cover everything."""

from __future__ import annotations

import zlib

import engine

with engine.instrumented(include=["dmsnap"]):
    from dmsnap.block.memory import MemoryDevice
    from dmsnap.errors import DmsnapError
    from dmsnap.store import open_store
    from dmsnap.target import DamagedException, SnapshotDevice, SnapshotInvalid
    from dmsnap.transfer.changes import changed_ranges
from dmsnap.testing.store_model import model_store

LARGEST_ORIGIN_SECTORS = 120


def test_one(data: bytes) -> None:
    """Reads a snapshot sector by sector, then as a whole, then in some pieces at once."""
    data = data[: len(data) // 512 * 512]
    model = model_store(data)
    if model.refusal:
        return
    choice = zlib.crc32(data)
    # Sectors that tell their place, and a hole in the middle; the last chunk of the snapshot is often a part of one.
    sectors = choice % LARGEST_ORIGIN_SECTORS
    origin = b"".join(
        bytes(512) if sectors // 3 < number < sectors // 2 else number.to_bytes(4, "big") * 128
        for number in range(sectors)
    )
    wanted = [_sector(number, origin, data, model.copies, model.chunk_bytes) for number in range(sectors)]
    with MemoryDevice(data, read_only=True) as cow, MemoryDevice(origin, read_only=True) as below:
        snapshot = SnapshotDevice(below, open_store(cow, origin_size_bytes=len(origin)))
        if not model.valid:
            _expect_invalid(snapshot)
            return
        for number in range(choice % 4, sectors, 4):
            assert _read(snapshot, number, 1) == wanted[number]
        for first, count in [(0, sectors), (choice >> 9 & 63, choice >> 17 & 63)]:
            first = min(first, sectors)
            count = min(count, sectors - first)
            parts = wanted[first : first + count]
            assert _read(snapshot, first, count) == (None if None in parts else b"".join(part or b"" for part in parts))
        _check_extents(snapshot, wanted)
        _check_changes(snapshot, model.copies, model.chunk_bytes)


def _sector(number: int, origin: bytes, cow: bytes, copies: dict[int, int], chunk_bytes: int) -> bytes | None:
    chunk, into = divmod(number * 512, chunk_bytes)
    copy = copies.get(chunk)
    if copy is None:
        return origin[number * 512 : number * 512 + 512]
    content = cow[copy * chunk_bytes + into :][:512] if copy else b""
    return content or None  # lost, or past the end of a store that was cut short


def _read(snapshot: SnapshotDevice, first: int, count: int) -> bytes | None:
    """Some sectors, or None where they cannot be had; read now and started must agree."""
    started = memoryview(bytearray(count * 512))
    (completion,) = snapshot.start_reads([(first * 512, started)])
    try:
        content = bytes(snapshot.read_at(first * 512, count * 512))
    except DamagedException:
        try:
            completion.wait()
        except DamagedException:
            return None
        raise AssertionError("a started read went well") from None
    completion.wait()
    assert started == content
    return content


def _expect_invalid(snapshot: SnapshotDevice) -> None:
    if not snapshot.size_bytes:
        return
    try:
        snapshot.read_at(0, 512)
    except SnapshotInvalid:
        return
    raise AssertionError("an invalid snapshot was read")


def _check_extents(snapshot: SnapshotDevice, wanted: list[bytes | None]) -> None:
    position = 0
    last: tuple[object, int] = (None, 0)
    for extent in snapshot.extents(0, snapshot.size_bytes):
        assert extent.offset == position
        assert extent.length > 0
        assert (extent.kind, extent.depth) != last
        position, last = extent.offset + extent.length, (extent.kind, extent.depth)
        if extent.kind.value == "hole":
            assert not any(b"".join(part or b"lost" for part in wanted[extent.offset // 512 : position // 512]))
    assert position == snapshot.size_bytes


def _check_changes(snapshot: SnapshotDevice, copies: dict[int, int], chunk_bytes: int) -> None:
    size = snapshot.size_bytes
    changed = {number for number in range(size // 512) if number * 512 // chunk_bytes in copies}
    end = -1
    found: set[int] = set()
    for offset, length, _ in changed_ranges(snapshot.store, size):
        assert offset > end
        end = offset + length
        found.update(range(offset // 512, end // 512))
    assert found == changed


if __name__ == "__main__":
    assert issubclass(DamagedException, DmsnapError)
    engine.fuzz(test_one, of_stores=True)
