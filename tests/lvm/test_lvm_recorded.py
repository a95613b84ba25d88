"""Volume groups that real LVM made: our lists, tables and contents are what LVM and Linux said of them."""

from __future__ import annotations

from pathlib import Path

from lvm_cases import every_lvm_case, load_lvm_fixture

from dmsnap.testing.lvm_judging import judge


@every_lvm_case
def test_lists_and_tables_and_contents_are_those_of_lvm_and_linux(case: str, tmp_path: Path) -> None:
    assert judge(load_lvm_fixture(case, tmp_path)) == []
