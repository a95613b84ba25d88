"""Solid-state drives."""

from __future__ import annotations

from dmsnap.block.model.spec import DriveSpec, Figure, Parameter

__all__ = ["NVME", "SATA_SSD"]

_SHEET = "data sheet"


def _solid_state(
    *,
    description: str,
    document: str,
    capacity_bytes: int,
    queue_depth: Parameter,
    iops_at_depth_1: float,
    max_iops: float,
    stream_mb_per_second: float,
    units: Parameter,
    deep: str,
    deep_words: str,
) -> DriveSpec:
    rate = stream_mb_per_second * 1e6
    rest = 1 / iops_at_depth_1 - 1 / max_iops - 4096 / rate
    return DriveSpec(
        description=description,
        kind="parallel",
        sources={_SHEET: document},
        parameters={
            "capacity_bytes": Parameter(capacity_bytes, "bytes", _SHEET),
            "queue_depth": queue_depth,
            "max_iops": Parameter(max_iops, "commands/s", f"{_SHEET}: random read, 4 KiB, most"),
            "latency_seconds": Parameter(
                rest,
                "s",
                f"derived: 1 / {iops_at_depth_1:,.0f} IOPS ({_SHEET}: random read, depth 1) less link, controller",
            ),
            "latency_spread": Parameter(0.0, "", "assumed: nothing is published"),
            "units": units,
            "unit_bytes": Parameter(16384, "bytes", "assumed: a flash page, as usual for this generation"),
            "link_bytes_per_second": Parameter(rate, "bytes/s", f"{_SHEET}: sequential read"),
        },
        published={
            "iops_1": Figure(iops_at_depth_1, "1/s", f"{_SHEET}: random read, 4 KiB, depth 1", given=True),
            deep: Figure(max_iops, "1/s", f"{_SHEET}: random read, 4 KiB, {deep_words}", given=True),
            "stream": Figure(stream_mb_per_second, "MB/s", f"{_SHEET}: sequential read", given=True),
        },
    )


SATA_SSD = _solid_state(
    description="a SATA solid-state drive: Samsung 850 PRO, 512 GB (2014)",
    document="Samsung SSD 850 PRO data sheet (2014)",
    capacity_bytes=512_110_190_592,
    queue_depth=Parameter(31, "commands", "Linux libata: 31 of the 32 tags of native command queuing"),
    iops_at_depth_1=10_000,
    max_iops=100_000,
    stream_mb_per_second=550,
    units=Parameter(48, "dies", "derived: 512 GB in dies of 86 Gbit (32-layer V-NAND, two bits a cell)"),
    deep="iops_32",
    deep_words="depth 32",
)

NVME = _solid_state(
    description="an NVMe solid-state drive: Samsung 970 EVO, 1 TB (2018)",
    document="Samsung SSD 970 EVO data sheet (2018)",
    capacity_bytes=1_000_204_886_016,
    queue_depth=Parameter(1023, "commands", "Linux nvme driver: queues of 1,024 places"),
    iops_at_depth_1=15_000,
    max_iops=500_000,
    stream_mb_per_second=3_400,
    units=Parameter(64, "planes", "derived: 32 dies of 256 Gbit; assumed: two planes of a die read independently"),
    deep="iops_128",
    deep_words="depth 32 by 4 threads",
)
