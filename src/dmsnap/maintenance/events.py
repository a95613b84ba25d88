"""A store as a stream of events, which is read, checked, mended, dumped, restored, compacted and compared.

A stream is an iterator: one `Begin`, then `Exceptions` in the order of the metadata, each followed by the `Data` of
its chunks where data was asked for, and one `End`. Nothing holds more than one batch, so that a store of any size goes
through. A stream that ends without `End` was cut off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from dmsnap.errors import DmsnapError
from dmsnap.store.format import SECTOR_BYTES, Header

__all__ = ["BATCH_RECORDS", "Begin", "Data", "End", "Event", "Events", "Exceptions", "IncompleteStream"]

BATCH_RECORDS = 1 << 16
"""Of one `Exceptions`, at most."""


class IncompleteStream(DmsnapError):
    """A stream stopped before its end, or does not hold what its end says."""


class Begin(NamedTuple):
    """The header of a store.

    Attributes:
        header: As it lies on disk, or as it is to be.
        cow_size_bytes: Size of the COW device.
    """

    header: Header
    cow_size_bytes: int

    @property
    def chunk_bytes(self) -> int:
        """Size of a chunk in bytes."""
        return self.header.chunk_size_sectors * SECTOR_BYTES


class Exceptions(NamedTuple):
    """Records, in the order of the metadata.

    Attributes:
        first: Number of the first one, counted from the beginning of the store.
        records: Shape (n, 2), 64 bits unsigned: origin chunk, COW chunk. Valid until the next event is asked for.
    """

    first: int
    records: npt.NDArray[np.uint64]


class Data(NamedTuple):
    """What consecutive chunks of the COW device hold.

    Attributes:
        cow_chunk: The first of them.
        data: Their content; of whole chunks, but for a last one that the COW device has only a part of. Valid until
            the next event is asked for.
    """

    cow_chunk: int
    data: memoryview


class End(NamedTuple):
    """Nothing follows.

    Attributes:
        exceptions: How many records there were.
    """

    exceptions: int


Event: TypeAlias = Begin | Exceptions | Data | End
Events: TypeAlias = Iterator[Event]
