"""Judges what threads read of a device that threads write to: every sector written tells who wrote it, and when.

A read must find in each sector a whole write: one that had begun before the read ended, and that no other write had
replaced altogether before the read began (a regular register, a sector at a time).
"""

from __future__ import annotations

import struct
import threading

from dmsnap.block import BlockDevice

__all__ = ["StampedSectors"]

SECTOR_BYTES = 512
_STAMP = struct.Struct("<QQ")
_FOREVER = 1 << 62


class StampedSectors:
    """What may be read of a device.

    Args:
        device: Where to read and write; it holds what `initial` returns.
        sectors: Its size.
    """

    def __init__(self, device: BlockDevice, sectors: int) -> None:
        self.device = device
        self._lock = threading.Lock()
        self._clock = 0
        self._writes: list[dict[int, int]] = [{0: 0} for _ in range(sectors)]  # of each sector: begun, ended

    @staticmethod
    def initial(sectors: int) -> bytes:
        """Returns the content of a device that nobody has written to."""
        return b"".join(_stamped(sector, 0) for sector in range(sectors))

    def write(self, sector: int, sectors: int, *, fua: bool = False) -> None:
        """Writes to a range. A write that fails may be there or not, as one that never ends."""
        with self._lock:
            self._clock += 1
            stamp = self._clock
            for each in range(sector, sector + sectors):
                self._writes[each][stamp] = _FOREVER
        data = b"".join(_stamped(each, stamp) for each in range(sector, sector + sectors))
        self.device.write_at(sector * SECTOR_BYTES, data, fua=fua)
        with self._lock:
            self._clock += 1
            for each in range(sector, sector + sectors):
                self._writes[each][stamp] = self._clock

    def read(self, sector: int, sectors: int, device: BlockDevice | None = None) -> None:
        """Reads a range and judges it.

        Args:
            sector: The first.
            sectors: Their number.
            device: Where to read instead, as after a reload.

        Raises:
            AssertionError: Something was read that cannot be.
        """
        with self._lock:
            self._clock += 1
            begun = self._clock
        data = (device or self.device).read_at(sector * SECTOR_BYTES, sectors * SECTOR_BYTES)
        with self._lock:
            for each in range(sector, sector + sectors):
                at = (each - sector) * SECTOR_BYTES
                self._judge(each, bytes(data[at : at + SECTOR_BYTES]), begun)

    def _judge(self, sector: int, held: bytes, begun: int) -> None:
        where, stamp = _STAMP.unpack_from(held)
        assert held == _stamped(where, stamp), f"sector {sector} is torn: {held[:64].hex()}"
        assert where == sector, f"sector {sector} holds what was written to {where}"
        writes = self._writes[sector]
        assert stamp in writes, f"sector {sector} holds {stamp}, which nobody wrote there"
        ended = writes[stamp]
        newer = [other for other, end in writes.items() if other > ended and end < begun]
        assert not newer, f"sector {sector} holds {stamp}, long replaced by {newer}"


def _stamped(sector: int, stamp: int) -> bytes:
    return _STAMP.pack(sector, stamp) * (SECTOR_BYTES // _STAMP.size)
