"""Pools and what is cached in listings, where a disk that they lie on is missing."""

from __future__ import annotations

from pathlib import Path

import dmsnap
from dmsnap.testing.lvm_fixtures import load_lvm_fixture


def test_what_lies_on_a_missing_disk_is_partial_but_not_the_snapshot_of_such_an_origin(tmp_path: Path) -> None:
    case = load_lvm_fixture("refused", tmp_path)
    whole, rest = (
        {row.lv_name: row for row in dmsnap.list_volumes(images, hidden=True).groups[0].volumes}
        for images in (case.images, case.images[:-1])  # the last has the metadata of the pool
    )
    assert {name for name, row in whole.items() if row.lv_attr[8] == "p"} == set()
    partial = {name for name, row in rest.items() if row.lv_attr[8] == "p"}
    assert {"pool", "[pool_tmeta]", "thin", "thinsnap"} <= partial
    assert not partial & {"[pool_tdata]", "[lvol0_pmspare]", "thicksnap", "readable", "five", "four"}
    assert (whole["pool"].data_percent, rest["pool"].data_percent) == ("3.12", "")
