"""Drives without mechanics: many parts work at once (flash dies, servers behind a network) and share one link."""

from __future__ import annotations

import random

from dmsnap.block.model.drive import Command, Drive
from dmsnap.block.model.host_queue import Fifo

__all__ = ["ParallelDrive"]

_MIX = 0x9E3779B97F4A7C15  # the golden ratio in 64 bits: multiplying by it spreads neighbours (Knuth, TAOCP 6.4)


class ParallelDrive(Drive):
    """A command passes three stages: the controller, one of the units, the link.

    The controller begins a command every ``1 / max_iops`` seconds, which is the limit on commands a second. A unit then
    takes ``latency_seconds``; which one is drawn, from the seed, for each stretch of ``unit_bytes``, and two commands
    for the same unit wait for each other. The link brings the bytes one command after another.

    Args:
        capacity_bytes: Size.
        queue_depth: Commands it takes at once.
        max_iops: Commands a second at most.
        latency_seconds: Of a unit, for one command, on average.
        latency_spread: Latencies lie evenly within this part of the average: 0.2 is ± 20 %.
        units: How many work at once; 0 means as many as there are commands.
        unit_bytes: How much of the address space lies in one unit before the next one is drawn.
        link_bytes_per_second: Of the link that all share.
        seed: Draws the units and the latencies.
    """

    def __init__(
        self,
        *,
        capacity_bytes: int,
        queue_depth: int,
        max_iops: float,
        latency_seconds: float,
        latency_spread: float,
        units: int,
        unit_bytes: int,
        link_bytes_per_second: float,
        seed: int,
    ) -> None:
        super().__init__(capacity_bytes, 0, queue_depth, Fifo())
        self._interval = 1 / max_iops
        self._latency = latency_seconds
        self._spread = latency_spread
        self._units_free = [0.0] * units  # when each will have nothing left to do
        self._unit_bytes = unit_bytes
        self._link_rate = link_bytes_per_second
        self._random = random.Random(seed)  # noqa: S311 - a simulation
        self._salt = self._random.getrandbits(64)
        self._controller_free = 0.0
        self._link_free = 0.0

    def _accept(self, command: Command) -> None:
        self._controller_free = max(self._controller_free, self.now) + self._interval
        self._at(self._controller_free, self._begin, command)

    def _begin(self, command: Command) -> None:
        begin, units = self.now, self._units_free
        latency = self._latency * (1 + self._spread * (2 * self._random.random() - 1))
        if units:
            mixed = ((command.offset // self._unit_bytes ^ self._salt) * _MIX & 0xFFFFFFFFFFFFFFFF) >> 20
            unit = mixed % len(units)
            begin = max(begin, units[unit])
            units[unit] = begin + latency
        self._at(begin + latency, self._transfer, command)

    def _transfer(self, command: Command) -> None:
        self._link_free = max(self._link_free, self.now) + command.length / self._link_rate
        self._done_at(self._link_free, command)
