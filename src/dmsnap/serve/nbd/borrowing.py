"""Replies that go out of the device's own memory, uncopied.

Memory is borrowed for a short time, so that no client holds up who lends, however slow it is. What the client does not
take in that time is borrowed again when it takes more.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.serve.nbd.counters import Counters
from dmsnap.serve.nbd.failures import told
from dmsnap.serve.nbd.replies import Replies
from dmsnap.serve.nbd.stream import PlainStream, Unreadable

__all__ = ["Borrower"]

TOGETHER_BYTES = 1 << 20
MOST_TOGETHER = 256
"""Borrowed at once: where chunks of 512 bytes alternate between origin and COW device, that is 2048 pieces."""
MOST_PARTS = 1024
"""Of one system call: IOV_MAX of Linux."""
HELD_SECONDS = 0.02
"""So long a client may take for what was borrowed."""

_Read = tuple[int, int, int]


class Borrower:
    """Answers reads of one connection, as long as the device lends.

    Args:
        device: That is read.
        replies: The form that was agreed on.
        stream: Where replies go; everything else was sent before.
        counters: Of the connection.
    """

    def __init__(self, device: BlockDevice, replies: Replies, stream: PlainStream, counters: Counters) -> None:
        self._device = device
        self._replies = replies
        self._stream = stream
        self._counters = counters

    def answer(self, requests: Sequence[_Read]) -> int:
        """Answers reads (cookie, offset, length) from the first on, until something is not lent; returns how many.

        Raises:
            ProtocolViolation: The client does not take it, or too slowly.
            OSError: The connection is broken; or has to end, since the device failed in the middle of a reply.
        """
        done = 0
        while done < len(requests):
            group = _group(requests, done)
            answered = self._answer(group)
            if not answered:
                break
            self._counters.reads += answered
            self._counters.bytes_read += sum([length for _, _, length in group[:answered]])
            done += answered
        return done

    def _answer(self, group: Sequence[_Read]) -> int:
        heads = self._replies.data_heads(group)
        _, offset, length = group[0]
        if length > TOGETHER_BYTES:
            return int(self._finish(heads[0], offset, length, 0))
        sent = self._send(heads, [(offset, length) for _, offset, length in group])
        if sent is None:
            return 0
        for number, (head, (_, offset, length)) in enumerate(zip(heads, group, strict=True)):
            if sent < len(head) + length:
                return number + self._finish(head, offset, length, sent) if sent or not number else number
            sent -= len(head) + length
        return len(group)

    def _finish(self, head: bytes, offset: int, length: int, gone: int) -> bool:
        """Sends a reply of which so many bytes are gone; False where none is, and nothing is lent."""
        total, block, until = len(head) + length, self._device.logical_block_size_bytes, 0.0
        while gone < total:
            at = max(0, gone - len(head))
            start = at & -block
            stop = min(length, start + TOGETHER_BYTES)
            sent = self._send([head[gone:]], [(offset + start, stop - start)], at - start)
            if sent is None:
                if not gone:
                    return False
                sent = self._copy(head[gone:], offset + start, stop - start, at - start)
            gone += sent
            if gone < len(head) + stop:
                until = until or self._stream.deadline(total)
                self._stream.wait_to_send(until)
        return True

    def _send(self, heads: Sequence[bytes], ranges: Sequence[tuple[int, int]], skipped: int = 0) -> int | None:
        """Sends what is taken at once; returns how many bytes, or None where nothing is lent."""
        try:
            loan = self._device.lend(ranges)
        except Exception as error:  # noqa: BLE001 - who reads it meets it again
            told(error)
            return None
        if loan is None:
            return None
        unreadable = False
        try:
            parts: list[memoryview | bytes] = []
            for head, views in zip(heads, loan.views, strict=True):
                parts.append(head)
                parts += views
            if skipped:
                parts[1] = parts[1][skipped:]
            return self._push(parts)
        except (Unreadable, MemoryError) as error:
            unreadable = isinstance(error, Unreadable)
            return None
        finally:
            loan.end(unreadable=unreadable)

    def _push(self, parts: list[memoryview | bytes]) -> int:
        """Sends what the client takes in a short time; returns how many bytes."""
        gone = sent = self._stream.send_now(parts[:MOST_PARTS])
        if sent == sum(map(len, parts)):
            return sent
        number, until = 0, monotonic() + HELD_SECONDS
        while True:
            while number < len(parts) and sent >= len(parts[number]):
                sent -= len(parts[number])
                number += 1
            if number == len(parts) or not self._stream.takes_more(until - monotonic()):
                return gone
            parts[number] = parts[number][sent:]
            try:
                sent = self._stream.send_now(parts[number : number + MOST_PARTS])
            except Unreadable:  # the next time, nothing can be sent, and that is told
                return gone
            gone += sent

    def _copy(self, head: bytes, offset: int, length: int, skipped: int) -> int:
        """Sends a part of a reply that cannot be broken off any more."""
        try:
            data = memoryview(self._device.read_at(offset, length))[skipped:]
        except DmsnapError as error:
            raise ConnectionAbortedError(f"in the middle of a reply: {error}") from None
        self._stream.send((head, data))
        return len(head) + len(data)


def _group(requests: Sequence[_Read], done: int) -> Sequence[_Read]:
    """The next few, one at least."""
    group = requests[done : done + MOST_TOGETHER] if done or len(requests) > MOST_TOGETHER else requests
    size = sum([length for _, _, length in group])
    if size <= TOGETHER_BYTES:
        return group
    size = 0
    for number, (_, _, length) in enumerate(group):
        size += length
        if size > TOGETHER_BYTES:
            return group[: max(1, number)]
    return group
