"""A device whose time is that of a modelled drive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import BadRequest, BlockDevice, IOFailed, ReadRequest
from dmsnap.block.model.drive import Command, Drive
from dmsnap.block.wrap.wrapper import Wrapper

__all__ = ["ModelDevice"]


class ModelDevice(Wrapper):
    """Gives a device's content in the time that a drive would take. Nobody sleeps: the time is simulated.

    The content comes from ``device`` as soon as it is asked for. When a read counts as done, `clock` tells, and it
    moves only while somebody waits for a read or write (that very one, or all of which it is one). So the time between
    two requests is none, and the same requests always take the same time. In the main thread a wait costs some 50
    microseconds of real time more than in any other, since there Ctrl-C must not stop a drive half-way.

    Writes wait until they are on the medium, and a flush has nothing left to do; `prefetch`, `discard` and `extents`
    take no time. Several devices may share a drive.

    Attributes:
        drive: The model.
        start_bytes: Where on the drive the device begins; it lies there in one piece.

    Raises:
        BadRequest: The device would reach over the end of the drive.
    """

    def __init__(self, device: BlockDevice, drive: Drive, *, start_bytes: int | None = None) -> None:
        super().__init__(device)
        self.drive = drive
        self.start_bytes = drive.start_bytes if start_bytes is None else start_bytes
        end = self.start_bytes + device.size_bytes
        if self.start_bytes < 0 or end > drive.capacity_bytes:
            raise BadRequest(
                f"{self.name}: would end at byte {end} of a drive of {drive.capacity_bytes} bytes",
                hint="choose a larger model or a smaller device",
                device=self.name,
            )

    def clock(self) -> float:
        return self.drive.now

    def _read_into(self, offset: int, view: memoryview) -> None:
        self._start_reads(((offset, view),))[0].wait()

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        places = [self._place(offset, len(view)) for offset, view in requests]
        reads = [_Timed(self.drive, content) for content in super()._start_reads(requests)]
        with self.drive.lock:
            for place, (_, view), read in zip(places, requests, reads, strict=True):
                self.drive.submit(Command(place, len(view), owner=read))
        return list(reads)

    def _write_at(self, offset: int, view: memoryview) -> None:
        self._timed_write(offset, len(view), lambda: super(ModelDevice, self)._write_at(offset, view))

    def _write_durably(self, offset: int, view: memoryview) -> None:
        self._timed_write(offset, len(view), lambda: super(ModelDevice, self)._write_durably(offset, view))

    def _zero(self, offset: int, length: int) -> None:
        self._timed_write(offset, length, lambda: super(ModelDevice, self)._zero(offset, length))

    def _timed_write(self, offset: int, length: int, write: Callable[[], None]) -> None:
        write()
        written = _Timed(self.drive, COMPLETED)
        with self.drive.lock:
            self.drive.submit(Command(self._place(offset, length), length, write=True, owner=written))
        written.wait()

    def _place(self, offset: int, length: int) -> int:
        place = self.start_bytes + offset
        if place + length > self.drive.capacity_bytes:  # the device has grown
            raise IOFailed(f"{self.name}: byte {offset} lies past the end of the drive", device=self.name)
        return place

    def _close(self) -> None:
        while True:
            with self.drive.lock:
                if not self.drive.busy:
                    break
                command = _next_done(self.drive)
            command.deliver()
        super()._close()


class _Timed(Completion):
    """A read or write that is done once the drive is; the content may come from a device that waits in real time."""

    __slots__ = ("arrived", "content", "drive")

    def __init__(self, drive: Drive, content: Completion) -> None:
        super().__init__()
        self.drive = drive
        self.content = content
        self.arrived = False  # the drive is done; who made it run is about to call `deliver`

    def wait(self) -> None:
        if not self.done:
            if threading.current_thread() is threading.main_thread():  # where Ctrl-C could lose a command half-way
                runner = threading.Thread(target=self._run, name="simulated-drive", daemon=True)
                runner.start()
                runner.join()
            else:
                self._run()
        super().wait()

    def _run(self) -> None:
        """Lets time pass until this is done, or another thread is about to finish it."""
        while not self.done:
            with self.drive.lock:
                if self.arrived:
                    return
                first = _next_done(self.drive)
            first.deliver()

    def deliver(self) -> None:
        """Finishes it, with the error of the content if there is one. Lock: not taken, since callbacks run."""
        try:
            self.content.wait()
        except Exception as error:  # noqa: BLE001 - it is for who waits for this read
            self.finish(error)
        else:
            self.finish()


def _next_done(drive: Drive) -> _Timed:
    """Lets time pass until one is done. Lock: taken."""
    timed = drive.run().owner
    assert isinstance(timed, _Timed), "a drive in use by a device got a command from elsewhere"
    timed.arrived = True
    return timed
