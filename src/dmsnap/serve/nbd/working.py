"""Everything but plain reads: what is short is done at once, what may take long by a few threads of the connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.block.nbd.wire import BLOCK_STATUS_ENTRY_64, Command, CommandFlag, NbdError
from dmsnap.serve.nbd.arrivals import Arrivals
from dmsnap.serve.nbd.contexts import Context, most_extents, status_of
from dmsnap.serve.nbd.counters import Counters
from dmsnap.serve.nbd.failures import told
from dmsnap.serve.nbd.handshake import Agreement
from dmsnap.serve.nbd.outbox import Holdings, Outbox
from dmsnap.serve.nbd.replies import Replies
from dmsnap.serve.nbd.requests import Request

__all__ = ["Worker"]

THREADS = 4
SHORT_BYTES = 1 << 18
"""Zeroing, trimming and caching so much does not take long."""
STEP_BYTES = 1 << 26
"""More is done in steps, between which a connection may end."""
MOST_CACHED_BYTES = 1 << 30
"""By one request: to cache is a hint, and memory is finite."""

_ZEROS = memoryview(bytes(1 << 20))


class Worker:
    """Does the requests of one connection.

    Args:
        agreement: What was agreed on.
        replies: The form of replies.
        outbox: Where they go.
        arrivals: Where the threads put what they finished.
        holdings: Accounts for what is pending.
        counters: Of the connection.
    """

    def __init__(
        self,
        agreement: Agreement,
        replies: Replies,
        outbox: Outbox,
        arrivals: Arrivals,
        holdings: Holdings,
        counters: Counters,
    ) -> None:
        self._agreement = agreement
        self._device: BlockDevice = agreement.export.device
        self._replies = replies
        self._outbox = outbox
        self._arrivals = arrivals
        self._holdings = holdings
        self._counters = counters
        self._threads: ThreadPoolExecutor | None = None
        self._leaving = False
        self._failed_flushes = self._device.failed_flushes

    # -- writes --------------------------------------------------------------------------------------------------------

    def write(self, requests: Sequence[tuple[int, int, memoryview]]) -> None:
        """Writes (cookie, offset, data), in their order, and answers."""
        try:
            self._device.write_many([(offset, data) for _, offset, data in requests])
        except Exception as error:  # noqa: BLE001 - see `told`
            told(error)
            self._write_singly(requests)
            return
        done = self._replies.done
        self._outbox.parts.append(b"".join([done(cookie, offset) for cookie, offset, _ in requests]))
        self._counters.writes += len(requests)
        self._counters.bytes_written += sum([len(data) for _, _, data in requests])

    def _write_singly(self, requests: Sequence[tuple[int, int, memoryview]]) -> None:
        """Again, one by one, to learn which of them fail."""
        for cookie, offset, data in requests:
            self._answer(cookie, offset, self._attempt(partial(self._device.write_at, offset, data)))
            self._counters.writes += 1
            self._counters.bytes_written += len(data)

    def write_durably(self, cookie: int, offset: int, data: bytearray) -> None:
        """Writes memory that is its own and accounted for, durably; answers later."""
        self._counters.writes += 1
        self._counters.bytes_written += len(data)
        self._later(cookie, offset, partial(self._device.write_at, offset, data, fua=True), len(data))

    # -- the rest ------------------------------------------------------------------------------------------------------

    def do(self, request: Request) -> None:
        """Does another request, and answers now or later."""
        kind, fua, length = request.kind, bool(request.flags & CommandFlag.FUA), request.length
        cookie, offset = request.cookie, request.offset
        if kind == Command.FLUSH:
            self._counters.flushes += 1
            self._later(cookie, 0, self._flush)
        elif kind == Command.WRITE and request.data:
            try:
                data = self._holdings.memory(length)
            except MemoryError as error:
                self._answer(cookie, offset, error)
                return
            data[:] = request.data
            self.write_durably(cookie, offset, data)
        elif kind in (Command.WRITE_ZEROES, Command.TRIM):
            self._counters.zeroes += 1
            self._counters.bytes_zeroed += length
            if request.flags & CommandFlag.FAST_ZERO and not getattr(self._device, "zeroes_quickly", False):
                self.refuse(cookie, offset, NbdError.ENOTSUP, "not faster than writing")
                return
            self._now_or_later(request, partial(self._clear, request), short=length <= SHORT_BYTES and not fua)
        elif kind == Command.CACHE:
            self._counters.others += 1
            self._now_or_later(request, partial(self._cache, offset, length), short=length <= SHORT_BYTES)
        elif kind == Command.BLOCK_STATUS:
            self._counters.others += 1
            self._start_status(request)
        elif kind == Command.READ:
            self._outbox.parts.append(self._replies.empty(cookie, offset))
        else:
            self._answer(cookie, offset, None)

    def refuse(self, cookie: int, offset: int, number: NbdError, reason: str) -> None:
        """Answers by an error."""
        self._outbox.parts.append(self._replies.failed(cookie, offset, number, reason))
        self._counters.errors += 1

    def leave(self) -> None:
        """What takes long is given up between two steps, and what waits is not begun; from any thread."""
        self._leaving = True

    def close(self) -> None:
        """As `leave`, and waits for what is being done."""
        self.leave()
        if self._threads is not None:
            self._threads.shutdown()

    def _flush(self) -> None:
        """Flushes; fails, once, where a flush has failed of which another client was told: ours may be lost with its.

        See `BlockDevice.failed_flushes`. A client may rely on a flush that it sends over any of its connections.
        """
        try:
            self._device.flush()
        finally:
            before, self._failed_flushes = self._failed_flushes, self._device.failed_flushes
        if before != self._failed_flushes:
            raise IOFailed(f"{self._device.name}: another client's flush failed, and writes may be lost")

    def _clear(self, request: Request) -> None:
        device, flags = self._device, request.flags
        step, clear = STEP_BYTES, device.zero
        if request.kind == Command.TRIM:
            clear = device.discard
        elif flags & CommandFlag.NO_HOLE:
            step, clear = len(_ZEROS), self._write_zeros
        self._in_steps(clear, request.offset, request.length, step)
        if flags & CommandFlag.FUA:
            self._flush()

    def _write_zeros(self, offset: int, length: int) -> None:
        self._device.write_at(offset, _ZEROS[:length])

    def _cache(self, offset: int, length: int) -> None:
        self._in_steps(self._device.prefetch, offset, min(length, MOST_CACHED_BYTES), STEP_BYTES)

    def _in_steps(self, call: Callable[[int, int], None], offset: int, length: int, step: int) -> None:
        for start in range(offset, offset + length, step):
            self._check_staying()
            call(start, min(step, offset + length - start))

    def _check_staying(self) -> None:
        if self._leaving:
            raise InterruptedError("the connection ends")

    def _start_status(self, request: Request) -> None:
        """Accounts for the longest reply there may be: those that a client does not take would gather."""
        contexts = [c for c in self._agreement.contexts if request.contexts is None or c.number in request.contexts]
        most = 1 if request.flags & CommandFlag.REQ_ONE else most_extents(self._agreement.export, request.length)
        held = len(contexts) * most * BLOCK_STATUS_ENTRY_64.size
        try:
            self._holdings.hold(held)
        except MemoryError as error:
            self._answer(request.cookie, request.offset, error)
            return
        self._hand_over(partial(self._status, request, contexts, held))

    def _status(self, request: Request, contexts: Sequence[Context], held: int) -> Callable[[], None]:
        export, cookie, offset = self._agreement.export, request.cookie, request.offset
        only_first = bool(request.flags & CommandFlag.REQ_ONE)
        try:
            self._check_staying()
            statuses = status_of(export, contexts, offset, request.length, only_first=only_first)
            numbered = [(context.number, status) for context, status in zip(contexts, statuses, strict=True)]
            return partial(self._answer_status, self._replies.status(cookie, offset, numbered), held)
        except Exception as error:  # noqa: BLE001 - see `told`
            return partial(self._answer, cookie, offset, error, held)

    def _answer_status(self, reply: bytes, held: int) -> None:
        self._outbox.parts.append(reply)
        self._outbox.give_when_sent(held)

    # -- now, or later in a thread -------------------------------------------------------------------------------------

    def _now_or_later(self, request: Request, work: Callable[[], None], *, short: bool) -> None:
        if short:
            self._answer(request.cookie, request.offset, self._attempt(work))
        else:
            self._later(request.cookie, request.offset, work)

    def _later(self, cookie: int, offset: int, work: Callable[[], None], held: int = 0) -> None:
        def attempt() -> Callable[[], None]:
            return partial(self._answer, cookie, offset, self._attempt(work), held)

        self._hand_over(attempt)

    def _hand_over(self, attempt: Callable[[], Callable[[], None]]) -> None:
        """Has a thread do something; what that returns is called by the connection's own thread."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "nbd-worker")
        self._holdings.pending += 1
        todo = [attempt]  # who takes it out does it
        try:
            self._threads.submit(self._run, todo)
        except RuntimeError:  # the system has no more threads to give; it may be queued for those that there are
            self._run(todo)

    def _run(self, todo: list[Callable[[], Callable[[], None]]]) -> None:
        try:
            attempt = todo.pop()
        except IndexError:
            return
        try:
            answer = attempt()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the connection's own thread
            answer = partial(_raise, error)
        self._arrivals.put(partial(self._arrived, answer))

    def _arrived(self, answer: Callable[[], None]) -> None:
        self._holdings.pending -= 1
        answer()

    def _attempt(self, work: Callable[[], None]) -> Exception | None:
        try:
            self._check_staying()
            work()
        except Exception as error:  # noqa: BLE001 - see `told`
            told(error)
            return error
        return None

    def _answer(self, cookie: int, offset: int, error: Exception | None, held: int = 0) -> None:
        if held:
            self._holdings.give(held)
        if error is None:
            self._outbox.parts.append(self._replies.done(cookie, offset))
        elif isinstance(error, InterruptedError):
            self.refuse(cookie, offset, NbdError.ESHUTDOWN, "the connection ends")
        else:
            self.refuse(cookie, offset, *told(error))


def _raise(error: BaseException) -> None:
    raise error
