"""Reads: the data of many goes straight between the headers of their replies, and out in one piece.

What is not at hand arrives later: by another thread, or, where it is for those who wait to collect it, by this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import BlockDevice, ReadRequest
from dmsnap.serve.nbd.arrivals import Arrivals
from dmsnap.serve.nbd.borrowing import Borrower
from dmsnap.serve.nbd.counters import Counters
from dmsnap.serve.nbd.failures import told
from dmsnap.serve.nbd.outbox import Holdings, Outbox
from dmsnap.serve.nbd.replies import Replies

__all__ = ["Reader"]

REPLY_BYTES = (1 << 20) + (4 << 10)
"""Of the memory that is used over and over: a read of 1 MiB has its place there, with its header. More would not stay
in the processor's cache between read and send."""

MOST_TOGETHER = 256
"""Reads whose replies are sent together."""
FEWEST_BORROWED, LARGE_BYTES = 4, 1 << 15
"""Fewer reads than that, unless they are large: to copy them costs less than to borrow."""
COLLECTED_TOGETHER = 8
"""Reads that had to be waited for, answered together: the client can ask for more while others are still waited for."""


class _Memory:
    """Memory for some replies; `left` reads are still writing into it."""

    __slots__ = ("data", "held", "left", "view")

    def __init__(self, data: bytearray, *, held: bool) -> None:
        self.data = data
        self.view = memoryview(self.data)
        self.held = held
        self.left = 0


class Reader:
    """Starts reads for one connection; its replies go to the outbox, now or as they arrive.

    Args:
        device: To read.
        replies: The form that was agreed on.
        outbox: Where complete replies go.
        arrivals: Where other threads put what finished later.
        holdings: Accounts for memory that is not used again.
        counters: Of the connection.
        borrower: Answers what the device lends, where that is possible: not under TLS.
    """

    def __init__(
        self,
        device: BlockDevice,
        replies: Replies,
        outbox: Outbox,
        arrivals: Arrivals,
        holdings: Holdings,
        counters: Counters,
        borrower: Borrower | None,
    ) -> None:
        self._device = device
        self._replies = replies
        self._outbox = outbox
        self._arrivals = arrivals
        self._holdings = holdings
        self._counters = counters
        self._borrower = borrower
        self._kept: _Memory | None = None
        self._coming_back: _Memory | None = None
        self._position = 0
        self._to_collect: deque[tuple[Completion, Callable[[], None]]] = deque()

    def sent(self) -> None:
        """The outbox is empty: the memory may be used from its front again, or what others wrote into is free."""
        self._position = 0
        if self._coming_back is not None:
            self._kept = self._kept or self._coming_back
            self._coming_back = None

    @property
    def collects(self) -> bool:
        """Whether there are reads that `collect` must be called for."""
        return bool(self._to_collect)

    def collect(self, *, wait: bool) -> None:
        """Answers the oldest of them, after waiting where that is asked for, and those behind that are at hand too."""
        to_collect = self._to_collect
        for _ in range(min(len(to_collect), COLLECTED_TOGETHER)):  # and the client hears of these first
            completion, answer = to_collect[0]
            if wait:
                with suppress(Exception):  # the error is in the completion
                    completion.wait()
                wait = False
            elif not completion.poll():
                return
            to_collect.popleft()
            answer()

    def start(self, requests: Sequence[tuple[int, int, int]]) -> None:
        """Answers reads (cookie, offset, length), or has them answered later.

        Errors as `Outbox.send`: where the memory is full, what is complete is sent.
        """
        head = self._replies.data_head_bytes
        done, count = 0, len(requests)
        if self._borrower is not None and (count >= FEWEST_BORROWED or requests[0][2] >= LARGE_BYTES):
            self._outbox.send()
            self._position = 0
            done = self._borrower.answer(requests)
        while done < count:
            try:
                memory = self._memory(requests, done)
            except MemoryError as error:
                self._fail(requests[done:], error)
                return
            data, view, capacity = memory.data, memory.view, len(memory.data)
            position = first = self._position if memory is self._kept else 0
            wanted: list[ReadRequest] = []
            add = wanted.append
            rest = requests[done : done + MOST_TOGETHER] if done or count > MOST_TOGETHER else requests
            for (_, offset, length), said in zip(rest, self._replies.data_heads(rest), strict=True):
                end = position + head + length
                if end > capacity:
                    break
                data[position : position + head] = said
                add((offset, view[position + head : end]))
                position = end
            part = requests if len(wanted) == count else requests[done : done + len(wanted)]
            done += len(wanted)
            if memory is self._kept:
                self._position = position
            self._issue(memory, part, wanted, first, position)
            if done < count:
                self._outbox.send()
                self._position = 0

    def _memory(self, requests: Sequence[tuple[int, int, int]], done: int) -> _Memory:
        """Memory for the next request at least."""
        head = self._replies.data_head_bytes
        needed = head + requests[done][2]
        if self._kept is None and not self._holdings.pending:
            self._kept, self._position = _Memory(bytearray(REPLY_BYTES), held=False), 0
        if self._kept is not None and needed <= REPLY_BYTES:
            if self._position + needed > REPLY_BYTES:
                self._outbox.send()
                self._position = 0
            return self._kept
        for _, _, length in requests[done + 1 :]:
            if needed + head + length > REPLY_BYTES:
                break
            needed += head + length
        return _Memory(self._holdings.memory(needed), held=True)

    def _issue(
        self, memory: _Memory, requests: Sequence[tuple[int, int, int]], wanted: list[ReadRequest], first: int, end: int
    ) -> None:
        completions = self._started(wanted)
        if completions.count(COMPLETED) == len(completions):
            self._outbox.parts.append(memory.view[first:end])
            self._counters.reads += len(wanted)
            self._counters.bytes_read += end - first - len(wanted) * self._replies.data_head_bytes
        else:
            self._sort_out(memory, requests, completions, first)
        if memory.left:
            if memory is self._kept:  # others write into it for some time: it is theirs now
                self._kept = None
                memory.held = True
                self._holdings.hold_anyway(len(memory.data))
        elif memory.held:
            self._outbox.give_when_sent(len(memory.data))

    def _started(self, wanted: list[ReadRequest]) -> list[Completion]:
        try:
            return self._device.start_reads(wanted)
        except Exception as error:  # noqa: BLE001 - `told` raises it again, unless it is the device's answer
            told(error)
            if len(wanted) == 1:
                return [Completion.failed(error)]
            return [self._started([one])[0] for one in wanted]  # which one was it?

    def _sort_out(
        self, memory: _Memory, requests: Sequence[tuple[int, int, int]], completions: list[Completion], position: int
    ) -> None:
        """Answers what is done, and waits for the rest."""
        head = self._replies.data_head_bytes
        later: list[tuple[Completion, Callable[[], None]]] = []
        for (cookie, offset, length), completion in zip(requests, completions, strict=True):
            reply = memory.view[position : position + head + length]
            position += head + length
            if completion.done:
                self._answer(cookie, offset, reply, completion)
            else:
                memory.left += 1
                later.append((completion, partial(self._arrived, memory, cookie, offset, reply, completion)))
        self._holdings.pending += len(later)
        mostly_later = 2 * len(later) > len(completions)  # else waiting here would hold up what is at hand
        for completion, answer in later:
            if mostly_later and completion.collectable:
                self._to_collect.append((completion, answer))
            else:
                completion.add_done_callback(partial(_put, self._arrivals, answer))

    def _arrived(self, memory: _Memory, cookie: int, offset: int, reply: memoryview, completion: Completion) -> None:
        self._holdings.pending -= 1
        memory.left -= 1
        if not memory.left:
            self._outbox.give_when_sent(len(memory.data))
            if len(memory.data) == REPLY_BYTES:
                memory.held = False  # from then on
                self._coming_back = memory
        self._answer(cookie, offset, reply, completion)

    def _answer(self, cookie: int, offset: int, reply: memoryview, completion: Completion) -> None:
        if completion.error is not None:
            self._outbox.parts.append(self._replies.failed(cookie, offset, *told(completion.error)))
            self._counters.errors += 1
        else:
            self._outbox.parts.append(reply)
            self._counters.reads += 1
            self._counters.bytes_read += len(reply) - self._replies.data_head_bytes

    def _fail(self, requests: Sequence[tuple[int, int, int]], error: Exception) -> None:
        for cookie, offset, _ in requests:
            self._outbox.parts.append(self._replies.failed(cookie, offset, *told(error)))
        self._counters.errors += len(requests)


def _put(arrivals: Arrivals, answer: Callable[[], None], _: Completion) -> None:
    arrivals.put(answer)
