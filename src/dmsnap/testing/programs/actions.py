"""What generated programs do to devices that are there, a merge apart."""

from __future__ import annotations

from collections.abc import Callable

from dmsnap.testing.programs.language import (
    Discard,
    Flush,
    Grow,
    Load,
    Read,
    Remove,
    Resume,
    Status,
    Step,
    Suspend,
    Table,
    Write,
    Zero,
)
from dmsnap.testing.programs.stage import Stage
from dmsnap.testing.programs.world import usable_chunks

__all__ = ["act"]


def act(stage: Stage, times: int) -> None:
    """Does anything, so many times."""
    for _ in range(times):
        _ACTIONS[stage.dice.weighted(_WEIGHTS)](stage)


def _write(stage: Stage) -> None:
    """Writes to a snapshot or through snapshot-origin."""
    name, stores, limit = stage.target()
    sector, sectors = stage.request(limit, stores, name)
    zero = stage.dice.chance(0.1)
    stage.do(Zero(name, sector, sectors) if zero else Write(name, sector, sectors, stage.next_seed()))
    for store in stores:
        store.take(sector, sectors)
    if stage.dice.chance(0.4):
        stage.do(Status(name if stage.dice.chance(0.5) or not stores else stage.dice.pick(stores).name))


def _fill(stage: Stage) -> None:
    """Writes chunk after chunk, whole ones, until a store has no more room, or not much."""
    if not (stores := stage.alive()) or stage.spoilt:
        return
    store = stage.dice.pick(stores)
    start = stage.dice.below(store.length)
    for _ in range(12):
        free = usable_chunks(store.sectors, store.chunk, store.kind) - store.used
        sector = start - start % store.chunk
        sectors = min(store.length - sector, 2048, max(1, free) * store.chunk)
        if sectors <= 0 or free > 1200:
            return
        sectors = stage.kept_safe(sector, sectors, [store], store.name)
        stage.do(Write(store.name, sector, sectors, stage.next_seed()), Status(store.name))
        store.take(sector, sectors)
        start = (sector + sectors) % store.length
        if not free:
            return


def _read(stage: Stage) -> None:
    name, _, limit = stage.target()
    sector = stage.dice.below(limit)
    stage.do(Read(name, sector, stage.dice.between(1, min(2048, limit - sector))))


def _discard(stage: Stage) -> None:
    """Discards within a chunk, or from the start of one on.

    Linux 6.1 cuts other discards into pieces of a chunk's size that do not end with a chunk, and has the rest of such a
    piece discard what follows the chunk's copy on the COW device, be it another chunk's.
    """
    if not stage.discards:
        return
    name, stores, limit = stage.target()
    sector, sectors = stage.shape(limit, stores)
    for store in stores:
        if sector % store.chunk + sectors > store.chunk:
            sector -= sector % store.chunk
    stage.do(Discard(name, sector, sectors))
    if stage.dice.chance(0.5):
        stage.do(Read(name, sector, sectors))


def _ask(stage: Stage) -> None:
    name, _, _ = stage.target()
    stage.do(Table(name) if stage.dice.chance(0.3) else Status(name))


def _flush(stage: Stage) -> None:
    stage.do(Flush(stage.target()[0]))


def _grow(stage: Stage) -> None:
    if not (stores := [store for store in stage.alive() if not store.mapped]):
        return
    store = stage.dice.pick(stores)
    store.sectors += stage.dice.between(1, 6 * store.chunk)
    stage.do(Grow(store.cow, store.sectors), Status(store.name))


def _pause(stage: Stage) -> None:
    name, _, _ = stage.target()
    if name != "g" or not stage.merging:  # a merge that failed would start again
        stage.do(Suspend(name), Resume(name))


def _hand_over(stage: Stage) -> None:
    """Loads a snapshot's table anew while it is active, as LVM does; the store moves over."""
    if not (stores := stage.alive()) or stage.merging:
        return
    store = stage.dice.pick(stores)
    if store.kind != "N" and stage.dice.chance(0.3):
        store.kind = "PO" if store.kind == "P" else "P"
    steps: list[Step] = [Load(store.name, stage.snapshot_table(store)), Suspend("g"), Suspend(store.name)]
    stage.do(*steps, Resume(store.name), Resume("g"), Status(store.name), Table(store.name))


def _come_or_go(stage: Stage) -> None:
    """Removes a snapshot, or sets up one that is not there."""
    if stage.merging:
        return
    store = stage.dice.pick(stage.stores)
    stage.do(Suspend("g"))
    if store.alive:
        store.alive = False
        stage.do(Remove(store.name), Resume("g"))
    else:
        stage.set_up(store)
        stage.do(Resume("g"), Status(store.name))


_ACTIONS: dict[str, Callable[[Stage], None]] = {
    "write": _write,
    "fill": _fill,
    "read": _read,
    "discard": _discard,
    "ask": _ask,
    "flush": _flush,
    "grow": _grow,
    "pause": _pause,
    "hand over": _hand_over,
    "come or go": _come_or_go,
}
_WEIGHTS = {
    "write": 40,
    "fill": 3,
    "read": 12,
    "discard": 8,
    "ask": 5,
    "flush": 6,
    "grow": 3,
    "pause": 3,
    "hand over": 3,
    "come or go": 3,
}
