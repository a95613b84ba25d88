"""A merge in a generated program: through ``g``, other snapshots of the origin being there, often with an obstacle.

A merge runs in the background, and what is done meanwhile is done in no known order. So programs only go on once it is
done or has failed, because something in its way fails, on the origin's side or the COW device's.
"""

from __future__ import annotations

from dmsnap.testing.programs.actions import act
from dmsnap.testing.programs.language import (
    Flush,
    Load,
    Remove,
    Resume,
    Status,
    Step,
    Suspend,
    WaitMerge,
    Write,
)
from dmsnap.testing.programs.obstacle import Obstacle
from dmsnap.testing.programs.stage import Stage
from dmsnap.testing.programs.world import Store

__all__ = ["merge_scene"]

_ONE_COPY_SECTORS = 1024
"""kcopyd copies this much at a time; of the pieces of a longer copy that fails, some may never have begun."""


def merge_scene(stage: Stage) -> None:
    """Merges a snapshot into the origin: all of it, or up to an obstacle and perhaps the rest after that."""
    candidates = [store for store in stage.stores if store.made and store.kind != "N" and store.length == stage.origin]
    if not candidates or stage.merging:
        return
    sound = [store for store in candidates if not store.doubtful]
    store = stage.dice.pick(sound if sound and stage.dice.chance(0.9) else candidates)
    obstacle = _obstacle(stage, store)
    for other in [other for other in stage.alive() if other is not store]:
        if other.fits_merge(store):
            other.take_merge(store)
        else:
            _remove(stage, other)
    _start(stage, store, obstacle)
    if obstacle:
        store.known.clear()
        act(stage, stage.dice.between(0, 6))
        if stage.dice.chance(0.3):
            return  # the rest is for who comes next, or for nobody
        _end(stage)
        stage.mend(obstacle)
        for other in [other for other in stage.alive() if other.short]:  # what it kept for the merge may be used up
            _remove(stage, other)
        _start(stage, store, None)
    store.emptied()
    stage.do(Flush("g"))
    act(stage, stage.dice.between(0, 4))
    if stage.dice.chance(0.7):
        _end(stage)
        if stage.dice.chance(0.5):
            stage.do(Suspend("g"))
            stage.set_up(store)
            stage.do(Resume("g"), Status(store.name))


def _start(stage: Stage, store: Store, obstacle: Obstacle | None) -> None:
    """Has ``g`` merge a snapshot, which is gone then, and waits for what comes of it."""
    table = stage.snapshot_table(store, "snapshot-merge")
    if store.alive and not store.short and stage.dice.chance(0.5):  # the store moves over from the snapshot
        stage.do(Load("g", table), Suspend("g"), Suspend(store.name))
        gone: tuple[Step, ...] = (Status(store.name), Remove(store.name))
    else:
        stage.do(Suspend("g"), *([Remove(store.name)] if store.alive else []), Load("g", table))
        gone = ()
    if obstacle:
        stage.fail(obstacle)
    stage.do(Resume("g"), *gone, WaitMerge("g"), Status("g"))
    store.alive, stage.merging = False, store


def _remove(stage: Stage, store: Store) -> None:
    """Removes a snapshot."""
    store.alive = False
    stage.do(Suspend("g"), Remove(store.name), Resume("g"))


def _end(stage: Stage) -> None:
    """Makes ``g`` a snapshot-origin again."""
    stage.do(Load("g", f"0 {stage.origin} snapshot-origin /dev/mapper/r"), Suspend("g"), Resume("g"))
    stage.merging = None


def _obstacle(stage: Stage, store: Store) -> Obstacle | None:
    """Finds something to put in a merge's way, and has the origin written where that is on the origin."""
    dice = stage.dice
    kind = dice.weighted({"none": 4, "origin": 5, "cow": 4})
    if kind == "none" or store.longest_run() > _ONE_COPY_SECTORS:
        return None
    if kind == "cow" and store.mapped and store.used:
        number = dice.between(2, store.used + 2)
        if (number + 1) * store.chunk <= store.sectors:
            below = f"k{store.number}"
            return Obstacle(below, store.cow, store.sectors, number * store.chunk, store.chunk)
    if not store.alive:
        return None
    largest = max(other.chunk for other in stage.alive())
    sector = dice.below(stage.origin)
    sector -= sector % largest
    sectors = min(largest, stage.origin - sector)
    if not all(other.fits(sector, sectors) and other.length == stage.origin for other in stage.alive()):
        return None
    # Nobody else may need what then cannot be read: that all of them keep it beforehand.
    stage.do(Write("g", sector, sectors, stage.next_seed()))
    for other in stage.alive():
        other.take(sector, sectors)
    return Obstacle("r", "o", stage.origin, sector, sectors)
