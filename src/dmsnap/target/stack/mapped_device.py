"""A mapped device: sends requests to the targets of its live table, and can be suspended."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice, Extent, IOFailed, ReadRequest, WriteRequest
from dmsnap.block.extents import joined
from dmsnap.target.joint_completion import joint
from dmsnap.target.stack.device_table import DeviceTable
from dmsnap.target.stack.io_gate import IOGate
from dmsnap.target.stack.refusals import NoTable

__all__ = ["MappedDevice"]

_EXTENTS_AT_ONCE = 1024


class MappedDevice(BlockDevice):
    """A device of a stack; for any number of threads.

    While it is suspended requests wait, started reads too, until it is resumed, perhaps with another table and size. A
    table may be smaller than the one before: what lies outside it fails with `IOFailed`, as for whoever sits above.
    Until its first table the device is 0 bytes long. It belongs to the stack, whose `Stack.remove` closes it.

    Attributes:
        live: The table that requests go by; None before the first.
        inactive: The table that the next resume makes live.
        suspended: Whether it is.
        users: How many targets of the stack are built on it.
        changing: Held by whoever suspends, resumes or loads it.
        gate: Through which each request goes.
        checked_before: Whether a table was ever found fit for it; the first is checked when it is loaded.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.live: DeviceTable | None = None
        self.inactive: DeviceTable | None = None
        self.suspended = False
        self.users = 0
        self.changing = threading.RLock()
        self.gate = IOGate()
        self.checked_before = False
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def failed_flushes(self) -> int:
        live = self.live
        return sum(device.failed_flushes for device in live.flushed) if live is not None else 0

    # -- suspend and resume -------------------------------------------------------------------------------------------

    def suspend(self) -> None:
        """Waits for the requests in flight; later ones wait for `resume`. Done already, it does nothing."""
        with self.changing:
            if self.suspended:
                return
            if self.live is not None:
                self.live.presuspend()
            self.gate.shut()
            self.suspended = True
            if self.live is not None:
                self.live.postsuspend()

    def swap(self, table: DeviceTable) -> DeviceTable | None:
        """Makes a table live, on a suspended device; returns the one before."""
        before, self.live = self.live, table
        self.logical_block_size_bytes = table.logical_block_size_bytes
        self._size_bytes = table.size_bytes
        return before

    def resume(self) -> None:
        """Lets requests go on. Not suspended, it does nothing.

        Raises:
            NoTable: There is none.
            TableRefused: A target cannot be started; the device stays suspended.
        """
        with self.changing:
            if not self.suspended:
                return
            if self.live is None:
                raise NoTable(f"{self.name}: has no table to be resumed with", hint="load one", device=self.name)
            self.live.resume()
            writable = [target for target in self.live.targets if not target.device.read_only]
            self.read_only = self.live.context.read_only or not writable
            self.suspended = False
            self.gate.open()

    def _close(self) -> None:
        """Waits for what is in flight; what waits for a resume gets `DeviceClosed`."""
        self.gate.shut()
        self.gate.open_for_good()

    # -- requests -----------------------------------------------------------------------------------------------------

    def _table(self, end: int) -> DeviceTable:
        """Returns the live table, for a request that ends at byte ``end``. To be called inside the gate."""
        if self.closed:
            self._refuse_closed()
        live = self.live
        if live is None or end > live.size_bytes:
            raise IOFailed(
                f"{self.name}: byte {end - 1} is outside the device of {self._size_bytes} bytes",
                hint="it became smaller when its table was replaced",
                device=self.name,
            )
        return live

    def _read_into(self, offset: int, view: memoryview) -> None:
        token = self.gate.enter()
        try:
            live = self._table(offset + len(view))
            if (target := live.single) is not None:
                target.device._read_into(offset - target.zero_byte, view)
                return
            for target, begin, end in live.pieces(offset, len(view)):
                target.device._read_into(begin - target.zero_byte, view[begin - offset : end - offset])
        finally:
            self.gate.leave(token)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        if not requests:
            return []
        later = [Completion() for _ in requests] if self.gate.is_shut else []
        if later and self.gate.put_off(partial(self._start_later, requests, later)):
            return later
        token = self.gate.enter()
        try:
            completions = self._start(requests)
            for completion in completions:
                if not completion.done:
                    self.gate.stay(completion)
            return completions
        finally:
            self.gate.leave(token)

    def _start_later(self, requests: Sequence[ReadRequest], completions: Sequence[Completion]) -> None:
        """Starts reads that came while the device was suspended."""
        try:
            started = self._start_reads(requests)
        except Exception as error:  # noqa: BLE001 - goes to those who wait for the reads
            started = [Completion.failed(error)] * len(requests)
        for below, above in zip(started, completions, strict=True):
            below.add_done_callback(partial(_pass_on, above))

    def _start(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        live = self._table(max(offset + len(view) for offset, view in requests))
        if (target := live.single) is not None:
            if not target.zero_byte:
                return target.device._start_reads(requests)
            return target.device._start_reads([(offset - target.zero_byte, view) for offset, view in requests])
        batches: list[list[ReadRequest]] = [[] for _ in live.targets]
        plans: list[list[tuple[int, int]]] = []  # of each request: target, and place in the target's batch
        for offset, view in requests:
            plan = []
            for number, begin, end in live.numbered_pieces(offset, len(view)):
                plan.append((number, len(batches[number])))
                part = view if end - begin == len(view) else view[begin - offset : end - offset]
                batches[number].append((begin - live.targets[number].zero_byte, part))
            plans.append(plan)
        started: list[list[Completion]] = []
        try:
            for target, batch in zip(live.targets, batches, strict=True):
                started.append(target.device._start_reads(batch) if batch else [])
        except BaseException:  # none was started, the caller is to know: so none may go on
            for completion in (completion for row in started for completion in row):
                with contextlib.suppress(Exception):
                    completion.wait()
            raise
        return [
            started[plan[0][0]][plan[0][1]] if len(plan) == 1 else joint([started[t][n] for t, n in plan])
            for plan in plans
        ]

    def _write_at(self, offset: int, view: memoryview) -> None:
        token = self.gate.enter()
        try:
            live = self._table(offset + len(view))
            if (target := live.single) is not None:
                target.device._write_at(offset - target.zero_byte, view)
                return
            self._change(offset, len(view), lambda device, at, begin, end: device._write_at(at, view[begin:end]))
        finally:
            self.gate.leave(token)

    def _change(self, offset: int, length: int, change: Callable[[BlockDevice, int, int, int], None]) -> None:
        """Has each target change its part of a range, those too that come after one that fails (Linux dm).

        Args:
            offset: First byte.
            length: Bytes.
            change: Is given a device, the first byte on it, and which bytes of the range to change there.

        Raises:
            IOFailed: A part of it failed; the first such.
        """
        errors = []
        for target, begin, end in self._table(offset + length).pieces(offset, length):
            try:
                change(target.device, begin - target.zero_byte, begin - offset, end - offset)
            except IOFailed as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _write_durably(self, offset: int, view: memoryview) -> None:
        token = self.gate.enter()
        try:
            self._change(offset, len(view), lambda device, at, begin, end: device._write_durably(at, view[begin:end]))
        finally:
            self.gate.leave(token)

    def _write_many(self, requests: Sequence[WriteRequest]) -> None:
        if not requests:
            return
        token = self.gate.enter()
        try:
            live = self._table(max(offset + len(view) for offset, view in requests))
            if (target := live.single) is not None:
                target.device._write_many([(offset - target.zero_byte, view) for offset, view in requests])
                return
            for offset, view in requests:
                for target, begin, end in live.pieces(offset, len(view)):
                    target.device._write_at(begin - target.zero_byte, view[begin - offset : end - offset])
        finally:
            self.gate.leave(token)

    def _zero(self, offset: int, length: int) -> None:
        token = self.gate.enter()
        try:
            self._change(offset, length, lambda device, at, begin, end: device._zero(at, end - begin))
        finally:
            self.gate.leave(token)

    def _discard(self, offset: int, length: int) -> None:
        token = self.gate.enter()
        try:
            self._change(offset, length, lambda device, at, begin, end: device._discard(at, end - begin))
        finally:
            self.gate.leave(token)

    def _flush(self) -> None:
        """Flushes all that is below, each device once; all of them, though one fails."""
        token = self.gate.enter()
        try:
            if self.closed:
                self._refuse_closed()
            errors = []
            for device in self.live.flushed if self.live is not None else ():
                try:
                    device.flush()
                except IOFailed as error:
                    errors.append(error)
            if errors:
                raise errors[0]
        finally:
            self.gate.leave(token)

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        return joined(self._pieces_of_extents(offset, offset + length))

    def _pieces_of_extents(self, position: int, end: int) -> Iterator[Extent]:
        """Yields extents; between some of them the device may be suspended and get another table."""
        while position < end:
            token = self.gate.enter()
            try:
                live = self._table(end)
                batch = list(islice(self._below(live, position, end), _EXTENTS_AT_ONCE))
            finally:
                self.gate.leave(token)
            yield from batch
            position = batch[-1].offset + batch[-1].length

    def _below(self, live: DeviceTable, offset: int, end: int) -> Iterator[Extent]:
        for target, begin, stop in live.pieces(offset, end - offset):
            shift = target.zero_byte
            for extent in target.device._extents(begin - shift, stop - begin):
                yield extent._replace(offset=extent.offset + shift) if shift else extent


def _pass_on(above: Completion, below: Completion) -> None:
    above.finish(below.error)
