"""Devices one after another as one: what device-mapper makes of a table of several linear lines."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BadRequest, BlockDevice, Extent, ReadRequest
from dmsnap.block.extents import joined
from dmsnap.target.joint_completion import joint

__all__ = ["ConcatenatedDevice"]


class ConcatenatedDevice(BlockDevice):
    """Devices laid end to end. It owns them: closing it closes them.

    Its parts' sizes are taken when it is made. If one of them cannot be written to, the whole cannot.

    Args:
        parts: At least one; empty ones are allowed. To take only a part of a device, give a slice.
        name: For messages.

    Raises:
        BadRequest: There is no part, or one is not in multiples of the largest logical block size among them.
    """

    def __init__(self, parts: Sequence[BlockDevice], *, name: str = "concatenated") -> None:
        block = max((part.logical_block_size_bytes for part in parts), default=0)
        sizes = [part.size_bytes for part in parts]
        if not parts or any(size % block for size in sizes):
            raise BadRequest(
                f"{name}: {len(parts)} parts do not make a device of logical blocks of {block} bytes",
                hint="give at least one part, each in multiples of the largest logical block size among them",
                device=name,
            )
        self.name = name
        self.logical_block_size_bytes = block
        self.read_only = any(part.read_only for part in parts)
        self._parts = tuple(parts)
        self._ends = tuple(accumulate(sizes))

    @property
    def size_bytes(self) -> int:
        return self._ends[-1]

    @property
    def failed_flushes(self) -> int:
        return sum(part.failed_flushes for part in self._parts)

    @property
    def zeroes_quickly(self) -> bool:
        return all(part.zeroes_quickly for part in self._parts)

    def clock(self) -> float:
        return self._parts[0].clock()

    def _place(self, offset: int, most: int) -> tuple[int, int, int]:
        """Returns the number of the part with byte ``offset``, where in it, and how many of ``most`` bytes it has."""
        number = bisect_right(self._ends, offset)
        start = self._ends[number - 1] if number else 0
        return number, offset - start, min(most, self._ends[number] - offset)

    def _pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, int, int]]:
        """Yields a range part by part: number of the part, where in it, and first and last byte of the range."""
        done = 0
        while done < length:
            number, at, count = self._place(offset + done, length - done)
            yield number, at, done, done + count
            done += count

    # -- requests -----------------------------------------------------------------------------------------------------

    def _read_into(self, offset: int, view: memoryview) -> None:
        number, at, count = self._place(offset, len(view))
        if count == len(view):
            self._parts[number]._read_into(at, view)
        else:
            self._start_reads(((offset, view),))[0].wait()

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        batches: dict[int, list[ReadRequest]] = {}  # by the number of a part
        plans: list[list[tuple[int, int]]] = []  # of each request, its reads: part and place in the part's batch
        for offset, view in requests:
            plan = []
            for number, at, begin, end in self._pieces(offset, len(view)):
                batch = batches.setdefault(number, [])
                plan.append((number, len(batch)))
                batch.append((at, view[begin:end]))
            plans.append(plan)
        started: dict[int, list[Completion]] = {}
        try:
            for number, batch in batches.items():
                started[number] = self._parts[number]._start_reads(batch)
        except BaseException:  # none was started, the caller is to know: so none may go on
            for completion in (completion for batch in started.values() for completion in batch):
                with contextlib.suppress(Exception):
                    completion.wait()
            raise
        return [joint([started[number][place] for number, place in plan]) for plan in plans]

    def _prefetch(self, offset: int, length: int) -> None:
        for number, at, begin, end in self._pieces(offset, length):
            self._parts[number]._prefetch(at, end - begin)

    def _write_at(self, offset: int, view: memoryview) -> None:
        for number, at, begin, end in self._pieces(offset, len(view)):
            self._parts[number]._write_at(at, view[begin:end])

    def _write_durably(self, offset: int, view: memoryview) -> None:
        for number, at, begin, end in self._pieces(offset, len(view)):
            self._parts[number]._write_durably(at, view[begin:end])

    def _zero(self, offset: int, length: int) -> None:
        for number, at, begin, end in self._pieces(offset, length):
            self._parts[number]._zero(at, end - begin)

    def _discard(self, offset: int, length: int) -> None:
        for number, at, begin, end in self._pieces(offset, length):
            self._parts[number]._discard(at, end - begin)

    def _flush(self) -> None:
        for part in self._parts:
            part._flush()

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        return joined(
            extent._replace(offset=extent.offset - at + offset + begin)
            for number, at, begin, end in self._pieces(offset, length)
            for extent in self._parts[number].extents(at, end - begin)
        )

    def _close(self) -> None:
        with contextlib.ExitStack() as stack:  # each of them, also where another's closing fails
            for part in self._parts:
                stack.callback(part.close)
