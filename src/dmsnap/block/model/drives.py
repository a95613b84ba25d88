"""The drives that can be modelled, by name, and how each is made of its parameters."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Literal

from dmsnap.block.model.drive import Drive
from dmsnap.block.model.flash import NVME, SATA_SSD
from dmsnap.block.model.geometry import Geometry, Skew, Zone
from dmsnap.block.model.host_queue import Elevator, Fifo, HostQueue
from dmsnap.block.model.network_volumes import NETWORK_1MS, NETWORK_5MS
from dmsnap.block.model.parallel import ParallelDrive
from dmsnap.block.model.rotating import Mechanics, Order, RotatingDrive
from dmsnap.block.model.seek import fitted_seeks, measured_seeks
from dmsnap.block.model.spec import DriveSpec
from dmsnap.block.model.spindles import SATA_7200, SCSI_15K
from dmsnap.block.model.track_buffer import TrackBuffer
from dmsnap.errors import DmsnapError

__all__ = ["DRIVES", "UnknownDrive", "make_drive"]

DRIVES: Mapping[str, DriveSpec] = MappingProxyType(
    {
        "scsi-15k": SCSI_15K,
        "sata-7200": SATA_7200,
        "sata-ssd": SATA_SSD,
        "nvme": NVME,
        "network-1ms": NETWORK_1MS,
        "network-5ms": NETWORK_5MS,
    }
)


class UnknownDrive(DmsnapError, ValueError):
    """There is no model of that name."""


def make_drive(
    name: str, seed: int = 0, *, order: Order = "sptf", host_order: Literal["elevator", "fifo"] = "elevator"
) -> Drive:
    """Returns a new drive, at rest at time 0.

    Args:
        name: One of `DRIVES`.
        seed: What differs between two drives of a kind comes from it; the same seed always gives the same.
        order: In which order a rotating drive serves the commands it has.
        host_order: In which order the host hands out those that the drive has no room for; to a drive without
            mechanics always ``fifo``, as Linux does.

    Raises:
        UnknownDrive: There is no model of that name.
    """
    spec = DRIVES.get(name)
    if spec is None:
        raise UnknownDrive(f"no model of a drive is called {name!r}", hint=f"use one of {', '.join(DRIVES)}")
    if spec.kind == "parallel":
        return _parallel(spec, seed)
    return _rotating(name, spec, seed, order, Elevator() if host_order == "elevator" else Fifo())


def _parallel(spec: DriveSpec, seed: int) -> Drive:
    return ParallelDrive(
        capacity_bytes=int(spec["capacity_bytes"]),
        queue_depth=int(spec["queue_depth"]),
        max_iops=spec["max_iops"],
        latency_seconds=spec["latency_seconds"],
        latency_spread=spec["latency_spread"],
        units=int(spec["units"]),
        unit_bytes=int(spec["unit_bytes"]),
        link_bytes_per_second=spec["link_bytes_per_second"],
        seed=seed,
    )


def _rotating(name: str, spec: DriveSpec, seed: int, order: Order, host_queue: HostQueue) -> Drive:
    zones = [Zone(int(cylinders), int(sectors)) for cylinders, sectors in spec.table("zones")]
    skew = Skew(spec["track_skew"], spec["head_skew"], spec["stretch_skew"])
    spread = spec["turns_spread"] * random.Random(seed).uniform(-1, 1)  # noqa: S311 - a simulation
    return RotatingDrive(
        Geometry(zones, int(spec["heads"]), int(spec["stretch_tracks"]), skew),
        Mechanics(
            revolution_seconds=60 / (spec["turns_per_minute"] * (1 + spread)),
            seek_seconds=_seeks(name),
            head_switch_seconds=spec["head_switch_ms"] / 1000,
            write_settle_seconds=spec["write_settle_ms"] / 1000,
        ),
        overhead_seconds=spec["overhead_ms"] / 1000,
        hit_seconds=spec["hit_ms"] / 1000,
        bus_bytes_per_second=spec["bus_bytes_per_second"],
        buffer=TrackBuffer(int(spec["buffer_segments"]), int(spec["segment_sectors"])),
        queue_depth=int(spec["queue_depth"]),
        order=order,
        host_queue=host_queue,
        seed=seed,
    )


@cache
def _seeks(name: str) -> Sequence[float]:
    """The seek times of a drive, which take a while to work out."""
    spec = DRIVES[name]
    cylinders = int(sum(count for count, _ in spec.table("zones")))
    if "seeks" in spec.parameters:
        return measured_seeks(spec.table("seeks"), cylinders)
    return fitted_seeks(spec["single_track_ms"], spec["average_seek_ms"], spec["full_stroke_ms"], cylinders)
