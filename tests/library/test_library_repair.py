"""``dmsnap.repair`` by path, on the stores that dmsnap itself writes, and what it leaves behind when it fails."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap.fault import FaultDevice, fail_range
from dmsnap.library.creation import BadStoreSize
from dmsnap.library.opening import SameDevice
from dmsnap.library.repairing import OriginNeeded
from dmsnap.maintenance.repairing import NotAccepted
from dmsnap.testing.named_damage import NAMED_DAMAGES, ORIGIN_BYTES, sound_store_with_room


@pytest.mark.parametrize("seed", range(12))
def test_what_dmsnap_writes_comes_out_the_same_to_the_byte(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    cow, origin, new = tmp_path / "snap.cow", tmp_path / "origin.img", tmp_path / "new.cow"
    origin.write_bytes(dice.randbytes(1 << 20))
    dmsnap.create(cow, dice.choice([3 << 18, (2 << 20) + 512]), dice.choice([512, 4096, 16384]))
    for _ in range(dice.randrange(4)):
        with dmsnap.open_snapshot(cow, origin, "r+") as snapshot:
            for _ in range(dice.randrange(1, 40)):
                length = dice.choice([512, 4096, 8192])
                snapshot.write_at(dice.randrange((1 << 20) // length) * length, dice.randbytes(length))
    before = dmsnap.info(cow).exceptions
    report = dmsnap.repair(cow, new, origin=origin)
    assert (report.written, report.exceptions, report.needed) == (True, before, ())
    assert new.read_bytes() == cow.read_bytes()


def test_the_origin_shows_where_nothing_was_copied(tmp_path: Path) -> None:
    origin, image = MemoryDevice(b"o" * ORIGIN_BYTES), tmp_path / "out.img"
    cow = MemoryDevice(NAMED_DAMAGES["invalid-error"].content())
    dmsnap.repair(cow, tmp_path / "new.cow", origin=origin, accept=["invalid-error"], image=image)
    content = image.read_bytes()
    assert content[512:1536] == b"o" * 1024
    assert content[:512] == sound_store_with_room()[1024:1536]


def test_nothing_is_left_behind_if_copies_turn_out_unreadable(tmp_path: Path) -> None:
    device = FaultDevice(MemoryDevice(sound_store_with_room()), fail_range(10 * 512, 512, "read"))
    origin = MemoryDevice(ORIGIN_BYTES)
    with pytest.raises(NotAccepted, match="unreadable") as caught:
        dmsnap.repair(
            device, tmp_path / "new.cow", origin=origin, image=tmp_path / "out.img", map_file=tmp_path / "map"
        )
    assert not list(tmp_path.iterdir())
    assert [fate.origin_chunk for fate in caught.value.report.records()] == [24]


def test_nothing_is_left_behind_if_the_origin_cannot_be_read(tmp_path: Path) -> None:
    origin = FaultDevice(MemoryDevice(b"o" * ORIGIN_BYTES), fail_range(512, 512, "read"))
    with pytest.raises(dmsnap.DmsnapError):
        dmsnap.repair(MemoryDevice(sound_store_with_room()), tmp_path / "new.cow", origin=origin, image=tmp_path / "i")
    assert not list(tmp_path.iterdir())


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    store = tmp_path / "snap.cow"
    store.write_bytes(sound_store_with_room())
    with pytest.raises(SameDevice):
        dmsnap.repair(store, tmp_path / "new.cow", origin=store)
    with pytest.raises(BadStoreSize):
        dmsnap.repair(store, tmp_path / "new.cow", size_bytes=1000)
    with pytest.raises(OriginNeeded):
        dmsnap.repair(store, tmp_path / "new.cow", image=tmp_path / "out.img")
    assert [path.name for path in tmp_path.iterdir()] == ["snap.cow"]
