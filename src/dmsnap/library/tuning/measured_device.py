"""What is to be measured: a device, with the store on it or the one that could be."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dmsnap.block.contract import BlockDevice
from dmsnap.block.direct import CacheBypass, DirectDevice
from dmsnap.block.file import FileDevice
from dmsnap.block.open import open_device
from dmsnap.errors import DmsnapError
from dmsnap.library.source import Source, path_of
from dmsnap.library.tuning.in_memory import lies_in_memory
from dmsnap.store import NotAStore
from dmsnap.store.format import SECTOR_BYTES, areas_on, check_chunk_size, exceptions_per_area
from dmsnap.store.persistent import read_header

__all__ = ["BadMeasure", "MeasuredDevice", "NothingToLoad", "TooSmallToMeasure", "open_measured"]

DEFAULT_CHUNK_BYTES = 4096
"""What LVM2 gives a snapshot unless told otherwise."""


class BadMeasure(DmsnapError, ValueError):
    """Something that cannot be measured: no areas, no time."""


class NothingToLoad(DmsnapError):
    """A store of which no kernel reads areas."""


class TooSmallToMeasure(DmsnapError):
    """A device without room for one metadata area."""


@dataclass(frozen=True, slots=True)
class MeasuredDevice:
    """A device and the geometry of a store on it.

    Attributes:
        device: Only read.
        chunk_size_sectors: Of the store, or the one asked for.
        store: Whose areas are meant: ``own``, those of the valid store there; ``asked``, as asked for; ``none`` or
            ``invalid``, as if a store filled the device, which has none, or one that is invalid.
        areas: Metadata areas that are to be loaded: asked for, or as many as the device has room for.
        areas_on_device: As many as it has room for.
    """

    device: BlockDevice
    chunk_size_sectors: int
    store: str
    areas: int
    areas_on_device: int

    @property
    def chunk_size_bytes(self) -> int:
        """The chunk size, which is the size of an area too, in bytes."""
        return self.chunk_size_sectors * SECTOR_BYTES

    @property
    def valid_store(self) -> bool:
        """Whether the device's own areas are to be loaded: those of a valid store."""
        return self.store == "own"

    @property
    def page_cache(self) -> str:
        """How reads are kept from being answered by the page cache.

        A `CacheBypass`, or ``memory`` for a file that is nowhere but in memory, or ``none`` for other devices.
        """
        path = path_of(self.device)
        if path is not None and lies_in_memory(path):
            return "memory"
        return (self.device.bypass if isinstance(self.device, DirectDevice) else CacheBypass.NONE).value


def open_measured(
    source: Source,
    stack: ExitStack,
    *,
    areas: int | None = None,
    chunk_size_bytes: int | None = None,
    need_store: bool = False,
) -> MeasuredDevice:
    """Opens what is to be measured, read-only and past the page cache; ``stack`` closes it.

    Args:
        source: A path, or a device, which is read as it is.
        stack: Takes over what is opened here.
        areas: Of a store to think of; None for the store's own, or as many as there is room for.
        chunk_size_bytes: Likewise. With one given, what the device holds is not looked at.
        need_store: Whether nothing but a valid store will do.

    Raises:
        BadMeasure: No areas.
        TooSmallToMeasure: No room for one area.
        NotAStore: There is no store, and it has to be, or the device is too small for one too.
        NothingToLoad: The store has to be valid, and is not.
        BadChunkSize, UnsupportedVersion, TruncatedStore: The store's header is damaged.
        CannotOpen, IOFailed: As their names say.
    """
    if areas is not None and areas < 1:
        raise BadMeasure(f"{areas} areas cannot be measured", hint="give one at least")
    device = _open(source, stack)
    store = "none" if areas is None else "asked"
    found_none: NotAStore | None = None
    if chunk_size_bytes is not None:
        store = "asked"
        sectors = chunk_size_bytes // SECTOR_BYTES if chunk_size_bytes % SECTOR_BYTES == 0 else 0
        check_chunk_size(sectors, device.logical_block_size_bytes)
    else:
        sectors = max(DEFAULT_CHUNK_BYTES, device.logical_block_size_bytes) // SECTOR_BYTES
        try:
            header = read_header(device)
        except NotAStore as error:
            if need_store:
                raise
            found_none = error
        else:
            sectors = header.chunk_size_sectors
            if areas is None:
                store = "own" if header.valid else "invalid"
            if need_store and store != "own":
                raise NothingToLoad(
                    f"{device.name}: this snapshot is invalid: a kernel reads the header of its store and no areas",
                    hint="without --predict its device can be measured all the same",
                    device=device.name,
                )
    room = areas_on(device.size_bytes // (sectors * SECTOR_BYTES), exceptions_per_area(sectors))
    if not room and found_none is not None:
        raise found_none  # a file cut short, rather than a device for stores
    if not room and store != "own":  # of a store of its own, loading says what is missing
        raise TooSmallToMeasure(
            f"{device.name}: {device.size_bytes} bytes have no room for a metadata area of {sectors * SECTOR_BYTES}",
            hint="take smaller chunks, or a larger device",
            device=device.name,
        )
    return MeasuredDevice(device, sectors, store, areas or room, room)


def _open(source: Source, stack: ExitStack) -> BlockDevice:
    if isinstance(source, BlockDevice):
        return source
    device = open_device(source if isinstance(source, str) else Path(source))
    if type(device) is FileDevice:
        device.close()
        device = DirectDevice(source)
    return stack.enter_context(device)
