"""Makes up programs from a seed: an origin, one to three snapshots of it, and a life for them.

A life has two or three parts; after each all mapped devices are gone and only the disks are left, so that somebody else
can go on. Whatever a program does, the kernel has only one way to do it; see `dmsnap.testing.programs.world`.
"""

from __future__ import annotations

from dmsnap.testing.programs.actions import act
from dmsnap.testing.programs.dice import Dice
from dmsnap.testing.programs.fault_scene import fault_scene
from dmsnap.testing.programs.merging_scene import merge_scene
from dmsnap.testing.programs.program import Base, Pattern, Program
from dmsnap.testing.programs.stage import Stage
from dmsnap.testing.programs.world import Store

__all__ = ["generate"]

_CHUNKS = {1: 3, 2: 2, 4: 2, 8: 10, 16: 6, 32: 5, 64: 4, 128: 3, 256: 2}
_KINDS = {"P": 6, "PO": 3, "N": 2}
_FEATURES = {"": 6, "1 discard_zeroes_cow": 3, "2 discard_zeroes_cow discard_passdown_origin": 3}


def generate(seed: int) -> Program:
    """Returns the program of ``seed``."""
    dice = Dice(seed)
    origin = dice.between(200, 1200) if dice.chance(0.5) else dice.between(1200, 2600)
    stores = [_store(dice, number, origin) for number in range(1, dice.weighted({1: 3, 2: 4, 3: 3}) + 1)]
    bases = [Base("o", origin, Pattern(1)), *(_cow(dice, store) for store in stores)]
    stage = Stage(dice, origin, stores)
    for _ in range(dice.between(2, 3)):
        _part(stage)
    return Program(tuple(bases), tuple(stage.steps), stage.timely)


def _store(dice: Dice, number: int, origin: int) -> Store:
    kind, chunk = dice.weighted(_KINDS), dice.weighted(_CHUNKS)
    stride = chunk * 32 + 1
    enough = -(-origin // chunk) + 3
    match dice.weighted({"enough": 4, "few": 3, "turn": 2}):
        case "enough":
            chunks = enough + enough // stride
        case "few":
            chunks = dice.between(3, 12)
        case _:  # an area full to the brim, with and without room for the next
            chunks = stride + dice.between(-1, 3)
    sectors = min(chunks, 4096 // chunk) * chunk + dice.pick((0, 0, chunk // 2, chunk - 1))
    length = dice.between(1, origin) if dice.chance(0.07) else origin
    features = dice.weighted(_FEATURES)
    return Store(number, kind, chunk, sectors, length, features, mapped=dice.chance(0.3))


def _cow(dice: Dice, store: Store) -> Base:
    """Returns a device with garbage behind a few zeros: a sector, what LVM wipes, or everything."""
    return Base(store.cow, store.sectors, Pattern(1 + store.number, dice.pick((1, 8, store.sectors))))


def _part(stage: Stage) -> None:
    stage.activate()
    act(stage, stage.dice.between(4, 22))
    for _ in range(stage.dice.weighted({0: 4, 1: 4, 2: 1})):
        (fault_scene if stage.dice.chance(0.2) else merge_scene)(stage)
        act(stage, stage.dice.between(0, 6))
    stage.deactivate()
