"""Any text as LVM2 metadata: refused by its own error, or a group; the same in bulk, both ways, and by the grammar."""

from __future__ import annotations

from itertools import pairwise

import engine

with engine.instrumented(include=["dmsnap.lvm"]):
    from dmsnap.lvm import placement
    from dmsnap.lvm.contradictions import MOST_LEVELS
    from dmsnap.lvm.importing import BadMetadata, BadText, group_of
    from dmsnap.lvm.model import LogicalVolume, VolumeGroup
    from dmsnap.lvm.text import parsing, segment_shapes

placement.LONG_RUN = 0
parsing.SHORT_RUN = 0
segment_shapes.BLOCK_CHARACTERS = 1 << 10  # more than one in what is fuzzed


def test_one(data: bytes) -> None:
    """Gives the whole input to all readers."""
    slowly = _outcome(data, in_bulk=False)
    for long in (0, parsing.MOST_BYTES):
        parsing.LONG_TEXT = placement.MANY_SEGMENTS = long
        in_bulk = _outcome(data, in_bulk=True)
        assert in_bulk == slowly, f"another outcome in bulk, where {long} characters are long"
    group = in_bulk[0]
    if not isinstance(group, VolumeGroup):
        return
    used: dict[str, list[tuple[int, int]]] = {}
    for volume in group.logical_volumes.values():
        list(volume.segments)
        if not volume.problem:
            _check(volume, group, used)
            assert _depth(volume, group) <= MOST_LEVELS + 1
    for places in used.values():
        places.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(places)), "used twice"


def _outcome(data: bytes, *, in_bulk: bool) -> tuple[object, object]:
    try:
        return group_of(data, in_bulk=in_bulk)
    except (BadText, BadMetadata) as error:
        return type(error), error.message


def _check(volume: LogicalVolume, group: VolumeGroup, used: dict[str, list[tuple[int, int]]]) -> None:
    """What passed has no gap, and lies within what there is."""
    expected = 0
    for segment in volume.segments:
        assert segment.start_extent == expected
        assert segment.extent_count > 0
        expected += segment.extent_count
        if segment.kind in ("striped", "mirror"):
            divisor = len(segment.areas) if segment.kind == "striped" else 1
            length = segment.extent_count // divisor
            assert length * divisor == segment.extent_count
            for area in segment.areas:
                below = (group.logical_volumes if area.is_volume else group.physical_volumes)[area.name]
                assert 0 <= area.start_extent <= below.extent_count - length
                used.setdefault(area.name, []).append((area.start_extent, area.start_extent + length))
        if segment.snapshot is not None:
            assert segment.snapshot.origin in group.logical_volumes
            assert segment.snapshot.cow_store in group.logical_volumes
    assert expected == volume.extent_count
    assert expected * group.extent_size_sectors * 512 < 1 << 63


def _depth(volume: LogicalVolume, group: VolumeGroup, so_far: int = 0) -> int:
    """How many volumes lie on each other here, up to those that have problems."""
    assert so_far <= MOST_LEVELS + 1
    below = {area.name for segment in volume.segments for area in segment.areas if area.is_volume}
    volumes = [group.logical_volumes[name] for name in below]
    return 1 + max((_depth(one, group, so_far + 1) for one in volumes if not one.problem), default=0)


if __name__ == "__main__":
    engine.fuzz(test_one, of_stores=False)
