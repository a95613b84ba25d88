"""The reads of a device that are with the kernel by a ring.

There is no thread for them: who waits for one waits for the ring, and takes out all that has come meanwhile, for itself
and for others. One thread at a time does so, the leader; the rest sleep until it has taken something out or leaves, and
then one of them is the next. Only where somebody asks to be called, and does not wait, a thread waits instead.

The kernel writes into a read's memory until its completion has come, whoever still wants it: until then it is held.
"""

from __future__ import annotations

import atexit
import errno
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import get_ident
from time import sleep
from weakref import WeakSet

from dmsnap.block import uring
from dmsnap.block.announced import Collector
from dmsnap.block.completion import COMPLETED, Completion, finish_all
from dmsnap.block.contract import IOFailed, ReadRequest
from dmsnap.block.ring_read import RingRead

__all__ = ["RING_ENTRIES", "SUBMITTED_TOGETHER", "RingReads"]

RING_ENTRIES = 256
"""Reads in flight: twice what a disk usually queues; 24 KiB of memory."""

SUBMITTED_TOGETHER = 8
"""The disk begins with the first reads while the next are prepared, which takes about as long as to wake it."""

_PATIENCE_SECONDS = 0.1
"""Who follows looks that often whether there is a leader: it may have been interrupted where it could not tell."""

_PAUSE_SECONDS = 1e-3

_REFUSED = {-errno.EINVAL, -errno.EOPNOTSUPP}
_PASSING = {errno.EAGAIN, errno.EBUSY, errno.EINTR}

_live: WeakSet[RingReads] = WeakSet()


class RingReads:
    """The reads of one device that are in a ring, which is made when the first of them come.

    Args:
        device: Does what the ring cannot.
        name: Of the thread, for people with a debugger.

    Attributes:
        eager: Whether the last reads were mostly not in the page cache, so that it need not be asked first.
    """

    def __init__(self, device: Collector, name: str) -> None:
        self.eager = False
        self._device = device
        self._name = name
        self._ring: uring.Ring | None = None
        self._takes = True  # also where none was made yet
        self._in_flight: dict[int, tuple[RingRead, int, memoryview]] = {}
        self._short: WeakSet[RingRead] = WeakSet()
        self._without_threads()

    def _without_threads(self) -> None:
        self._submitting = threading.Lock()
        self._electing = threading.Lock()
        self._leader: int | None = None  # the thread that alone takes completions out
        self._sleepers: list[threading.Lock] = []
        self._watched: SimpleQueue[int | None] = SimpleQueue()
        self._watcher: threading.Thread | None = None

    # -- starting -----------------------------------------------------------------------------------------------------

    def start(self, fd: int, requests: Sequence[ReadRequest]) -> list[Completion]:
        """Starts as many of some reads as there is room for, from the first on, and never waits for one.

        Where there is no ring, that is none of them; one alone is no reason to make one.
        """
        if not self._takes or (self._ring is None and len(requests) < 2):
            return []
        if len(self._in_flight) + len(requests) > RING_ENTRIES:
            self.look()  # at what nobody waits for, perhaps
        with self._submitting:
            ring = self._ring or self._opened()
            if ring is None or not self._takes:
                return []
            room = ring.entries - len(self._in_flight)
            reads = self._submit(ring, fd, requests if len(requests) <= room else requests[:room])
        if self.eager:
            return list[Completion](reads)
        self.look()
        return [COMPLETED if read.done and read.error is None else read for read in reads]

    def _opened(self) -> uring.Ring | None:
        self._ring = uring.open_ring(RING_ENTRIES)
        self._takes = self._ring is not None
        _live.add(self)
        return self._ring

    def _submit(self, ring: uring.Ring, fd: int, requests: Sequence[ReadRequest]) -> list[RingRead]:
        first, reads, in_flight = ring.end, list[RingRead](), self._in_flight
        tag = first
        try:
            for begin in range(0, len(requests), SUBMITTED_TOGETHER):
                group = requests[begin : begin + SUBMITTED_TOGETHER]
                for offset, view in group:
                    read = RingRead(self, self._device, tag)
                    reads.append(read)
                    in_flight[tag] = read, offset, view  # before the kernel knows of it
                    tag = tag + 1 & uring.COUNT
                ring.publish(ring.fill(fd, group))
                before = ring.completed
                ring.submit()
                if not begin:  # what comes during a later group may have come from the disk
                    self.eager = 2 * (ring.completed - before & uring.COUNT) < len(group)
        except OSError as error:
            self._takes = error.errno in _PASSING
        finally:
            ring.take_back()
            taken = ring.end - first & uring.COUNT
            for read in reads[taken:]:
                in_flight.pop(read.tag, None)
        return reads[:taken]

    # -- taking out ---------------------------------------------------------------------------------------------------

    def wait_for(self, tag: int) -> None:
        """Waits until the read of that tag has arrived."""
        me = get_ident()
        if self._leader == me:  # in a callback of what has just arrived
            self._take_until(tag)
            return
        while tag in self._in_flight:
            try:
                if self._leads(me):
                    self._take_until(tag)
                else:
                    self._sleep()
            finally:
                if self._leader == me:  # here and in no function: an interrupt may come with each call
                    self._leader = None
                    self._wake()

    def look(self) -> None:
        """Takes out what has arrived, unless another thread is about to."""
        me = get_ident()
        if self._leader == me:
            self._take_arrived()
            return
        try:
            if self._leads(me):
                self._take_arrived()
        finally:
            if self._leader == me:
                self._leader = None
                self._wake()

    def _leads(self, me: int) -> bool:
        with self._electing:
            if self._leader is None:
                self._leader = me
        return self._leader == me

    def _sleep(self) -> None:
        """Sleeps until the leader has taken something out, or is none any more."""
        alarm = threading.Lock()
        alarm.acquire()
        self._sleepers.append(alarm)
        if self._leader is not None:
            alarm.acquire(timeout=_PATIENCE_SECONDS)

    def _wake(self) -> None:
        while self._sleepers:
            with suppress(IndexError):  # another thread woke it
                self._sleepers.pop().release()

    def _take_until(self, tag: int) -> None:
        ring = self._ring
        while ring is not None and tag in self._in_flight:
            if not ring.has_completions:
                try:
                    ring.wait()
                except OSError:  # it arrives all the same
                    sleep(_PAUSE_SECONDS)
            self._take(ring)

    def _take_arrived(self) -> None:
        if self._ring is not None and self._ring.look():
            self._take(self._ring)

    def _take(self, ring: uring.Ring) -> None:
        full: list[RingRead] = []
        short: list[RingRead] = []
        calls: list[Callable[[], None]] = []
        in_flight = self._in_flight
        try:
            completions, end = ring.completions()
            for tag, result, _ in completions:
                if tag not in in_flight:  # seen before, when there was an interrupt
                    continue
                read, offset, view = in_flight[tag]
                if result == len(view):
                    full.append(read)
                else:
                    got = max(0, result)
                    read.leave((offset + got, view[got:]))
                    short.append(read)
                    self._short.add(read)  # before it is in flight no more, for `close`
                    self._takes = self._takes and result not in _REFUSED
            finish_all(full, calls)
            for tag, _, _ in completions:  # now whoever looks for one finds it done, or a rest to do
                in_flight.pop(tag, None)
            ring.forget(end)
        finally:
            calls += [read.settle for read in short]
            _call_all(calls)
        if self._sleepers:
            self._wake()

    # -- for who does not wait ----------------------------------------------------------------------------------------

    def watch(self, tag: int) -> None:
        """Has a thread wait for a read; where the system refuses one, waits for it."""
        if tag not in self._in_flight:
            return
        with self._electing:
            if self._watcher is None and tag in self._in_flight:  # otherwise the ring may be closed by now
                watcher = threading.Thread(target=self._watch, name=f"{self._name}-ring", daemon=True)
                with suppress(RuntimeError):
                    watcher.start()
                    self._watcher = watcher
        if self._watcher is None:
            self.wait_for(tag)
        else:
            self._watched.put(tag)

    def _watch(self) -> None:
        while (tag := self._watched.get()) is not None:
            self.wait_for(tag)

    # -- the end ------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Waits until nothing is in flight."""
        for tag in list(self._in_flight):
            self.wait_for(tag)

    def close(self) -> None:
        """Waits for every read, and lets go of the ring."""
        with self._submitting:
            self._takes = False
        self.drain()
        for read in list(self._short):
            with suppress(IOFailed):  # for whoever waits for it
                read.wait()
        with self._electing:  # one who is about to have it is through then
            watcher = self._watcher
        if watcher is not None:
            self._watched.put(None)
            if watcher is not threading.current_thread():  # a completion's callback may close the device
                watcher.join()
        self._let_go()

    def _let_go(self) -> None:
        """Closes the ring, once nobody looks at it any more."""
        me = get_ident()
        in_callback = self._leader == me
        try:
            while not self._leads(me):
                self._sleep()
            ring, self._ring = self._ring, None
            if ring is not None:
                ring.close()
        finally:
            if self._leader == me and not in_callback:
                self._leader = None
                self._wake()

    def __del__(self) -> None:
        self.close()

    def abandon(self) -> None:
        """Leaves ring and threads to the process that this one is a copy of; what was in flight is read again."""
        self._takes = False
        self._without_threads()
        for read, offset, view in self._in_flight.values():
            read.leave((offset, view))
        self._in_flight.clear()
        ring, self._ring = self._ring, None
        if ring is not None:
            ring.close()


def _call_all(calls: list[Callable[[], None]]) -> None:
    try:
        while calls:
            calls.pop()()
    finally:
        if calls:  # an interrupt: others wait for these
            _call_all(calls)


def _drain_all() -> None:
    for reads in list(_live):
        reads.drain()


def _abandon_all() -> None:
    for reads in list(_live):
        reads.abandon()


atexit.register(_drain_all)  # or the kernel might write into memory that has become somebody else's
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
