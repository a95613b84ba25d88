"""Solid-state drives."""

from __future__ import annotations

from dmsnap.block.model.spec import DriveSpec, Figure, Parameter

__all__ = ["NVME", "SATA_SSD"]


def _solid_state(
    *,
    description: str,
    sheet: str,
    capacity_bytes: int,
    queue_depth: Parameter,
    iops_at_depth_1: float,
    max_iops: float,
    stream_mb_per_second: float,
    dies: Parameter,
    iops_32: Figure,
) -> DriveSpec:
    rate = stream_mb_per_second * 1e6
    rest = 1 / iops_at_depth_1 - 1 / max_iops - 4096 / rate
    return DriveSpec(
        description=description,
        kind="parallel",
        parameters={
            "capacity_bytes": Parameter(capacity_bytes, "bytes", sheet),
            "queue_depth": queue_depth,
            "max_iops": Parameter(max_iops, "commands/s", f"{sheet}: random read, 4 KiB, most"),
            "latency_seconds": Parameter(
                rest,
                "s",
                f"derived: 1 / {iops_at_depth_1:,.0f} IOPS ({sheet}: random read, depth 1) less link, controller",
            ),
            "latency_spread": Parameter(0.0, "", "assumed: nothing is published"),
            "units": dies,
            "unit_bytes": Parameter(16384, "bytes", "assumed: a flash page, as usual for this generation"),
            "link_bytes_per_second": Parameter(rate, "bytes/s", f"{sheet}: sequential read"),
        },
        published={
            "iops_1": Figure(iops_at_depth_1, "1/s", f"{sheet}: random read, 4 KiB, depth 1", given=True),
            "iops_32": iops_32,
            "stream": Figure(stream_mb_per_second, "MB/s", f"{sheet}: sequential read", given=True),
        },
    )


_PRO_850 = "Samsung SSD 850 PRO data sheet, Rev. 2.0 (2014), 512 GB"
_PRO_970 = "Samsung SSD 970 PRO data sheet, Rev. 1.0 (2018), 1 TB"

SATA_SSD = _solid_state(
    description="a SATA solid-state drive: Samsung 850 PRO, 512 GB (2014)",
    sheet=_PRO_850,
    capacity_bytes=512_110_190_592,
    queue_depth=Parameter(32, "commands", "Serial ATA 2.5 and later: native command queuing has 32 tags"),
    iops_at_depth_1=10_000,
    max_iops=100_000,
    stream_mb_per_second=550,
    dies=Parameter(48, "dies", "derived: 512 GB of dies of 86 Gbit (32-layer V-NAND, 2 bits a cell)"),
    iops_32=Figure(100_000, "1/s", f"{_PRO_850}: random read, 4 KiB, depth 32"),
)

NVME = _solid_state(
    description="an NVMe solid-state drive: Samsung 970 PRO, 1 TB (2018)",
    sheet=_PRO_970,
    capacity_bytes=1_024_209_543_168,
    queue_depth=Parameter(1024, "commands", "Linux nvme driver: queues of 1,024 commands"),
    iops_at_depth_1=15_000,
    max_iops=500_000,
    stream_mb_per_second=3_500,
    dies=Parameter(32, "dies", "derived: 1 TB of dies of 256 Gbit (64-layer V-NAND, 2 bits a cell)"),
    iops_32=Figure(500_000, "1/s", f"{_PRO_970}: random read, 4 KiB, depth 32 by 4 threads"),
)
