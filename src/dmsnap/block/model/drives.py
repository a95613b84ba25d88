"""The drives that can be modelled, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dmsnap.block.model.drive import Drive
from dmsnap.block.model.flash import NVME, SATA_SSD
from dmsnap.block.model.network_volumes import NETWORK_1MS, NETWORK_5MS
from dmsnap.block.model.parallel import ParallelDrive
from dmsnap.block.model.spec import DriveSpec
from dmsnap.errors import DmsnapError

__all__ = ["DRIVES", "UnknownDrive", "make_drive"]

DRIVES: Mapping[str, DriveSpec] = MappingProxyType(
    {
        "sata-ssd": SATA_SSD,
        "nvme": NVME,
        "network-1ms": NETWORK_1MS,
        "network-5ms": NETWORK_5MS,
    }
)


class UnknownDrive(DmsnapError, ValueError):
    """There is no model of that name."""


def make_drive(name: str, seed: int = 0) -> Drive:
    """Returns a new drive, at rest at time 0.

    Args:
        name: One of `DRIVES`.
        seed: What differs between two drives of a kind comes from it; the same seed always gives the same.

    Raises:
        UnknownDrive: There is no model of that name.
    """
    spec = DRIVES.get(name)
    if spec is None:
        raise UnknownDrive(f"no model of a drive is called {name!r}", hint=f"use one of {', '.join(DRIVES)}")
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
