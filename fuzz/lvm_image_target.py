"""Any bytes as disk images: groups are found or not, never an error, and whatever is found lies within the images."""

from __future__ import annotations

import zlib

import engine
from volume_mutator import mutate_volume

with engine.instrumented(include=["dmsnap.lvm"]):
    from dmsnap.block.memory import MemoryDevice
    from dmsnap.lvm.finding import FindingKind
    from dmsnap.lvm.groups import Group, find_groups

MOST_FINDINGS = 4096


def test_one(data: bytes) -> None:
    """One image, or two of its halves, in blocks of either size; twice, which gives the same."""
    choice = zlib.crc32(data)  # of the input alone, so that it replays
    block = 4096 if choice & 1 else 512
    data = data[: len(data) // block * block]
    middle = len(data) // 2 // block * block if choice & 6 == 0 else len(data)
    parts = [data[:middle], data[middle:]] if middle < len(data) else [data]
    outcomes = []
    for _ in range(2):
        devices = [MemoryDevice(part, logical_block_size_bytes=block, read_only=True) for part in parts]
        groups, findings = find_groups(devices)
        told = [*findings, *(finding for group in groups for finding in group.findings)]
        assert len(told) <= MOST_FINDINGS
        assert all("\n" not in finding.message for finding in told)
        for group in groups:
            check(group, max(map(len, parts)))
        outcomes.append(([group.group for group in groups], told))
    assert outcomes[0] == outcomes[1]


def check(group: Group, size_bytes: int) -> None:
    """What a group is, whatever made it."""
    volumes = group.group.physical_volumes
    assert {physical.name for physical in group.missing} == set(volumes) - set(group.devices)
    assert set(group.images) == set(group.devices) <= set(volumes)
    for name, device in group.devices.items():
        assert group.images[name].uuid == volumes[name].uuid
        assert 0 < device.size_bytes <= size_bytes
        last = device.logical_block_size_bytes
        device.read_at(device.size_bytes - last, last)
    kinds = [finding.kind for finding in group.findings]
    assert kinds.count(FindingKind.MISSING_VOLUME) == len(group.missing)
    assert kinds.count(FindingKind.OLDER_METADATA) <= 1


if __name__ == "__main__":
    engine.fuzz(test_one, of_stores=False, mutate=mutate_volume)
