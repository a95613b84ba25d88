"""A range of a device below that fails for a while."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Obstacle"]


class Obstacle(NamedTuple):
    """A device below that is to fail within a range.

    Attributes:
        device: ``r`` or ``k1`` …
        below: The base device that it is a linear map of.
        size: Its size in sectors.
        sector: The first that fails.
        sectors: How many fail.
    """

    device: str
    below: str
    size: int
    sector: int
    sectors: int

    def table(self, *, failing: bool) -> str:
        """Returns the device's table with the range failing, or without."""
        if not failing:
            return f"0 {self.size} linear {self.below} 0"
        behind = self.sector + self.sectors
        lines = [
            (0, self.sector, f"linear {self.below} 0"),
            (self.sector, self.sectors, "error"),
            (behind, self.size - behind, f"linear {self.below} {behind}"),
        ]
        return "\n".join(f"{start} {length} {words}" for start, length, words in lines if length)
