"""Where the generator's programs happen: the steps so far, the devices that are there, and requests that suit them."""

from __future__ import annotations

from collections.abc import Sequence

from dmsnap.testing.programs.dice import Dice
from dmsnap.testing.programs.language import (
    MAX_REQUEST_SECTORS,
    Create,
    Load,
    Read,
    Remove,
    Resume,
    Status,
    Step,
    Suspend,
    Table,
    Zero,
)
from dmsnap.testing.programs.obstacle import Obstacle
from dmsnap.testing.programs.world import Store, within_one_chunk

__all__ = ["Stage"]


class Stage:
    """Snapshots ``s1`` … of device ``r``, linear over base ``o``, and ``g``, through which the origin is written.

    Attributes:
        dice: Decides.
        origin: Sectors of the origin.
        stores: All snapshots, those too that are not there now.
        steps: What was programmed so far.
        merging: The store that ``g`` merges as ``snapshot-merge``; None while it is a ``snapshot-origin``.
        discards: Whether devices take discards. In Linux 6.1 one over an error target takes none, wherever they go,
            and one that was set up or loaded over such a device does not either.
        spoilt: A range of the origin that fails at present, and that all snapshots keep already.
        careful: Whether any request may fail some snapshot at present.
        timely: See `Program`.
    """

    def __init__(self, dice: Dice, origin: int, stores: Sequence[Store]) -> None:
        self.dice = dice
        self.origin = origin
        self.stores = stores
        self.steps: list[Step] = []
        self.merging: Store | None = None
        self.discards = True
        self.spoilt = range(0)
        self.careful = False
        self.timely = False
        self._seed = 15

    def do(self, *steps: Step) -> None:
        """Appends steps."""
        self.steps += steps

    def next_seed(self) -> int:
        """Returns a seed for a `Write`: no two have the same content."""
        self._seed += 1
        return self._seed

    def alive(self) -> list[Store]:
        """Returns the snapshots that are there, the one being merged not among them."""
        return [store for store in self.stores if store.alive]

    # -- devices ------------------------------------------------------------------------------------------------------

    def snapshot_table(self, store: Store, target: str = "snapshot", length: int | None = None) -> str:
        """Returns a table for a store, now and then with another chunk size than it has, which its header overrules."""
        chunk = store.chunk
        if store.made and store.kind != "N" and self.dice.chance(0.2):
            chunk = self.dice.pick(
                [size for size in (0, 1, 8, 16, 64) if 2 * max(size, 32) <= store.sectors] or [chunk]
            )
        words = f"{target} /dev/mapper/r {store.cow_word} {store.kind} {chunk} {store.features}"
        return f"0 {length or store.length} {words.rstrip()}"

    def set_up(self, store: Store) -> None:
        """Creates a snapshot; the origin must not be written to meanwhile."""
        self.do(Create(store.name, self.snapshot_table(store)))
        store.set_up()

    def activate(self) -> None:
        """Creates all devices, those below first, ``g`` last, as LVM does."""
        self.do(Create("r", f"0 {self.origin} linear o 0"))
        self.do(*(Create(f"k{store.number}", f"0 {store.sectors} linear {store.cow} 0") for store in self._mapped()))
        for store in self.stores:
            if store.doubtful and self.dice.chance(0.6):  # a new snapshot on the same device, which LVM would wipe
                self.do(Zero(store.cow, 0, min(8, store.sectors)))
                store.wiped()
            if store.made or self.dice.chance(0.8):
                self.set_up(store)
        self.do(Create("g", f"0 {self.origin} snapshot-origin /dev/mapper/r"))
        self.do(*(Status(store.name) for store in self.alive()))

    def deactivate(self) -> None:
        """Asks everybody for everything, then removes all devices."""
        for name, length in [("g", self.origin), *((store.name, store.length) for store in self.alive())]:
            self.do(Status(name), Table(name))
            for sector in range(0, length, MAX_REQUEST_SECTORS):
                self.do(Read(name, sector, min(MAX_REQUEST_SECTORS, length - sector)))
        self.do(Remove("g"), *(Remove(store.name) for store in self.alive()))
        self.do(*(Remove(f"k{store.number}") for store in self._mapped()), Remove("r"))
        for store in self.stores:
            store.alive = False
        self.merging, self.spoilt, self.discards = None, range(0), True

    def fail(self, obstacle: Obstacle) -> None:
        """Makes a range of a device fail."""
        self._swap(obstacle, failing=True)
        self.discards = False
        if obstacle.device == "r":
            self.spoilt = range(obstacle.sector, obstacle.sector + obstacle.sectors)

    def mend(self, obstacle: Obstacle) -> None:
        """Makes it work again."""
        self._swap(obstacle, failing=False)
        self.spoilt = range(0)

    def _swap(self, obstacle: Obstacle, *, failing: bool) -> None:
        device = obstacle.device
        self.do(Suspend(device), Load(device, obstacle.table(failing=failing)), Resume(device))

    def _mapped(self) -> list[Store]:
        return [store for store in self.stores if store.mapped]

    # -- requests -----------------------------------------------------------------------------------------------------

    def target(self) -> tuple[str, list[Store], int]:
        """Returns a device, the stores that writing to it may put exceptions in, and its size."""
        alive = self.alive()
        if alive and self.dice.chance(0.6):
            store = self.dice.pick(alive)
            return store.name, [store], store.length
        return "g", alive, self.origin

    def request(self, limit: int, stores: Sequence[Store], name: str) -> tuple[int, int]:
        """Returns a range to be written to device ``name`` of size ``limit``: sector and sectors."""
        sector, sectors = self.shape(limit, stores)
        return sector, self.kept_safe(sector, sectors, stores, name)

    def shape(self, limit: int, stores: Sequence[Store]) -> tuple[int, int]:
        """Returns a range of any size and alignment that suits the chunks of ``stores``."""
        dice, chunk = self.dice, dice_chunk(self.dice, stores)
        sector = dice.below(limit)
        whole = sector - sector % chunk
        match dice.weighted({"sector": 3, "few": 6, "chunk": 6, "chunks": 4, "any": 6, "large": 2}):
            case "sector":
                sectors = 1
            case "few":
                sectors = dice.between(2, 16)
            case "chunk":
                sector, sectors = whole, chunk
            case "chunks":
                sector, sectors = whole, chunk * dice.between(2, 6)
            case "any":
                sectors = dice.between(1, 4 * chunk)
            case _:
                sectors = dice.between(1, MAX_REQUEST_SECTORS)
        return sector, min(sectors, limit - sector, MAX_REQUEST_SECTORS)

    def kept_safe(self, sector: int, sectors: int, stores: Sequence[Store], name: str) -> int:
        """Returns how many sectors of a request leave nothing to chance.

        A store that may run out or fail within the request keeps it within one chunk, except that a snapshot's own
        writes may overflow: what was under way then goes on.
        """
        if self.careful or sector in self.spoilt:
            return within_one_chunk(sector, sectors, stores)
        if sector < self.spoilt.start:
            sectors = min(sectors, self.spoilt.start - sector)
        if all(store.fits(sector, sectors) for store in stores):
            return sectors
        if name != "g" and stores[0].kind == "PO" and not stores[0].trapped:
            return sectors
        return within_one_chunk(sector, sectors, stores)


def dice_chunk(dice: Dice, stores: Sequence[Store]) -> int:
    """Returns the chunk size of one of ``stores``; 4 KiB if there are none."""
    return dice.pick(stores).chunk if stores else 8
