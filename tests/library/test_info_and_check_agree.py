"""``info`` and ``check`` say the same of the same records, in the same words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

import dmsnap
from dmsnap.block.memory import MemoryDevice
from dmsnap.store.finding import Finding, Kind
from dmsnap.testing.damage import DAMAGES
from dmsnap.testing.named_damage import NAMED_DAMAGES
from dmsnap.testing.store_model import model_store

ORIGIN = MemoryDevice(20 << 12)
TOLD_BY_OPENING = {Kind.DUPLICATE, Kind.INTO_METADATA, Kind.OUTSIDE_COW, Kind.OUTSIDE_ORIGIN, Kind.TOP_BITS}
SEEN_BY_ALL_TOGETHER = {Kind.TRUNCATED, Kind.END_LOST, Kind.CHUNK_SIZE}
"""What a check makes of records that are odd one by one."""

STORES = {f"{name} by name": named.content() for name, named in NAMED_DAMAGES.items()}
STORES |= {name: damage.content() for name, damage in DAMAGES.items() if damage.says and not damage.huge}
STORES = {name: content for name, content in STORES.items() if len(content) < 1 << 20 and model_store(content).valid}
"""Those that open, and whose records are read."""


def told_by_opening(findings: Iterable[Finding]) -> set[Finding]:
    """Of findings those that opening tells too, which of duplicates knows no more than the number."""
    nowhere = {"area": None, "index": None, "offset_bytes": None}
    return {
        replace(each, **nowhere) if each.kind is Kind.DUPLICATE else each
        for each in findings
        if each.kind in TOLD_BY_OPENING
    }


@pytest.mark.parametrize("name", STORES)
def test_what_info_tells_check_tells_in_the_same_words(name: str) -> None:
    device = MemoryDevice(STORES[name], read_only=True)
    told, found = dmsnap.info(device, origin=ORIGIN).findings, dmsnap.check(device, origin=ORIGIN).findings
    if SEEN_BY_ALL_TOGETHER.isdisjoint(each.kind for each in found):
        assert set(told) == told_by_opening(found)


def test_the_stores_show_everything_that_opening_tells() -> None:
    found = [dmsnap.info(MemoryDevice(content), origin=ORIGIN).findings for content in STORES.values()]
    assert {each.kind for findings in found for each in findings} == TOLD_BY_OPENING
