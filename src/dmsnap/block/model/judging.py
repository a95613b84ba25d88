"""What a modelled drive does, measured as one measures a drive, beside what is published of it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dmsnap.block.model.drive import Command, Drive
from dmsnap.block.model.drives import DRIVES, make_drive
from dmsnap.block.model.rotating import RotatingDrive
from dmsnap.block.model.spec import Figure

__all__ = ["FIGURES", "Judgement", "judge", "random_reads_per_second", "streaming_rate"]

FIGURES = {
    "seek": ("average seek", "ms"),
    "rotation": ("average rotational latency", "ms"),
    "iops_1": ("random reads of 4 KiB, depth 1", "1/s"),
    "iops_16": ("random reads of 4 KiB, depth 16", "1/s"),
    "iops_32": ("random reads of 4 KiB, depth 32", "1/s"),
    "iops_32_near": ("random reads of 4 KiB in the first 5 GiB, depth 32", "1/s"),
    "iops_128": ("random reads of 4 KiB, depth 128", "1/s"),
    "stream": ("reading in sequence, from the begin", "MB/s"),
}
"""The figures that a drive is judged by: key, what it is, unit."""

_READS = 4000
_NEAR_BYTES = 5 << 30
_STREAM_BYTES = 128 << 20
_PIECE_BYTES = 128 << 10


@dataclass(frozen=True)
class Judgement:
    """One figure of a drive.

    Attributes:
        key: Of `FIGURES`.
        published: What is published, if anything was found.
        modelled: What the model does, in the unit of the figure.
    """

    key: str
    published: Figure | None
    modelled: float

    @property
    def difference(self) -> float | None:
        """How far the model is off, as a part of the published figure."""
        return None if self.published is None else self.modelled / self.published.value - 1


def judge(name: str, seed: int = 0) -> list[Judgement]:
    """Measures a modelled drive: each published figure, and those that every drive is asked for.

    Args:
        name: Of the drive.
        seed: Of the drive, and of the places it is asked for.
    """
    published = DRIVES[name].published
    modelled: dict[str, float] = {}
    for depth in (1, 16, 32, 128):
        if depth in (1, 32) or f"iops_{depth}" in published:
            drive = make_drive(name, seed)
            modelled[f"iops_{depth}"] = random_reads_per_second(drive, depth, seed)
            if depth == 1 and isinstance(drive, RotatingDrive):
                modelled["seek"] = 1000 * drive.spent.seeking_seconds / drive.spent.commands
                modelled["rotation"] = 1000 * drive.spent.turning_seconds / drive.spent.commands
    if "iops_32_near" in published:
        near = random_reads_per_second(make_drive(name, seed), 32, seed, span_bytes=_NEAR_BYTES)
        modelled["iops_32_near"] = near
    modelled["stream"] = streaming_rate(make_drive(name, seed)) / 1e6
    return [Judgement(key, published.get(key), modelled[key]) for key in FIGURES if key in modelled]


def random_reads_per_second(
    drive: Drive, depth: int, seed: int = 0, *, count: int = _READS, span_bytes: int | None = None
) -> float:
    """Reads 4 KiB blocks all over a drive, always so many at once, and returns how many it does a second.

    Args:
        drive: At rest.
        depth: How many reads are under way.
        seed: Of the places.
        count: How many are measured; half as many, and at least the queue's fill, go before.
        span_bytes: Read only in so much of its begin.
    """
    draw = random.Random(seed)  # noqa: S311 - a simulation
    blocks = (span_bytes or drive.capacity_bytes) // 4096
    before = max(count // 2, depth) if depth > 1 else 0
    for _ in range(depth):
        drive.submit(Command(draw.randrange(blocks) * 4096, 4096))
    start = drive.now
    for done in range(before + count):
        if done == before:
            start = drive.now
        drive.run()
        drive.submit(Command(draw.randrange(blocks) * 4096, 4096))
    return count / (drive.now - start)


def streaming_rate(drive: Drive, depth: int = 8) -> float:
    """Reads on from the begin of a drive in pieces of 128 KiB, and returns the bytes a second.

    Args:
        drive: At rest.
        depth: How many reads are under way.
    """
    offsets = iter(range(0, _STREAM_BYTES, _PIECE_BYTES))
    for _ in range(depth):
        drive.submit(Command(next(offsets), _PIECE_BYTES))
    start = drive.now
    while drive.busy:
        drive.run()
        offset = next(offsets, None)
        if offset is not None:
            drive.submit(Command(offset, _PIECE_BYTES))
    return _STREAM_BYTES / (drive.now - start)
