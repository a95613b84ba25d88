"""Volumes in images where functions take a device: what is read, written, kept right, and refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from edited_volumes import edit_metadata

import dmsnap
from dmsnap.block import InUse, open_device
from dmsnap.block.contract import ReadOnlyDevice
from dmsnap.library.opening import SameDevice
from dmsnap.library.output_file import check_output_file
from dmsnap.library.volumes.address import paths_named
from dmsnap.library.volumes.opened import VolumeInUse
from dmsnap.library.volumes.sources import NoOrigin
from dmsnap.testing.lvm_fixtures import LVMFixture, load_lvm_fixture
from dmsnap.transfer.raw import OutputIsInput

CHUNK = 4096


@pytest.fixture
def case(tmp_path: Path) -> LVMFixture:
    """A group with an origin of 4 MiB, four snapshots of it and a plain volume."""
    return load_lvm_fixture("snapshots", tmp_path)


def at(case: LVMFixture, volume: str) -> str:
    """The address of a volume."""
    return f"lvm:{case.group}/{volume}@{','.join(map(str, case.images))}"


def content(address: str, tmp_path: Path) -> bytes:
    """What a volume or snapshot shows."""
    out = tmp_path / "content.img"
    dmsnap.export(address, None, out, overwrite=True)
    return out.read_bytes()


def assert_as_recorded(case: LVMFixture, tmp_path: Path, *volumes: str) -> None:
    """Volumes show what they showed to the kernel that made them."""
    for name in volumes:
        digest = hashlib.sha256(content(at(case, name), tmp_path)).hexdigest()
        assert digest == case.facts.sha256[f"{case.group}-{name}"], name


# -- writing ----------------------------------------------------------------------------------------------------------


def test_what_is_written_to_a_snapshot_stays_in_it(case: LVMFixture, tmp_path: Path) -> None:
    before = content(at(case, "snap8"), tmp_path)
    with dmsnap.open_snapshot(at(case, "snap8"), None, "r+") as snapshot:
        snapshot.write_at(40 * CHUNK, b"\x5a" * CHUNK)
    expected = before[: 40 * CHUNK] + b"\x5a" * CHUNK + before[41 * CHUNK :]
    assert content(at(case, "snap8"), tmp_path) == expected
    assert_as_recorded(case, tmp_path, "origin", "plain", "snap4", "snap64", "snap512")


def test_images_that_are_written_to_keep_other_writers_away(case: LVMFixture) -> None:
    with (
        dmsnap.open_snapshot(at(case, "snap8"), None, "r+"),
        pytest.raises(InUse),
    ):
        dmsnap.open_snapshot(at(case, "snap4"), None, "r+")


def test_a_snapshot_that_lvm_has_read_only_is_not_written_to(case: LVMFixture) -> None:
    uuid = next(row["lv_uuid"] for row in case.facts.lvs if row["lv_name"] == "snap8")
    head = f'id = "{uuid}"\nstatus = ["READ"'
    edit_metadata(case.images[0], (head + ', "WRITE"', head))
    with pytest.raises(ReadOnlyDevice, match="read-only in LVM"):
        dmsnap.open_snapshot(at(case, "snap8"), None, "r+")


# -- merging ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def merging(case: LVMFixture) -> LVMFixture:
    """The group with snap8 as a snapshot that LVM is to merge when it activates the origin next."""
    edit_metadata(case.images[0], ('cow_store = "snap8"', 'merging_store = "snap8"'))
    return case


def test_a_snapshot_that_is_being_merged_is_listed_as_such_and_its_origin_too(merging: LVMFixture) -> None:
    (group,) = dmsnap.list_volumes(merging.images, hidden=True).groups
    rows = {row.lv_name: row for row in group.volumes}
    assert rows["[snap8]"].lv_attr.startswith("Swi")
    assert rows["origin"].lv_attr.startswith("Owi")
    assert rows["origin"].data_percent == rows["[snap8]"].data_percent == "1.56"


def test_an_origin_that_is_merged_into_shows_what_it_will_be(merging: LVMFixture, tmp_path: Path) -> None:
    assert hashlib.sha256(content(at(merging, "origin"), tmp_path)).hexdigest() == merging.facts.sha256["vgsnap-snap8"]


def test_a_merge_that_lvm_began_is_finished_and_only_that(merging: LVMFixture, tmp_path: Path) -> None:
    with pytest.raises(VolumeInUse, match="being merged"):
        dmsnap.open_snapshot(at(merging, "snap8"), None, "r+")
    with pytest.raises(VolumeInUse, match="snap8 is being merged into it"):
        dmsnap.merge(at(merging, "snap4"))
    assert dmsnap.merge(at(merging, "snap8")).still_to_run == ("lvchange --activate y vgsnap/origin",)
    assert hashlib.sha256(content(at(merging, "origin"), tmp_path)).hexdigest() == merging.facts.sha256["vgsnap-snap8"]
    assert_as_recorded(merging, tmp_path, "snap4", "snap64", "snap512")


def test_a_merge_copies_nothing_to_snapshots_taken_before_their_origin_grew_there(
    case: LVMFixture, tmp_path: Path
) -> None:
    def relation(store: str, sectors: int, extents: int) -> str:
        return f'= {extents}\n\ntype = "snapshot"\nchunk_size = {sectors}\norigin = "origin"\ncow_store = "{store}"'

    shorter = [
        (relation(name, sectors, 8), relation(name, sectors, extents))
        for name, sectors, extents in (("snap64", 128, 4), ("snap512", 1024, 2))
    ]
    edit_metadata(case.images[0], *shorter)
    before = {name: content(at(case, name), tmp_path) for name in ("snap4", "snap64", "snap512")}
    assert [len(shown) >> 20 for shown in before.values()] == [4, 2, 1]
    with dmsnap.open_snapshot(at(case, "snap8"), None, "r+") as snapshot:
        snapshot.write_at((3 << 20) - 2 * CHUNK, b"\x5a" * 4 * CHUNK)
    sizes = {name: dmsnap.info(at(case, name)).changed_bytes for name in before}
    planned = dmsnap.merge(at(case, "snap8"), dry_run=True).kept_bytes
    assert dmsnap.merge(at(case, "snap8")).kept_bytes == planned
    grown = {name: dmsnap.info(at(case, name)).changed_bytes - size for name, size in sizes.items()}
    assert grown == {"snap4": planned, "snap64": 0, "snap512": 0}
    assert planned > 4 * CHUNK
    assert {name: content(at(case, name), tmp_path) for name in before} == before


def test_a_file_can_be_merged_into_a_plain_volume(case: LVMFixture, tmp_path: Path) -> None:
    cow = tmp_path / "file.cow"
    dmsnap.create(cow, 1 << 20, chunk_size_bytes=CHUNK)
    with dmsnap.open_snapshot(cow, at(case, "plain"), "r+") as snapshot:
        snapshot.write_at(0, b"\x77" * CHUNK)
    assert_as_recorded(case, tmp_path, "plain")
    dmsnap.merge(cow, at(case, "plain"))
    assert content(at(case, "plain"), tmp_path)[:CHUNK] == b"\x77" * CHUNK
    assert_as_recorded(case, tmp_path, "origin", "snap4", "snap8", "snap64", "snap512")


def test_an_origin_with_snapshots_of_its_own_is_not_merged_into(case: LVMFixture, tmp_path: Path) -> None:
    cow = tmp_path / "file.cow"
    dmsnap.create(cow, 1 << 20, chunk_size_bytes=CHUNK)
    with dmsnap.open_snapshot(cow, at(case, "origin"), "r+") as snapshot:
        snapshot.write_at(0, b"\x77" * CHUNK)
    with pytest.raises(VolumeInUse, match="has snapshots of its own"):
        dmsnap.merge(cow, at(case, "origin"))
    assert_as_recorded(case, tmp_path, "origin", "snap4")


def test_a_snapshot_is_neither_its_own_origin_nor_another_one_beside_itself(case: LVMFixture) -> None:
    with pytest.raises(NoOrigin, match="its own origin"):
        dmsnap.info(at(case, "snap8"), origin=at(case, "snap8"))
    with pytest.raises(SameDevice, match="named twice"):
        dmsnap.merge(at(case, "snap8"), others=[at(case, "snap8")], dry_run=True)


# -- serving ----------------------------------------------------------------------------------------------------------


def test_an_origin_is_read_only_unless_all_its_snapshots_are_served(case: LVMFixture) -> None:
    warnings: list[str] = []
    with dmsnap.serve(at(case, "snap8"), warn=warnings.append) as serving:
        offers = {offer.name: offer.read_only for offer in serving.offers()}
    assert offers == {"snap8": False, "origin": True}
    assert warnings == [
        "vgsnap/origin: has snapshots that are not served, snap4, snap512, snap64; 'origin' is read-only"
    ]


def test_what_is_written_to_an_origin_is_copied_to_its_snapshots(case: LVMFixture, tmp_path: Path) -> None:
    names = ["snap4", "snap8", "snap64", "snap512"]
    snaps = [at(case, name) for name in names]
    with dmsnap.serve(snaps) as serving, open_device(serving.uri("origin"), writable=True) as origin:
        origin.write_at(0, b"\x33" * CHUNK)
        origin.flush()
    assert content(at(case, "origin"), tmp_path)[:CHUNK] == b"\x33" * CHUNK
    assert_as_recorded(case, tmp_path, *names)


def test_any_volume_can_be_served(case: LVMFixture) -> None:
    with dmsnap.serve(at(case, "plain")) as serving:
        assert [(offer.name, offer.size_bytes, offer.read_only) for offer in serving.offers()] == [
            ("plain", 1 << 20, False)
        ]


def test_a_store_whose_origin_nobody_knows_is_refused(tmp_path: Path) -> None:
    cow = tmp_path / "file.cow"
    dmsnap.create(cow, 1 << 20)
    for use in (dmsnap.open_snapshot, dmsnap.serve, dmsnap.merge, dmsnap.table):
        with pytest.raises(NoOrigin, match="taken of"):
            use(cow)


# -- results ----------------------------------------------------------------------------------------------------------


def test_no_result_overwrites_an_image_that_was_named_as_part_of_an_address(case: LVMFixture) -> None:
    with pytest.raises(OutputIsInput):
        check_output_file(str(case.images[0]), paths_named(at(case, "snap8")))


def test_without_its_origins_disk_a_store_can_still_be_explained(tmp_path: Path) -> None:
    case = load_lvm_fixture("several-disks", tmp_path)
    (group,) = dmsnap.list_volumes(case.images).groups
    snapshot = next(row for row in group.volumes if row.origin)
    there = [path for path in case.images if f"{path}(" in snapshot.devices]
    assert 0 < len(there) < len(case.images)
    address = f"lvm:{case.group}/{snapshot.lv_name}@{','.join(map(str, there))}"
    assert dmsnap.info(address).findings == ()
    with pytest.raises(dmsnap.DmsnapError, match="is not there"):
        dmsnap.open_snapshot(address)
