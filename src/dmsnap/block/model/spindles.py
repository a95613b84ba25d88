"""Drives with platters: one of 15,000 turns a minute, one of 7,200."""

from __future__ import annotations

from dmsnap.block.model.spec import DriveSpec, Figure, Parameter

__all__ = ["SATA_7200", "SCSI_15K"]

_SHEET_15K = "data sheet"
_DISKSIM = "DiskSim"

SCSI_15K = DriveSpec(
    description="a SCSI drive of 15,000 turns a minute: Seagate Cheetah 15K.5, 146 GB (2006)",
    kind="rotating",
    sources={
        _SHEET_15K: "Seagate Cheetah 15K.5 data sheet (2006)",
        _DISKSIM: "the model Seagate-Cheetah15k5 for DiskSim 4.0, Carnegie Mellon University's disk simulator, "
        "measured on an ST3146855FC: the same drive on Fibre Channel",
    },
    parameters={
        "turns_per_minute": Parameter(15020, "1/min", f"{_DISKSIM} (nominally 15,000)"),
        "turns_spread": Parameter(0.00035147, "", f"{_DISKSIM}: error in the speed; drawn from the seed"),
        "heads": Parameter(4, "", _DISKSIM),
        "zones": Parameter(
            (
                (7801, 1200),
                (6400, 1160),
                (6000, 1120),
                (5700, 1104),
                (5400, 1080),
                (5100, 1020),
                (4900, 994),
                (4700, 960),
                (4500, 920),
                (4400, 880),
                (4200, 840),
                (4100, 816),
                (4000, 780),
                (4970, 720),
            ),
            "cylinders, sectors a track",
            _DISKSIM,
        ),
        "stretch_tracks": Parameter(65, "tracks", f"{_DISKSIM}: of a serpentine, outermost zone; taken for all zones"),
        "track_skew": Parameter(0.14167, "turns", _DISKSIM),
        "head_skew": Parameter(0.1894, "turns", f"{_DISKSIM}: from the first and second stretch"),
        "stretch_skew": Parameter(0.3707, "turns", f"{_DISKSIM}: from the first and second stretch"),
        "seeks": Parameter(
            (
                (1, 0.5525),
                (2, 0.5695),
                (3, 0.5974),
                (4, 0.755),
                (7, 0.7863),
                (15, 0.806),
                (45, 0.8366),
                (60, 1.129),
                (100, 1.1398),
                (200, 1.156),
                (300, 1.2555),
                (400, 1.4921),
                (600, 1.5038),
                (1000, 1.6364),
                (2000, 1.9977),
                (4000, 2.1993),
                (7000, 2.6074),
                (10000, 2.9855),
                (20000, 3.6658),
                (30000, 4.3137),
                (40000, 4.8433),
                (50000, 5.5516),
                (60000, 6.1209),
                (72000, 6.9139),
            ),
            "cylinders, ms",
            f"{_DISKSIM}: 24 of the 342 points; they include the overhead of the command",
        ),
        "head_switch_ms": Parameter(
            0.743, "ms", "derived: what the head skew leaves time for, with the slack that the track skew leaves"
        ),
        "write_settle_ms": Parameter(0.5, "ms", f"{_SHEET_15K}: average seek of writes less that of reads"),
        "overhead_ms": Parameter(0.0, "ms", "in the seek times"),
        "hit_ms": Parameter(0.162, "ms", f"{_DISKSIM}: overhead of a read hit"),
        "bus_bytes_per_second": Parameter(320e6, "bytes/s", f"{_SHEET_15K}: Ultra320 SCSI"),
        "buffer_segments": Parameter(32, "", _DISKSIM),
        "segment_sectors": Parameter(1200, "sectors", f"{_DISKSIM}; as far does it read ahead"),
        "queue_depth": Parameter(64, "commands", "Linux mptscsih driver (LSI Ultra320): commands it gives a device"),
    },
    published={
        "seek": Figure(3.5, "ms", f"{_SHEET_15K}: average seek, reads"),
        "rotation": Figure(2.0, "ms", f"{_SHEET_15K}: average latency"),
        "iops_1": Figure(
            1000 / (3.5 + 0.2 + 2.0), "1/s", f"derived: 1 / (3.5 + 2.0 ms as in the {_SHEET_15K} + 0.2 ms overhead)"
        ),
        "stream": Figure(125, "MB/s", f"{_SHEET_15K}: sustained transfer rate, outermost"),
    },
)
"""The one spindle of Linux dm-snapshot's comment on its 12 chunks (2014) was a 15k SCSI drive, which is not named."""


_MANUAL_7200 = "manual"
_EXOS = "Exos"
_MEASURED = "fio logs"
_ZONES = 16
_TRACKS = 123_148
_AVERAGE_SECTORS = 83.37e9 / _TRACKS / 512
_RATIO = 142 / 75


def _even_zones() -> tuple[tuple[float, float], ...]:
    """Zones of as many cylinders each, whose sectors a track fall evenly, with the average and ratio given."""
    inner = 2 * _AVERAGE_SECTORS / (1 + _RATIO)
    fall = inner * (_RATIO - 1) / (_ZONES - 1)
    return tuple((_TRACKS // _ZONES, round(inner + fall * (_ZONES - 1 - zone))) for zone in range(_ZONES))


SATA_7200 = DriveSpec(
    description="a SATA drive of 7,200 turns a minute: Seagate Constellation, 500 GB, 2.5 inch (2009)",
    kind="rotating",
    sources={
        _MANUAL_7200: "Seagate Constellation SAS product manual, Rev. E, ST9500430SS; assumed: the mechanics of the "
        "SATA drive ST9500530NS are the same",
        _EXOS: "Seagate Exos M data sheet (DS2045): another drive of this speed",
        _MEASURED: "github.com/get-set/fio-bench-disks-ceph, disks/iodepth: fio 3.7 on a file of 5 GiB, direct, on one "
        "SAS drive of this speed and some 4 TB, its model not named, behind a RAID controller",
    },
    parameters={
        "turns_per_minute": Parameter(7200, "1/min", _MANUAL_7200),
        "turns_spread": Parameter(
            0.002,
            "",
            "assumed: ± 0.2 %, as in the Seagate Constellation ES Serial ATA product manual; drawn from the seed",
        ),
        "heads": Parameter(6, "", _MANUAL_7200),
        "zones": Parameter(
            _even_zones(),
            "cylinders, sectors a track",
            f"{_MANUAL_7200}: 123,148 tracks and 83,370 MB a surface; 142 MB/s outermost to 75 innermost; assumed: 16 "
            "zones of like width, falling evenly",
        ),
        "stretch_tracks": Parameter(65, "tracks", "assumed: as the Cheetah 15K.5 of the same maker"),
        "track_skew": Parameter(0.0615, "turns", "derived: the single track seek, and 2.5 % slack as the Cheetah has"),
        "head_skew": Parameter(0.0825, "turns", "derived: the head switch, and 2.5 % slack"),
        "stretch_skew": Parameter(0.0945, "turns", "derived: a seek over a stretch, and 2.5 % slack"),
        "single_track_ms": Parameter(0.5, "ms", f"{_MANUAL_7200}: reads, without overhead"),
        "average_seek_ms": Parameter(8.0, "ms", f"{_MANUAL_7200}: reads, without overhead"),
        "full_stroke_ms": Parameter(17.35, "ms", f"{_MANUAL_7200}: reads, without overhead"),
        "head_switch_ms": Parameter(0.67, "ms", "assumed: to the single track seek as on the Cheetah 15K.5"),
        "write_settle_ms": Parameter(0.4, "ms", f"{_MANUAL_7200}: average seek of writes less that of reads"),
        "overhead_ms": Parameter(0.2, "ms", f"{_MANUAL_7200}: access time with overhead less that without"),
        "hit_ms": Parameter(0.1, "ms", "assumed: half the overhead"),
        "bus_bytes_per_second": Parameter(300e6, "bytes/s", "Serial ATA 3 Gbit/s"),
        "buffer_segments": Parameter(32, "", "assumed: as the Cheetah 15K.5"),
        "segment_sectors": Parameter(1730, "sectors", "assumed: the longest track, as on the Cheetah 15K.5"),
        "queue_depth": Parameter(31, "commands", "Linux libata: 31 of the 32 tags of native command queuing"),
    },
    published={
        "seek": Figure(8.0, "ms", f"{_MANUAL_7200}: average, reads", given=True),
        "rotation": Figure(4.16, "ms", f"{_MANUAL_7200}: average rotational latency", given=True),
        "iops_1": Figure(
            1000 / (8.0 + 0.2 + 4.16), "1/s", f"derived: 1 / (8.0 + 4.16 + 0.2 ms overhead as in the {_MANUAL_7200})"
        ),
        "iops_16": Figure(170, "1/s", f"{_EXOS}: random read, 4 KiB, depth 16"),
        "iops_32_near": Figure(684, "1/s", f"{_MEASURED}: 4 KiB randread, iodepth 32"),
        "stream": Figure(100, "MB/s", f"{_MANUAL_7200}: sustained transfer rate, most"),
    },
)
