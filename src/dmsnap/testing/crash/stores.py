"""Loading the stores of many images: those whose metadata is the same, byte for byte, are loaded once."""

from __future__ import annotations

from dataclasses import replace

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.store import Store, open_store
from dmsnap.store.format import HEADER_BYTES, MAGIC, area_chunk, exceptions_per_area, unpack_header
from dmsnap.testing.crash.image_device import ImageDevice

__all__ = ["StoreLoader", "metadata_of"]

_MOST_KEPT = 4096


class StoreLoader:
    """Opens stores; most images of one crash differ in data only."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, int, int], Store] = {}

    def load(self, cow: bytearray, origin_size_bytes: int) -> Store:
        """Returns the store in a COW device of a content. Errors as `dmsnap.store.open_store`."""
        device = ImageDevice(cow, "COW device")
        key = (metadata_of(cow), len(cow), origin_size_bytes)
        known = self._known.get(key)
        if known is not None:
            return replace(known, device=device)
        store = open_store(device, origin_size_bytes=origin_size_bytes)
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known[key] = store
        return store


def metadata_of(cow: bytearray) -> bytes:
    """Returns everything that loading can look at: the header's chunk and every chunk where an area may be."""
    header = unpack_header(cow[:HEADER_BYTES])
    chunk = header.chunk_size_sectors * SECTOR_BYTES
    if header.magic != MAGIC or not 0 < chunk < len(cow):
        return bytes(cow)
    stride = exceptions_per_area(header.chunk_size_sectors) + 1
    areas = range(area_chunk(0, stride - 1) * chunk, len(cow), stride * chunk)
    return b"".join((cow[:chunk], *(cow[at : at + chunk] for at in areas)))
