"""Where on a device to measure: places that lie as the metadata areas of a store do, and were not read before."""

from __future__ import annotations

import random
from itertools import pairwise

from dmsnap.block.contract import BlockDevice, ExtentKind
from dmsnap.store.format import SECTOR_BYTES, area_chunk, exceptions_per_area

__all__ = ["Places"]

MOST_SHIFTS = 16
MOST_ZONES = 16


class Places:
    """Hands out chunks one stride apart, as areas are, each only once as long as there are others.

    The drive's own cache, which nobody can bypass, would make a second read of a place look faster than a load is. So
    once the areas themselves are used up, the chunks between them serve, shifted by parts of the stride: the head of a
    disk moves as far from one to the next. Holes of a sparse file are passed over, since they take no time.

    Args:
        device: What is measured.
        chunk_size_sectors: Of the store on it, or of one that could be.
        areas: How many areas there are; the device may end before the last.
        used: The areas at the front that were read already.
        longest: The most places that will be wanted at once. With room for it, they come from all over the device.
        until: When to stop looking, by the device's clock.
        seed: Of the order.

    Attributes:
        reread: How many of the places handed out had been before.
    """

    def __init__(
        self,
        device: BlockDevice,
        chunk_size_sectors: int,
        areas: int,
        *,
        used: int = 0,
        longest: int,
        until: float = float("inf"),
        seed: int = 0,
    ) -> None:
        self.reread = 0
        self._device = device
        self._chunk_bytes = chunk_size_sectors * SECTOR_BYTES
        self._per_area = exceptions_per_area(chunk_size_sectors)
        self._areas, self._used = areas, used
        self._longest = longest
        self._until = until
        self._random = random.Random(seed)  # noqa: S311 - an order, not a secret
        self._shifts = _shifts(self._per_area + 1)
        self._lap = -1
        self._zones: list[list[int]] = []  # next area and the one behind the last, of each part that has some left
        self._room = 0
        self._found = 0  # in this lap
        self._known: tuple[int, int] = (0, 0)  # bytes that hold data, as the device said last

    def take(self, count: int) -> list[int]:
        """Returns ``count`` chunk numbers, ascending one stride at a time while a part of the device has them.

        Fewer where the device has no more that are not holes; none where it has nothing but holes.
        """
        taken: list[int] = []
        laps = 0
        while len(taken) < count and self._device.clock() < self._until:
            wanted = min(count - len(taken), self._room)
            zones = [zone for zone in self._zones if zone[1] - zone[0] >= wanted]
            if zones and wanted:
                zone = self._random.choice(zones)
                self._take_from(zone, count - len(taken), taken)
            elif laps <= len(self._shifts):
                self._begin_lap()
                laps += 1
            else:
                break
        return taken

    def _begin_lap(self) -> None:
        """Goes on to the next shift of the areas; after the last, to the first again."""
        if self._lap > 0 and not self._found:  # only the areas are data: no use in looking for more between them
            del self._shifts[max(1, self._lap % len(self._shifts)) :]
        self._lap += 1
        self._found = 0
        shift = self._shifts[self._lap % len(self._shifts)]
        last_chunk = self._device.size_bytes // self._chunk_bytes - 1
        first = 0 if self._lap else self._used
        count = max(0, min(self._areas, (last_chunk - 1 - shift) // (self._per_area + 1) + 1) - first)
        zones = max(1, min(MOST_ZONES, count // (2 * self._longest)))
        edges = [first + count * number // zones for number in range(zones + 1)]
        self._zones = [[begin, end] for begin, end in pairwise(edges) if begin < end]
        self._room = min((end - begin for begin, end in self._zones), default=0)

    def _take_from(self, zone: list[int], count: int, taken: list[int]) -> None:
        """Moves up to ``count`` places from a zone to ``taken``."""
        shift = self._shifts[self._lap % len(self._shifts)]
        goal = len(taken) + count
        while zone[0] < zone[1] and len(taken) < goal and self._device.clock() < self._until:
            chunk = area_chunk(zone[0], self._per_area) + shift
            data = self._data_from(chunk * self._chunk_bytes)
            if data == chunk * self._chunk_bytes:
                taken.append(chunk)
                self._found += 1
                zone[0] += 1
                self.reread += self._lap >= len(self._shifts)
            else:  # on to the first place at or behind the data
                stride_bytes = (self._per_area + 1) * self._chunk_bytes
                zone[0] += -(-(data - chunk * self._chunk_bytes) // stride_bytes)
        zone[0] = min(zone[0], zone[1])

    def _data_from(self, offset: int) -> int:
        """Returns where data begins at or after a byte; the device's end where there is none."""
        if self._known[0] <= offset < self._known[1]:
            return offset
        end = self._device.size_bytes & -self._device.logical_block_size_bytes
        extent = next(self._device.extents(offset, end - offset))
        if extent.kind is ExtentKind.HOLE:
            return offset + extent.length
        self._known = (offset, offset + extent.length)
        return offset


def _shifts(stride: int) -> list[int]:
    """By how many chunks the areas are shifted, lap after lap: 0, then 1/2, 1/4, 3/4, 1/8 … of the stride."""
    bits = MOST_SHIFTS.bit_length() - 1
    turned = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(MOST_SHIFTS))
    return list(dict.fromkeys(number * stride // MOST_SHIFTS for number in turned))
