"""What a crash leaves on all devices together: every combination of what each sector may hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.testing.crash.moments import Moment, Place
from dmsnap.testing.crash.volatile_disk import VolatileDisk

__all__ = ["Image", "choices", "count_images", "every_image"]


class Image(NamedTuple):
    """The devices after a crash.

    Attributes:
        base: What each device holds where nothing else is said.
        places: Where something else may be said.
        held: What is there, place by place.
    """

    base: Sequence[bytes]
    places: Sequence[Place]
    held: tuple[bytes, ...]

    def contents(self) -> list[bytearray]:
        """Returns the content of each device, as new memory."""
        disks = [bytearray(content) for content in self.base]
        for (disk, sector), content in zip(self.places, self.held, strict=True):
            at = sector * SECTOR_BYTES
            disks[disk][at : at + SECTOR_BYTES] = content
        return disks


def choices(disks: Sequence[VolatileDisk]) -> dict[Place, tuple[bytes, ...]]:
    """Returns all places with more than one content, and their contents, oldest first."""
    return {
        (number, sector): disk.contents(sector) for number, disk in enumerate(disks) for sector in sorted(disk.open)
    }


def count_images(moment: Moment) -> int:
    """Returns how many images `every_image` yields."""
    open_places = choices(moment.disks)
    every = math.prod(len(contents) for contents in open_places.values())
    if moment.anew:
        return every
    old = (len(contents) - (place in moment.fresh) for place, contents in open_places.items())
    return every - math.prod(old)


def every_image(moment: Moment) -> Iterator[Image]:
    """Yields every image that is new at a moment, each once: all of them, or those with something fresh in them."""
    open_places = choices(moment.disks)
    base = [bytes(disk.settled) for disk in moment.disks]
    if moment.anew:
        yield from _product(base, open_places)
        return
    old = {place: tuple(held for held in open_places[place] if held != new) for place, new in moment.fresh.items()}
    # Each image is made at the first of its places that holds something fresh; those before hold something old.
    limited = dict(open_places)
    for place, new in moment.fresh.items():
        limited[place] = (new,)
        yield from _product(base, limited)
        limited[place] = old[place]


def _product(base: Sequence[bytes], open_places: Mapping[Place, tuple[bytes, ...]]) -> Iterator[Image]:
    places = tuple(open_places)
    for held in product(*open_places.values()):
        yield Image(base, places, held)
