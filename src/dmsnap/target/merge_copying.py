"""Copying a snapshot's chunks into its origin, many at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.errors import DmsnapError
from dmsnap.target.snapshot import wait_for

__all__ = ["MEMORY_BYTES", "Copies", "CopyProgress", "MergeFailed", "RunCopier"]

MEMORY_BYTES = 16 << 20
"""How much is read before it is written."""

_PIECE_BYTES = 1 << 20
_GAP_BYTES = 256 << 10
"""What lies between two copies on the COW device and is read ahead with them, rather than asked about."""

_Integers = npt.NDArray[np.int64]

CopyProgress = Callable[[int], object]
"""Called now and then with how many bytes are copied."""


class MergeFailed(IOFailed):
    """The merge stopped at an error. What was merged is merged; the rest is still in the store."""


class Copies(NamedTuple):
    """What to copy: row ``i`` says that ``to_copy[i]`` bytes at ``cow[i]`` go to ``origin[i]`` (bytes of the devices).

    Attributes:
        origin: First byte on the origin.
        cow: First byte on the COW device.
        length: Bytes on the COW device, at least one chunk.
        to_copy: How many of them, from the first, belong on the origin: maybe none.
    """

    origin: _Integers
    cow: _Integers
    length: _Integers
    to_copy: _Integers


class RunCopier:
    """Copies parts of a COW device to an origin. For one thread at a time.

    Args:
        cow: Read.
        origin: Written, and flushed while that goes on.
        name: Of the merge, for messages.
    """

    def __init__(self, cow: BlockDevice, origin: BlockDevice, name: str) -> None:
        self._cow = cow
        self._origin = origin
        self._name = name
        self._memory = bytearray()

    def upwards(self, copies: Copies, progress: CopyProgress | None) -> bool:
        """Copies in the order of the origin, while what was copied before goes to the medium.

        Returns:
            False where a copy failed: then any of them may be on the origin, or not.

        Raises:
            MergeFailed: The origin could not be flushed.
        """
        self._read_ahead(copies)
        copies = _cut(_reordered(copies, np.argsort(copies.origin)), _PIECE_BYTES)
        with _Flusher(self.flush_origin) as flusher:
            for number, (batch, copied) in enumerate(_batches(copies)):
                if number:
                    flusher.flush_if_idle()
                if not self._at_once(batch, np.arange(len(batch.origin))):
                    return False
                if progress is not None:
                    progress(copied)
        return True

    def in_order(self, copies: Copies, progress: CopyProgress | None) -> tuple[int, MergeFailed | None]:
        """Copies in the order given, and nothing that comes after a copy that fails.

        Returns:
            How many of the first are copied, and what stopped it.
        """
        done = 0
        for batch, copied in _batches(copies):
            if not self._at_once(batch, np.argsort(batch.cow)):
                one_by_one = zip(batch.cow.tolist(), batch.origin.tolist(), batch.to_copy.tolist(), strict=True)
                for number, (at, to, length) in enumerate(one_by_one, done):
                    try:
                        self._by_itself(at, to, length)
                    except MergeFailed as failure:
                        return number, failure
            done += len(batch.origin)
            if progress is not None:
                progress(copied)
        return done, None

    def flush_origin(self) -> None:
        """Makes what was copied durable.

        Raises:
            MergeFailed: That failed.
        """
        try:
            self._origin.flush()
        except IOFailed as error:
            raise self.failure("Flush after merge failed", error) from error

    def failure(self, words: str, error: DmsnapError) -> MergeFailed:
        """Returns the error of a merge that stops: the kernel's words, and what happened."""
        failure = MergeFailed(
            f"{self._name}: {words}: shutting down merge: {error.message}",
            hint=error.hint or "mend what failed and merge again: nothing is lost",
            device=self._name,
        )
        failure.errno = getattr(error, "errno", None)
        return failure

    def _read_ahead(self, copies: Copies) -> None:
        """Has the COW device read in its own order what is to be asked for in another."""
        upwards = np.argsort(copies.cow)
        starts, ends = copies.cow[upwards], (copies.cow + copies.length)[upwards]
        far = np.flatnonzero(starts[1:] - ends[:-1] > _GAP_BYTES)
        for start, end in zip(
            starts[np.concatenate(([0], far + 1))].tolist(), ends[np.concatenate((far, [-1]))].tolist(), strict=True
        ):
            with contextlib.suppress(DmsnapError):  # it is for the reads to fail
                self._cow.prefetch(start, end - start)

    def _at_once(self, copies: Copies, layout: npt.NDArray[np.intp]) -> bool:
        """Reads copies into memory, which holds them in the order of ``layout``, then writes them in the order given.

        What lies together on a device and in memory is read, or written, together.

        Returns:
            False where that needs too much memory, or something failed: then each has to be copied by itself.
        """
        needed = int(copies.length.sum())
        if needed > MEMORY_BYTES:
            return False
        if len(self._memory) < needed:
            self._memory = bytearray(needed)
        memory = memoryview(self._memory)
        lengths = copies.length[layout]
        places = np.empty(len(layout), np.int64)
        places[layout] = np.cumsum(lengths) - lengths
        try:
            reads = self._cow.start_reads(
                [
                    (at, memory[place : place + length])
                    for at, place, length in _joined(copies.cow[layout], places[layout], lengths)
                ]
            )
            wait_for(reads)  # all of them: none may come into the memory of other copies
            if any(read.error is not None for read in reads):
                return False
            self._origin.write_many(
                [
                    (to, memory[place : place + length])
                    for to, place, length in _joined(copies.origin, places, copies.to_copy)
                ]
            )
        except DmsnapError:
            return False
        except BaseException:
            self._memory = bytearray()  # reads may still come into what there was
            raise
        return True

    def _by_itself(self, at: int, to: int, length: int) -> None:
        """Copies from byte ``at`` of the COW device to byte ``to`` of the origin."""
        block = self._cow.logical_block_size_bytes
        for done in range(0, length, _PIECE_BYTES):
            size = min(_PIECE_BYTES, length - done)
            try:
                piece = memoryview(self._cow.read_at(at + done, -(-size // block) * block))[:size]
            except DmsnapError as error:
                raise self.failure("Read error", error) from error
            try:
                self._origin.write_at(to + done, piece)
            except DmsnapError as error:
                raise self.failure("Write error", error) from error


class _Flusher:
    """Flushes in a thread of its own while more is written, so that the medium does not wait for the processor."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def flush_if_idle(self) -> None:
        """Begins another flush if the last one is over, whose error it raises."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._raise()
        self._thread = threading.Thread(target=self._run, name="merge-flush", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no thread to give: the flush at the end has to do it all
            self._thread = None

    def __enter__(self) -> _Flusher:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()
        if kind is None:
            self._raise()

    def _run(self) -> None:
        try:
            self._flush()
        except BaseException as error:  # noqa: BLE001 - it is raised where the writing is done
            self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def _reordered(copies: Copies, order: npt.NDArray[np.intp] | slice) -> Copies:
    return Copies(*(column[order] for column in copies))


def _cut(copies: Copies, most_bytes: int) -> Copies:
    """The same with none longer than so many bytes."""
    pieces = -(-copies.length // most_bytes)
    if not len(pieces) or pieces.max() == 1:
        return copies
    number = np.arange(int(pieces.sum())) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    origin, cow, length, to_copy = (np.repeat(column, pieces) for column in copies)
    begin = number * most_bytes
    return Copies(
        origin + begin, cow + begin, np.minimum(length - begin, most_bytes), (to_copy - begin).clip(0, most_bytes)
    )


def _batches(copies: Copies) -> Iterator[tuple[Copies, int]]:
    """Yields copies that fit into memory together, or a single one, and how many bytes all have up to their end."""
    ends = np.cumsum(copies.length)
    done = copied = 0
    while done < len(ends):
        stop = max(done + 1, int(np.searchsorted(ends, copied + MEMORY_BYTES, side="right")))
        copied = int(ends[stop - 1])
        yield _reordered(copies, slice(done, stop)), copied
        done = stop


def _joined(at: _Integers, places: _Integers, lengths: _Integers) -> Iterable[tuple[int, int, int]]:
    """Joins parts that follow one another on a device and in memory, to about a piece: device byte, place, bytes."""
    some = np.flatnonzero(lengths)
    if not len(some):
        return ()
    at, places, lengths = at[some], places[some], lengths[some]
    apart = (at[1:] != at[:-1] + lengths[:-1]) | (places[1:] != places[:-1] + lengths[:-1])
    apart |= places[1:] // _PIECE_BYTES != places[:-1] // _PIECE_BYTES  # so that more than one read is in flight
    firsts = np.concatenate(([0], np.flatnonzero(apart) + 1))
    return zip(at[firsts].tolist(), places[firsts].tolist(), np.add.reduceat(lengths, firsts).tolist(), strict=True)
