"""``dmsnap.check`` by path and device, and on the stores that dmsnap itself writes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block.memory import MemoryDevice
from dmsnap.library.opening import SameDevice
from dmsnap.testing.named_damage import NAMED_DAMAGES, sound_store_with_room


def test_a_device_is_taken_as_well_as_a_path(tmp_path: Path) -> None:
    content = NAMED_DAMAGES["leaked"].content()
    (tmp_path / "snap.cow").write_bytes(content)
    by_path, by_device = dmsnap.check(tmp_path / "snap.cow"), dmsnap.check(MemoryDevice(content))
    assert by_path.findings == by_device.findings
    assert by_path.findings


def test_a_store_is_not_its_own_origin(tmp_path: Path) -> None:
    store = tmp_path / "snap.cow"
    store.write_bytes(sound_store_with_room())
    with pytest.raises(SameDevice):
        dmsnap.check(store, origin=store)


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_found_in_what_dmsnap_writes(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    cow, origin = tmp_path / "snap.cow", tmp_path / "origin.img"
    origin.write_bytes(dice.randbytes(1 << 20))
    chunk = dice.choice([512, 4096, 16384])
    dmsnap.create(cow, dice.choice([3 << 18, 2 << 20]), chunk)
    assert dmsnap.check(cow, origin=origin).findings == ()
    for _ in range(dice.randrange(1, 4)):
        with dmsnap.open_snapshot(cow, origin, "r+") as snapshot:
            for _ in range(dice.randrange(1, 40)):
                length = dice.choice([512, 4096, 8192])
                snapshot.write_at(dice.randrange((1 << 20) // length) * length, dice.randbytes(length))
    report = dmsnap.check(cow, origin=origin)
    assert report.findings == ()
    assert report.exceptions == dmsnap.info(cow).exceptions
    if dice.random() < 0.5:
        dmsnap.merge(cow, origin)
        assert dmsnap.check(cow, origin=origin).findings == ()
