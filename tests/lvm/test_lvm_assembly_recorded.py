"""Groups that real LVM made: content and tables of every device, as the kernel had them."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

from lvm_cases import LVMFixture, every_lvm_case, load_lvm_fixture

from dmsnap.block import BlockDevice, open_device
from dmsnap.lvm.assembly import Assembly
from dmsnap.lvm.groups import Group, find_groups
from dmsnap.lvm.tables import dm_name, tables
from dmsnap.lvm.usage import data_percent
from dmsnap.store import open_store
from dmsnap.target.status import parse_status, store_status


def opened(fixture: LVMFixture, stack: ExitStack) -> Group:
    """The group of a case."""
    devices = [stack.enter_context(open_device(str(path))) for path in fixture.images]
    groups, _ = find_groups(devices)
    return next(group for group in groups if group.group.name == fixture.group)


def changes_at_the_end(name: str) -> bool:
    """Whether Linux writes to a volume by itself once more at its end: it notes there that all is well."""
    return "_rmeta_" in name or name.endswith("_mlog")


def digest(device: BlockDevice) -> str:
    """SHA-256 of all that a device holds."""
    return hashlib.sha256(device.read_at(0, device.size_bytes)).hexdigest()


@every_lvm_case
def test_every_volume_has_the_content_that_its_device_had(case: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        fixture = load_lvm_fixture(case, tmp_path)
        group = opened(fixture, stack)
        assembly = Assembly(group.group, group.devices)
        compared = 0
        for name in group.group.logical_volumes:
            if changes_at_the_end(name):
                continue
            recorded = fixture.facts.sha256.get(dm_name(fixture.group, name))
            if recorded is not None and not (assembly.is_merging(name) and assembly.origin_of(name)):
                assert digest(assembly.device(name)) == recorded, name
                compared += 1
            layer = "cow" if assembly.origin_of(name) else "real"
            recorded = fixture.facts.sha256.get(dm_name(fixture.group, name, layer))
            if recorded is not None:
                assert digest(assembly.storage(name)) == recorded, name
        assert compared


@every_lvm_case
def test_tables_are_those_that_lvm_loaded(case: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        fixture = load_lvm_fixture(case, tmp_path)
        group = opened(fixture, stack).group
        named = {physical.device.removeprefix("/dev/"): name for name, physical in group.physical_volumes.items()}
        made: dict[str, list[str]] = {}
        for name, volume in group.logical_volumes.items():
            if "VISIBLE" in volume.status and volume.segments[0].kind != "snapshot":
                made.update(tables(group, name))
        recorded = {
            name: [" ".join(named.get(word, word) for word in line.split()) for line in fixture.table(name)]
            for name in fixture.facts.table
            if name.startswith(dm_name(fixture.group, ""))
        }
        assert made == recorded


@every_lvm_case
def test_usage_is_what_lvs_showed(case: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        fixture = load_lvm_fixture(case, tmp_path)
        group = opened(fixture, stack)
        assembly = Assembly(group.group, group.devices)
        rows = {row["lv_name"]: row for row in fixture.facts.lvs}
        for name in assembly.snapshots.by_name:
            words = fixture.facts.status[dm_name(fixture.group, name)][0].split(" ", 3)[3]
            assert data_percent(parse_status(words)) == rows[name]["data_percent"]
            assert str(store_status(open_store(assembly.storage(name)))) == words
