"""A block device in memory: pages in a dictionary, so that an untouched device of any size costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from dmsnap.block.contract import SECTOR_BYTES, BadRequest, BlockDevice, Extent, ExtentKind
from dmsnap.block.extents import joined

__all__ = ["MemoryDevice"]

PAGE_BYTES = 4096


class MemoryDevice(BlockDevice):
    """Bytes in memory, sparse by pages of 4 KiB: what was never written is a hole and reads as zeros.

    Safe for many threads without a lock: each page is copied by one step of the interpreter, and a page comes into
    being or goes by one dictionary operation. Nothing is durable, so `flush` has nothing to do.

    Args:
        size_or_bytes: The size in bytes, or the content. Pages of the content that are all zeros become holes.
        logical_block_size_bytes: A power of two; the size must be a multiple of it.
        read_only: Refuse writes.
        name: For messages.

    Raises:
        BadRequest: The size or the logical block size is not as described.
    """

    def __init__(
        self,
        size_or_bytes: int | bytes | bytearray | memoryview,
        *,
        logical_block_size_bytes: int = SECTOR_BYTES,
        read_only: bool = False,
        name: str = "memory",
    ) -> None:
        content = memoryview(b"") if isinstance(size_or_bytes, int) else memoryview(size_or_bytes).cast("B")
        block, size = logical_block_size_bytes, size_or_bytes if isinstance(size_or_bytes, int) else content.nbytes
        if block < 1 or block & (block - 1):
            raise BadRequest(f"{name}: logical block size {block} is not a power of two", device=name)
        self.name = name
        self.logical_block_size_bytes = block
        self.read_only = read_only
        self._size_bytes = 0
        self._page_bytes = max(PAGE_BYTES, block)
        self._pages: dict[int, bytearray] = {}
        self.grow(size)
        self._fill(content)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def grow(self, size_bytes: int) -> None:
        """Makes the device ``size_bytes`` long; what is new is a hole.

        Raises:
            BadRequest: Smaller than now, or not in multiples of the logical block size.
        """
        if size_bytes < self._size_bytes or size_bytes % self.logical_block_size_bytes:
            raise BadRequest(
                f"{self.name}: cannot be {size_bytes} bytes long",
                hint=f"use at least {self._size_bytes}, in multiples of {self.logical_block_size_bytes}",
                device=self.name,
            )
        self._size_bytes = size_bytes

    def _fill(self, content: memoryview) -> None:
        nothing = bytes(self._page_bytes)
        for page, offset in enumerate(range(0, len(content), self._page_bytes)):
            data = content[offset : offset + self._page_bytes]
            if data != nothing[: len(data)]:
                self._pages[page] = bytearray(nothing)
                self._pages[page][: len(data)] = data

    def _spans(self, offset: int, length: int) -> Iterator[tuple[int, int, int, int]]:
        """Yields the pages of a range: page, first byte in it, byte after the last, where that is in the range."""
        end, position = offset + length, offset
        while position < end:
            page, first = divmod(position, self._page_bytes)
            last = min(self._page_bytes, first + end - position)
            yield page, first, last, position - offset
            position += last - first

    def _read_into(self, offset: int, view: memoryview) -> None:
        pages = self._pages
        for page, first, last, at in self._spans(offset, len(view)):
            data = pages.get(page)
            view[at : at + last - first] = bytes(last - first) if data is None else memoryview(data)[first:last]

    def _write_at(self, offset: int, view: memoryview) -> None:
        pages, empty = self._pages, bytes(self._page_bytes)
        for page, first, last, at in self._spans(offset, len(view)):
            data = pages.get(page)
            if data is None:
                data = pages.setdefault(page, bytearray(empty))
            data[first:last] = view[at : at + last - first]

    def _zero(self, offset: int, length: int) -> None:
        whole = range(-(-offset // self._page_bytes), (offset + length) // self._page_bytes)
        few = len(whole) <= len(self._pages)
        for page in whole if few else [page for page in list(self._pages) if page in whole]:
            self._pages.pop(page, None)
        edges = [(offset, min(length, whole.start * self._page_bytes - offset))]
        if whole.stop >= whole.start:
            edges.append((whole.stop * self._page_bytes, offset + length - whole.stop * self._page_bytes))
        for edge, count in edges:
            page, first = divmod(edge, self._page_bytes)
            data = self._pages.get(page)
            if data is not None:
                data[first : first + count] = bytes(count)

    _discard = _zero

    def _flush(self) -> None:
        return

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        return joined(self._pieces(offset, offset + length))

    def _pieces(self, offset: int, end: int) -> Iterator[Extent]:
        inside = range(offset // self._page_bytes, -(-end // self._page_bytes))
        held = sorted(page for page in list(self._pages) if page in inside)
        edges = [
            offset,
            *(edge for page in held for edge in (page * self._page_bytes, (page + 1) * self._page_bytes)),
            end,
        ]
        for number, (first, last) in enumerate(pairwise(edges)):
            first, last = max(first, offset), min(last, end)
            yield Extent(first, max(0, last - first), ExtentKind.DATA if number % 2 else ExtentKind.HOLE)
