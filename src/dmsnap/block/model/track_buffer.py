"""The memory of a drive, in segments: what was read lately and what was read ahead."""

from __future__ import annotations

__all__ = ["TrackBuffer"]


class TrackBuffer:
    """Ranges of sectors whose content the drive has at hand; the segment not used for longest makes room.

    Args:
        segments: How many ranges at once.
        segment_sectors: How long one can be; of a longer one the end is kept.
    """

    def __init__(self, segments: int, segment_sectors: int) -> None:
        self.segment_sectors = segment_sectors
        self._segments = segments
        self._ranges: list[tuple[int, int]] = []  # first sector and the one after the last; latest use last

    def holds(self, first: int, end: int) -> bool:
        """Tells whether all of a range is here, and if so counts that as a use."""
        for at, (start, stop) in enumerate(self._ranges):
            if start <= first and end <= stop:
                self._ranges.append(self._ranges.pop(at))
                return True
        return False

    def add(self, first: int, end: int) -> None:
        """Takes in what was read: as part of the segment that it goes on from, or as a segment of its own."""
        for at, (start, stop) in enumerate(self._ranges):
            if start <= first <= stop:
                del self._ranges[at]
                first, end = start, max(end, stop)
                break
        self._ranges.append((max(first, end - self.segment_sectors), end))
        if len(self._ranges) > self._segments:
            del self._ranges[0]

    def forget(self, first: int, end: int) -> None:
        """Drops every segment that has a part of a range, which is being written."""
        self._ranges = [held for held in self._ranges if held[1] <= first or end <= held[0]]
