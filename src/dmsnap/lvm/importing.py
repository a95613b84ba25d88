"""From the text of metadata to the volume group that it describes.

What makes the group unusable is an error; what is wrong with one volume is a finding, and the volume's ``problem``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from .contradictions import problems_of
from .fields import BadMetadata, names, number, section, string
from .finding import Finding, FindingKind
from .model import LogicalVolume, PhysicalVolume, Segment, VolumeGroup
from .segments import segment_of, segments_of_run
from .text import BadText, Section, Value, parse_text

__all__ = ["BadMetadata", "BadText", "group_of"]

CONTENTS = "Text Format Volume Group"
VERSION = 1
LARGEST_BYTES = (1 << 63) - 1
"""Of a physical or logical volume: Linux counts bytes in signed 64 bits."""
SECTOR_BYTES = 512

_NAME = re.compile(r"(?!-|\.\.?\Z)[A-Za-z0-9+_.-]{1,127}\Z")  # lvm(8), VALID NAMES
_SEGMENT_NAME = re.compile(r"segment[0-9]{1,10}\Z")
_GROUP_FIELDS = {"id", "seqno", "status", "flags", "extent_size", "tags"}
_VOLUME_FIELDS = {"id", "status", "flags", "tags", "segment_count"}


def group_of(text: bytes | bytearray, *, in_bulk: bool = True) -> tuple[VolumeGroup, tuple[Finding, ...]]:
    """Reads metadata.

    Args:
        text: One copy, as a metadata area or a backup holds it; a NUL and what follows it do not count.
        in_bulk: Read regular segments in bulk. The result is the same, ten times as fast in long texts.

    Returns:
        The group, and what is wrong with volumes of it: one finding for each such volume, the same as its ``problem``.

    Raises:
        BadText: It breaks the grammar, with line and column.
        BadMetadata: It does not describe a volume group.
    """
    root = parse_text(text, runs=in_bulk)
    groups = [(name, value) for name, value in root.items() if isinstance(value, Section)]
    if len(groups) != 1:
        raise BadMetadata(f"the metadata describes {len(groups) or 'no'} volume groups")
    if root.get("contents", CONTENTS) != CONTENTS or root.get("version", VERSION) != VERSION:
        raise BadMetadata(f"metadata of an unknown format: {root.get('contents')!a}, version {root.get('version')!a}")
    name, body = groups[0]
    if not _NAME.match(name):
        raise BadMetadata(f"volume group {_short(name)}: not a name for one")
    where = f"volume group {name}"
    extent_size = number(body, "extent_size", where, least=1)
    physical_volumes = {
        pv_name: _physical_volume(pv_name, _as_section(value, f"physical volume {_short(pv_name)}"), extent_size)
        for pv_name, value in section(body, "physical_volumes", where).items()
    }
    described = section(body, "logical_volumes", where)
    volumes = {lv_name: _volume(lv_name, value, physical_volumes) for lv_name, value in described.items()}
    problems = problems_of(volumes, physical_volumes, LARGEST_BYTES // SECTOR_BYTES // extent_size, extent_size)
    for lv_name, problem in problems.items():
        volumes[lv_name] = replace(volumes[lv_name], problem=problem)
    group = VolumeGroup(
        name=name,
        uuid=string(body, "id", where),
        seqno=number(body, "seqno", where),
        status=frozenset(names(body, "status", where)),
        flags=frozenset(names(body, "flags", where)),
        extent_size_sectors=extent_size,
        physical_volumes=physical_volumes,
        logical_volumes=volumes,
        tags=names(body, "tags", where),
        fields={
            key: value
            for key, value in (root | body).items()
            if key not in _GROUP_FIELDS and not isinstance(value, Section)
        },
    )
    findings = tuple(
        Finding(FindingKind.BAD_VOLUME, volume.problem, group=name, volume=volume.name)
        for volume in volumes.values()
        if volume.problem
    )
    return group, findings


def _physical_volume(name: str, body: Section, extent_size: int) -> PhysicalVolume:
    where = f"physical volume {_short(name)}"
    volume = PhysicalVolume(
        name=name,
        uuid=string(body, "id", where),
        device=string(body, "device", where, default=""),
        status=frozenset(names(body, "status", where)),
        flags=frozenset(names(body, "flags", where)),
        device_size_sectors=number(body, "dev_size", where, default=0),
        first_extent_sector=number(body, "pe_start", where),
        extent_count=number(body, "pe_count", where),
        tags=names(body, "tags", where),
    )
    if (volume.first_extent_sector + volume.extent_count * extent_size) * SECTOR_BYTES > LARGEST_BYTES:
        raise BadMetadata(f"{where}: larger than a device can be")
    return volume


def _volume(name: str, value: Value, physical_volumes: Mapping[str, PhysicalVolume]) -> LogicalVolume:
    """Reads a logical volume; what is wrong with it becomes its problem."""
    where = f"volume {_short(name)}"
    segments: Sequence[Segment] = ()
    uuid, status, flags, problem = "", frozenset[str](), frozenset[str](), ""
    tags: tuple[str, ...] = ()
    body = value if isinstance(value, Section) else Section()
    try:
        _as_section(value, where)
        if not _NAME.match(name):
            raise BadMetadata(f"{where}: not a name for one")
        uuid = string(body, "id", where)
        status, flags = frozenset(names(body, "status", where)), frozenset(names(body, "flags", where))
        tags = names(body, "tags", where)
        segments = _segments(body, physical_volumes, where)
    except BadMetadata as error:
        problem = error.message
    fields = {key: field for key, field in body.items() if key not in _VOLUME_FIELDS and not isinstance(field, Section)}
    return LogicalVolume(name, uuid, status, flags, segments, tags, fields, problem)


def _segments(body: Section, physical_volumes: Container[str], where: str) -> Sequence[Segment]:
    """Reads the segments of a volume, in the order of their extents."""
    found = [(key, value) for key, value in body.items() if _SEGMENT_NAME.match(key)]
    expected = number(body, "segment_count", where, least=1)
    run = body.run
    count = len(found) + (0 if run is None else len(run))
    if count != expected:
        raise BadMetadata(f"{where}: segment_count is {expected}, of {count}")
    regular = () if run is None else segments_of_run(run, physical_volumes, where)
    if not found:
        return regular
    segments = [
        segment_of(_as_section(value, f"{where}: {key}"), physical_volumes, f"{where}: {key}") for key, value in found
    ]
    return tuple(sorted([*regular, *segments], key=lambda segment: segment.start_extent))


def _as_section(value: Value, where: str) -> Section:
    if not isinstance(value, Section):
        raise BadMetadata(f"{where}: not a section")
    return value


def _short(name: str) -> str:
    """A name that may be anything, for a message."""
    return name if _NAME.match(name) else ascii(name[:40])
