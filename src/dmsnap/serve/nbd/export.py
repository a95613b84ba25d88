"""What a server offers: a device under a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dmsnap.block.contract import BadRequest, BlockDevice
from dmsnap.block.nbd.wire import MOST_NAME_BYTES, ExportFlag

__all__ = ["Export", "by_name", "check_exports"]

LEAST_PREFERRED_BYTES, MOST_BLOCK_BYTES = 512, 1 << 16


@dataclass(frozen=True, slots=True)
class Export:
    """A device that clients reach under a name.

    Attributes:
        name: What clients ask for; the empty name is the default export.
        device: It stays the caller's to close, after the server has stopped.
        description: For people; clients may show it in a list.
        read_only: Refuse to write; so is a device that is read-only itself.
        preferred_block_bytes: What requests should be multiples of: the chunk size of a snapshot. A power of two.
        dirty_bitmap: Offer ``qemu:dirty-bitmap:NAME``, in which that is dirty which the device itself stores (depth 1
            of its extents) and not what lies behind it. None for a device without layers.
    """

    name: str
    device: BlockDevice
    description: str = ""
    read_only: bool = False
    preferred_block_bytes: int = 4096
    dirty_bitmap: str | None = None

    @property
    def writable(self) -> bool:
        """Whether clients may write."""
        return not (self.read_only or self.device.read_only)

    @property
    def least_block_bytes(self) -> int:
        """What offsets and lengths of requests must be multiples of."""
        return self.device.logical_block_size_bytes

    def flags(self, *, chunked: bool) -> ExportFlag:
        """What can be done with it; ``chunked``, where replies are structured or extended."""
        flags = ExportFlag.HAS_FLAGS | ExportFlag.SEND_FLUSH | ExportFlag.SEND_FUA
        flags |= ExportFlag.CAN_MULTI_CONN | ExportFlag.SEND_CACHE
        if chunked:
            flags |= ExportFlag.SEND_DF
        if not self.writable:
            return flags | ExportFlag.READ_ONLY
        return flags | ExportFlag.SEND_TRIM | ExportFlag.SEND_WRITE_ZEROES | ExportFlag.SEND_FAST_ZERO


def check_exports(exports: Iterable[Export]) -> None:
    """Refuses what the protocol cannot offer.

    Raises:
        BadRequest: No exports, two of one name, a text that is too long or holds NUL, or an odd block size.
    """
    names = set()
    for export in exports:
        if export.name in names:
            raise BadRequest(f"two exports are called {export.name!r}")
        names.add(export.name)
        for text in (export.name, export.description, f"qemu:dirty-bitmap:{export.dirty_bitmap}"):
            if len(text.encode("utf-8", "replace")) > MOST_NAME_BYTES or "\0" in text:
                raise BadRequest(f"export {export.name[:80]!r}: a text is over {MOST_NAME_BYTES} bytes or holds NUL")
        preferred = export.preferred_block_bytes
        if preferred < 1 or preferred & (preferred - 1) or export.least_block_bytes > MOST_BLOCK_BYTES:
            raise BadRequest(f"export {export.name!r}: a block size is no power of two, or too large")
    if not names:
        raise BadRequest("nothing to serve")


def by_name(exports: Iterable[Export], name: str) -> Export | None:
    """The export that a client means: the empty name is the first one, unless one has that name; None if unknown."""
    first = None
    for export in exports:
        if export.name == name:
            return export
        first = first or export
    return None if name else first
