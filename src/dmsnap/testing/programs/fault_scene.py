"""A fault in a generated program: for a while a range of the origin or of a COW device cannot be read or written."""

from __future__ import annotations

from dmsnap.testing.programs.actions import act
from dmsnap.testing.programs.language import Status
from dmsnap.testing.programs.obstacle import Obstacle
from dmsnap.testing.programs.stage import Stage

__all__ = ["fault_scene"]


def fault_scene(stage: Stage) -> None:
    """Has a device below fail, goes on for a few steps, mends it. Which snapshots it invalidates is for the kernel."""
    alive = stage.alive()
    if stage.merging or not alive:
        return
    # Whole chunks fail: ours reads and writes less of a chunk than the kernel, so of one that fails in part it need not
    # notice. And never a header: the kernel tries once to mark it invalid, ours until it can.
    dice = stage.dice
    mapped = [store for store in alive if store.mapped]
    if mapped and dice.chance(0.7):
        store = dice.pick(mapped)
        device, below, size = f"k{store.number}", store.cow, store.sectors
        chunk = first = store.chunk
        stage.timely = True
    else:
        device, below, size, first = "r", "o", stage.origin, 0
        chunk = max(store.chunk for store in stage.stores)
    sector = dice.pick((first, dice.between(first, first + 64), dice.between(first, size)))
    sector -= sector % chunk
    if sector >= size:
        return
    sectors = size - sector if dice.chance(0.4) else min(size - sector, dice.between(1, -(-128 // chunk)) * chunk)
    obstacle = Obstacle(device, below, size, sector, sectors)
    stage.fail(obstacle)
    stage.careful = True
    act(stage, dice.between(1, 6))
    stage.careful = False
    stage.mend(obstacle)
    for store in stage.stores:
        store.known.clear()  # what is in memory only may be gone at the next load
        store.doubtful = True
    stage.do(*(Status(store.name) for store in stage.alive()))
