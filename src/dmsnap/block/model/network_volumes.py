"""Volumes of a cloud, behind a network."""

from __future__ import annotations

from dmsnap.block.model.spec import DriveSpec, Figure, Parameter

__all__ = ["NETWORK_1MS", "NETWORK_5MS"]

_EBS = "guide"
_IOPS = 3000.0
_RATE = 125.0 * 1024 * 1024


def _volume(latency_ms: float) -> DriveSpec:
    rest = latency_ms / 1000 - 1 / _IOPS - 4096 / _RATE
    return DriveSpec(
        description=f"a network volume of {latency_ms:g} ms: Amazon EBS gp3 as it comes, 3,000 IOPS, 125 MiB/s",
        kind="parallel",
        sources={_EBS: "Amazon EBS User Guide, General Purpose SSD volumes: gp3"},
        parameters={
            "capacity_bytes": Parameter(16 * 2**40, "bytes", f"{_EBS}: 1 GiB to 16 TiB when introduced (2020)"),
            "queue_depth": Parameter(256, "commands", "assumed: more than the limit on IOPS lets be under way"),
            "max_iops": Parameter(_IOPS, "commands/s", f"{_EBS}: baseline of every volume"),
            "latency_seconds": Parameter(
                rest, "s", f"derived: {latency_ms:g} ms, as the model is called, less the time of controller and link"
            ),
            "latency_spread": Parameter(0.2, "", "assumed: nothing is published but single-digit milliseconds"),
            "units": Parameter(0, "", "assumed: the servers behind a volume are never what it waits for"),
            "unit_bytes": Parameter(4096, "bytes", "of no effect without units"),
            "link_bytes_per_second": Parameter(_RATE, "bytes/s", f"{_EBS}: baseline throughput of every volume"),
        },
        published={
            "iops_1": Figure(1000 / latency_ms, "1/s", f"derived: 1 / {latency_ms:g} ms", given=True),
            "iops_32": Figure(_IOPS, "1/s", f"{_EBS}: baseline", given=True),
            "stream": Figure(_RATE / 1e6, "MB/s", f"{_EBS}: baseline", given=True),
        },
    )


NETWORK_1MS = _volume(1)
"""As fast as such a volume gets."""

NETWORK_5MS = _volume(5)
"""In the middle of "single-digit milliseconds"."""
