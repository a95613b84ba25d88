"""The striped target: chunks dealt out to several devices in turn (Linux dm-stripe)::

    chunk of the device        0   1   2   3   4   5   6 …
    stripe of three            0   1   2   0   1   2   0
    chunk of the stripe        0   0   0   1   1   1   2

A range of the device is one range on each stripe, so whatever carries no data (zero, discard, extents) asks each stripe
once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BadRequest, BlockDevice, Extent, ReadRequest
from dmsnap.block.extents import joined
from dmsnap.target.joint_completion import joint

__all__ = ["StripedDevice"]


class StripedDevice(BlockDevice):
    """Devices of equal size as one, in chunks. It owns them: closing it closes them.

    Args:
        stripes: At least one. To stripe over parts of devices, give slices.
        chunk_bytes: How much lies on a stripe before the next one has its turn; any number of whole logical blocks.
        name: For messages.

    Raises:
        BadRequest: The stripes differ in size, or are no whole chunks; or there is none.
    """

    def __init__(self, stripes: Sequence[BlockDevice], chunk_bytes: int, *, name: str = "striped") -> None:
        sizes = {stripe.size_bytes for stripe in stripes}
        if len(sizes) != 1 or chunk_bytes < 1 or min(sizes) % chunk_bytes:
            raise BadRequest(
                f"{name}: {len(stripes)} stripes of {', '.join(map(str, sorted(sizes)))} bytes do not make a device of"
                f" chunks of {chunk_bytes} bytes",
                hint="stripes are all of one size, in whole chunks",
                device=name,
            )
        self.name = name
        self.logical_block_size_bytes = max(stripe.logical_block_size_bytes for stripe in stripes)
        self.read_only = any(stripe.read_only for stripe in stripes)
        self._stripes = tuple(stripes)
        self._count = len(stripes)
        self._chunk = chunk_bytes
        self._size_bytes = min(sizes) * len(stripes)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def failed_flushes(self) -> int:
        return sum(stripe.failed_flushes for stripe in self._stripes)

    def _place(self, offset: int, most: int) -> tuple[int, int, int]:
        """Returns the stripe that has byte ``offset``, where, and how many of ``most`` bytes lie together there."""
        chunk, within = divmod(offset, self._chunk)
        row, stripe = divmod(chunk, self._count)
        return stripe, row * self._chunk + within, min(most, self._chunk - within)

    def _pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, int, int]]:
        """Yields a range in pieces of one chunk at most: stripe, where on it, and first and last byte of the range."""
        done = 0
        while done < length:
            stripe, at, count = self._place(offset + done, length - done)
            yield stripe, at, done, done + count
            done += count

    def _ranges(self, offset: int, length: int) -> Iterator[tuple[BlockDevice, int, int]]:
        """Yields the stripes that a range touches, with its first byte there and how many there are."""
        for number, stripe in enumerate(self._stripes):
            start, stop = self._before(number, offset), self._before(number, offset + length)
            if start < stop:
                yield stripe, start, stop - start

    def _before(self, stripe: int, position: int) -> int:
        """How many bytes of a stripe come before a byte of the device."""
        row, within = divmod(position, self._chunk * self._count)
        return row * self._chunk + min(max(within - stripe * self._chunk, 0), self._chunk)

    # -- requests -----------------------------------------------------------------------------------------------------

    def _read_into(self, offset: int, view: memoryview) -> None:
        stripe, at, count = self._place(offset, len(view))
        if count == len(view):
            self._stripes[stripe]._read_into(at, view)
        else:
            self._start_reads(((offset, view),))[0].wait()

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        batches: list[list[ReadRequest]] = [[] for _ in self._stripes]
        plans: list[list[tuple[int, int]]] = []  # of each request, its reads: stripe and place in the stripe's batch
        for offset, view in requests:
            stripe, at, count = self._place(offset, len(view))
            if count == len(view):
                plans.append([(stripe, len(batches[stripe]))])
                batches[stripe].append((at, view))
                continue
            plan = []
            for stripe, at, begin, end in self._pieces(offset, len(view)):
                plan.append((stripe, len(batches[stripe])))
                batches[stripe].append((at, view[begin:end]))
            plans.append(plan)
        started: list[list[Completion]] = []
        try:
            for device, batch in zip(self._stripes, batches, strict=True):
                started.append(device._start_reads(batch) if batch else [])
        except BaseException:  # none was started, the caller is to know: so none may go on
            for completion in (completion for row in started for completion in row):
                with contextlib.suppress(Exception):
                    completion.wait()
            raise
        return [
            started[plan[0][0]][plan[0][1]] if len(plan) == 1 else joint([started[s][n] for s, n in plan])
            for plan in plans
        ]

    def _write_at(self, offset: int, view: memoryview) -> None:
        for stripe, at, begin, end in self._pieces(offset, len(view)):
            self._stripes[stripe]._write_at(at, view[begin:end])

    def _write_durably(self, offset: int, view: memoryview) -> None:
        for stripe, at, begin, end in self._pieces(offset, len(view)):
            self._stripes[stripe]._write_durably(at, view[begin:end])

    def _zero(self, offset: int, length: int) -> None:
        for stripe, at, count in self._ranges(offset, length):
            stripe._zero(at, count)

    def _discard(self, offset: int, length: int) -> None:
        for stripe, at, count in self._ranges(offset, length):
            stripe._discard(at, count)

    def _flush(self) -> None:
        for stripe in self._stripes:
            stripe._flush()

    def _close(self) -> None:
        for stripe in self._stripes:
            stripe.close()

    # -- extents ------------------------------------------------------------------------------------------------------

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        return joined(self._mixed_extents(offset, offset + length))

    def _mixed_extents(self, position: int, end: int) -> Iterator[Extent]:
        """Yields extents: whole rows at once where the stripes hold the same, else chunk by chunk."""
        walks = [
            _Walk(stripe, self._before(number, position), self._before(number, end))
            for number, stripe in enumerate(self._stripes)
        ]
        row_bytes = self._chunk * self._count
        while position < end:
            rows = (end - position) // row_bytes
            if rows and position % row_bytes == 0:
                at = position // self._count
                held = [walk.at(at) for walk in walks]
                rows = min(rows, min(extent.offset + extent.length - at for extent in held) // self._chunk)
                if rows and len({(extent.kind, extent.depth) for extent in held}) == 1:
                    yield Extent(position, rows * row_bytes, held[0].kind, held[0].depth)
                    position += rows * row_bytes
                    continue
            stripe, at, count = self._place(position, end - position)
            extent = walks[stripe].at(at)
            count = min(count, extent.offset + extent.length - at)
            yield Extent(position, count, extent.kind, extent.depth)
            position += count


class _Walk:
    """A stripe's extents, asked for once and walked along."""

    def __init__(self, stripe: BlockDevice, start: int, stop: int) -> None:
        self._extents = stripe.extents(start, stop - start)
        self._extent: Extent | None = None

    def at(self, position: int) -> Extent:
        """Returns the extent that holds a byte; each call's is at or after the last call's."""
        while self._extent is None or self._extent.offset + self._extent.length <= position:
            self._extent = next(self._extents)
        return self._extent
