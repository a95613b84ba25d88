"""Drives with turning platters and one arm."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dmsnap.block.model.drive import Command, Drive
from dmsnap.block.model.geometry import SECTOR_BYTES, Geometry, Place
from dmsnap.block.model.host_queue import HostQueue
from dmsnap.block.model.track_buffer import TrackBuffer

__all__ = ["Mechanics", "Order", "RotatingDrive", "Spent"]

Order = Literal["sptf", "elevator", "fifo"]
"""In which order a drive takes the commands it has: shortest positioning time first, ascending places, or as given."""

_ALMOST_A_TURN = 1 - 1e-6  # rounding must not turn "just now" into a whole turn
_MIB = 1 << 20


@dataclass(frozen=True)
class Mechanics:
    """What moves, and how fast.

    Attributes:
        revolution_seconds: Of a turn.
        seek_seconds: By distance in cylinders; 0 for 0.
        head_switch_seconds: To another head, however short the way.
        write_settle_seconds: More, before a write.
    """

    revolution_seconds: float
    seek_seconds: Sequence[float]
    head_switch_seconds: float
    write_settle_seconds: float


@dataclass
class Spent:
    """What the time of the mechanism went into.

    Attributes:
        commands: How many it has served; the track buffer's are not among them.
        seeking_seconds: Moving the arm, switching heads.
        turning_seconds: Waiting for a sector to come round.
        transferring_seconds: Reading and writing.
    """

    commands: int = 0
    seeking_seconds: float = 0.0
    turning_seconds: float = 0.0
    transferring_seconds: float = 0.0


class RotatingDrive(Drive):
    """One command after another: move the arm, wait for the sector, transfer; then choose the next.

    A command that meets a drive at rest costs `overhead_seconds` first; with others in the queue that is done
    meanwhile. At rest the drive reads on into its buffer, and does a command that goes on from there without a new
    start.

    Args:
        geometry: Where sectors lie.
        mechanics: How fast things move.
        overhead_seconds: Of a command, before the arm moves.
        hit_seconds: Of a command that finds its data in the buffer.
        bus_bytes_per_second: To the host.
        buffer: Of the drive.
        queue_depth: Commands it takes at once.
        order: In which order it serves them.
        host_queue: For those it has no room for.
        seed: Draws the angle of the platters and where the arm is at time 0.

    Attributes:
        spent: Where the time went.
    """

    def __init__(
        self,
        geometry: Geometry,
        mechanics: Mechanics,
        *,
        overhead_seconds: float,
        hit_seconds: float,
        bus_bytes_per_second: float,
        buffer: TrackBuffer,
        queue_depth: int,
        order: Order,
        host_queue: HostQueue,
        seed: int,
    ) -> None:
        capacity = geometry.sectors * SECTOR_BYTES
        super().__init__(capacity, capacity // 10 // _MIB * _MIB, queue_depth, host_queue)
        self.spent = Spent()
        self._geometry = geometry
        self._revolution = mechanics.revolution_seconds
        self._seek = mechanics.seek_seconds
        self._head_switch = mechanics.head_switch_seconds
        self._write_settle = mechanics.write_settle_seconds
        self._overhead = overhead_seconds
        self._hit = hit_seconds
        self._bus_rate = bus_bytes_per_second
        self._bus_free = 0.0
        self._buffer = buffer
        self._order = order
        self._waiting: list[tuple[Place, Command]] = []
        self._swept = 0  # how far the elevator has come
        self._active = False
        self._reading_on: tuple[int, float, float] | None = None  # since which sector, when, and sectors a second
        draw = random.Random(seed)  # noqa: S311 - a simulation
        self._phase = draw.random()
        self._cylinder = draw.randrange(geometry.cylinders)
        self._head = draw.randrange(geometry.heads)

    # -- what comes in ------------------------------------------------------------------------------------------------

    def _accept(self, command: Command) -> None:
        first, end = _sectors(command)
        if command.write:
            self._buffer.forget(first, end)
        elif self._at_hand(first, end):
            self._bus_free = max(self._bus_free, self.now) + self._hit + command.length / self._bus_rate
            self._done_at(self._bus_free, command)
            return
        elif not self._active and self._reading_on is not None:
            since, when, rate = self._reading_on
            if since <= first <= since + self._buffer.segment_sectors:
                self._active = True
                self._reading_on = None
                self._rest_at(end - 1)
                ready = max(when + (end - since) / rate, self.now + self._hit)
                self.spent.commands += 1
                self.spent.transferring_seconds += ready - self.now
                self._finish(ready, command)
                return
        self._waiting.append((self._geometry.place(first), command))
        if not self._active:
            self._active = True
            self._at(self.now + self._overhead, self._serve, command)

    def _at_hand(self, first: int, end: int) -> bool:
        if self._reading_on is not None:
            since, _, _ = self._reading_on
            self._buffer.add(since, self._read_until())
        return self._buffer.holds(first, end)

    # -- the mechanism ------------------------------------------------------------------------------------------------

    def _serve(self, _: Command | None = None) -> None:
        """Chooses a command and does it."""
        if self._reading_on is not None:
            until = self._read_until()
            self._buffer.add(self._reading_on[0], until)
            self._rest_at(until - 1)
            self._reading_on = None
        place, command = self._waiting.pop(self._next())
        self._swept = command.offset
        spent = self.spent
        spent.commands += 1
        sector, end = _sectors(command)
        time = self.now
        while True:
            arm = self._arm_seconds(place, command)
            wait = self._turn_seconds(place.angle, time + arm)
            count = min(end - sector, place.left_sectors)
            transfer = count / place.sectors_per_track * self._revolution
            time += arm + wait + transfer
            spent.seeking_seconds += arm
            spent.turning_seconds += wait
            spent.transferring_seconds += transfer
            self._cylinder, self._head = place.cylinder, place.head
            sector += count
            if sector == end:
                break
            place = self._geometry.place(sector)
        self._finish(time, command)

    def _finish(self, time: float, command: Command) -> None:
        """Has the mechanism free at a time, and the command done when the bus has brought the rest of its data."""
        self._at(time, self._go_on, command)
        self._done_at(time + min(command.length, 8 * SECTOR_BYTES) / self._bus_rate, command)

    def _go_on(self, command: Command) -> None:
        first, end = _sectors(command)
        if not command.write:
            self._buffer.add(first, end)
        if self._waiting:
            self._serve()
            return
        self._active = False
        if end < self._geometry.sectors:
            per_track = self._geometry.place(end - 1).sectors_per_track
            self._reading_on = end, self.now, per_track / ((1 + self._geometry.skew.track) * self._revolution)

    def _rest_at(self, sector: int) -> None:
        place = self._geometry.place(sector)
        self._cylinder, self._head = place.cylinder, place.head

    def _read_until(self) -> int:
        """The sector that reading on has come to by now."""
        assert self._reading_on is not None
        since, when, rate = self._reading_on
        ahead = min(int((self.now - when) * rate), self._buffer.segment_sectors)
        return min(since + ahead, self._geometry.sectors)

    # -- times and choice ---------------------------------------------------------------------------------------------

    def _arm_seconds(self, place: Place, command: Command) -> float:
        seconds = self._seek[abs(place.cylinder - self._cylinder)]
        if place.head != self._head:
            seconds = max(seconds, self._head_switch)
        return seconds + self._write_settle if command.write else seconds

    def _turn_seconds(self, angle: float, time: float) -> float:
        turn = (angle - self._phase - time / self._revolution) % 1.0
        return turn * self._revolution if turn < _ALMOST_A_TURN else 0.0

    def _next(self) -> int:
        """Which of the waiting commands to serve."""
        waiting = self._waiting
        if len(waiting) == 1 or self._order == "fifo":
            return 0
        if self._order == "elevator":
            offsets = [command.offset for _, command in waiting]
            return min(range(len(offsets)), key=lambda at: (offsets[at] < self._swept, offsets[at]))
        best, least = 0, float("inf")
        # The innermost loop of a simulation: `_arm_seconds` and `_turn_seconds` written out, in turns.
        seek, revolution, switch, settle = self._seek, self._revolution, self._head_switch, self._write_settle
        cylinder, head = self._cylinder, self._head
        now = self._phase + self.now / revolution
        for at, (place, command) in enumerate(waiting):
            distance = place[0] - cylinder
            arm = seek[distance if distance >= 0 else -distance]
            if place[1] != head and arm < switch:
                arm = switch
            if command.write:
                arm += settle
            turn = (place[2] - now - arm / revolution) % 1.0
            cost = arm + turn * revolution if turn < _ALMOST_A_TURN else arm
            if cost < least:
                best, least = at, cost
        return best


def _sectors(command: Command) -> tuple[int, int]:
    """The first sector of a command and the one after its last."""
    return command.offset // SECTOR_BYTES, -(-(command.offset + command.length) // SECTOR_BYTES)
