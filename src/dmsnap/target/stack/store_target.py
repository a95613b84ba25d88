"""What snapshot and snapshot-merge have in common: a store, which a new table takes over from the one before.

Source: Linux dm-snapshot. A table with origin and COW device of a target that runs already does not load the store. It
waits until it is resumed, with the other suspended, and then has the other's store; the other is invalid from then on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice
from dmsnap.store.exception_store import ExceptionStore
from dmsnap.target.stack.refusals import TargetRefused
from dmsnap.target.stack.snapshot_arguments import parse_snapshot
from dmsnap.target.stack.store_loading import load_store
from dmsnap.target.stack.target import Area, Target
from dmsnap.target.table import table_argument

__all__ = ["StoreTarget"]


class StoreTarget(Target):
    """A target with an exception store.

    Attributes:
        parsed: What the table line says.
        store: None before a handover, and after it was handed over.
        active: Whether it was ever resumed.
        valid: False where there never will be a store.
        overflowed: Whether a ``PO`` store ran full before it was handed over.
        merges: Whether this is a merge.
    """

    merges = False

    def construct(self, arguments: Sequence[str]) -> None:
        self.parsed = parse_snapshot(self.context, arguments, writes_origin=self.merges)
        self.zero_byte = 0  # Linux takes sectors of the mapped device for those of the origin
        self.store: ExceptionStore | None = None
        self.active = False
        self.valid = True
        self.overflowed = False
        self._kind_without_store = self.parsed.kind
        self._made: BlockDevice | None = None
        self._users = self.context.shared.origins.take(self.parsed.origin)
        try:
            with self._users.changing:
                self._construct()
        except BaseException:
            self.context.shared.origins.release(self._users)
            raise

    def _construct(self) -> None:
        source, destination, total = self._users.sharing(self.parsed.cow)
        if destination is not None or total > 1:
            raise TargetRefused(
                "Snapshot cow pairing for exception table handover failed",
                reason=f"another table already waits for {self.parsed.cow_name}",
                hint="resume or remove the device that it is loaded for",
            )
        if self.merges and source is not None and any(target.merges for target in self._users.targets):
            raise TargetRefused("A snapshot is already merging.", hint="wait for it, then remove it")
        if self.merges and (self.parsed if source is None else source).kind == "N":
            raise TargetRefused(
                "Snapshot exception store does not support snapshot-merge.", hint="a transient store cannot be merged"
            )
        if source is None:
            self.store = load_store(self.parsed, self.context.shared.prefetch)
        self._users.targets.append(self)

    @property
    def kind(self) -> str:
        """The store's type, as in tables."""
        return self._kind_without_store if self.store is None else self.store.kind

    def areas(self) -> Sequence[Area]:
        cow = self.parsed.cow
        return (
            Area(self.parsed.origin, self.parsed.origin_name, 0, self.length),
            Area(cow, self.parsed.cow_name, 0, cow.size_bytes // SECTOR_BYTES),
        )

    def flushed(self) -> Sequence[BlockDevice]:
        return (self.device,)

    # -- resume -------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        with self._users.changing:
            source, destination, _ = self._users.sharing(self.parsed.cow)
            if source is not None and destination is self and source.context.mapped.suspended:
                source.settle()

    def preresume(self) -> None:
        self.prepare()
        with self._users.changing:
            source, destination, _ = self._users.sharing(self.parsed.cow)
            if source is not None and destination is not None:
                if self is source:
                    raise TargetRefused(
                        "Unable to resume snapshot source until handover completes.",
                        hint=f"resume {destination.context.mapped.name}",
                    )
                if not source.context.mapped.suspended:
                    name = source.context.mapped.name
                    raise TargetRefused(
                        "Unable to perform snapshot handover until source is suspended.", hint=f"suspend {name}"
                    )
            elif self._made is None:
                self._make()

    def resume(self) -> None:
        with self._users.quiet(but=self.context.mapped):
            source, destination, _ = self._users.sharing(self.parsed.cow)
            if source is not None and destination is self:
                self._take_over(source)
            self._join()
            self.active = True

    def _take_over(self, source: StoreTarget) -> None:
        self.store, source.store = source.store, None
        self.valid, source.valid = source.valid, False
        self.overflowed = source.overflowed
        source._kind_without_store = self.parsed.kind
        source._leave()
        source._lose()
        if self.store is not None and self.store.kind != "N":
            self.store.kind = "PO" if self.parsed.kind == "PO" else "P"
        self._make()

    def _size_bytes(self) -> int:
        """How much of the origin its device has to cover."""
        block = max(self.parsed.origin.logical_block_size_bytes, self.parsed.cow.logical_block_size_bytes)
        return min((self.start + self.length) * SECTOR_BYTES, self.parsed.origin.size_bytes & -block)

    def _make(self) -> None:
        if self.store is None:
            self._lose()
        else:
            self.device = self._made = self._make_device(self.store)

    @abstractmethod
    def _make_device(self, store: ExceptionStore) -> BlockDevice:
        """Returns the device over a store."""

    @abstractmethod
    def _lose(self) -> None:
        """Makes ``device`` what it is without a store, and forgets the one it had."""

    def _join(self) -> None:
        """Begins to hear of writes to the origin."""

    def _leave(self) -> None:
        """Hears no more of writes to the origin."""

    def pause(self) -> bool:
        """Stops what writes to the origin by itself; returns whether something did."""
        return False

    def go_on(self, running: bool) -> None:
        """Undoes `pause`, given what that returned."""

    # -- words and the end --------------------------------------------------------------------------------------------

    def table(self) -> str:
        chunk = 0 if self.store is None else self.store.chunk_size_sectors
        parsed = self.parsed
        words = [table_argument(parsed.origin_name), table_argument(parsed.cow_name), self.kind, str(chunk)]
        if parsed.features:
            words += [str(len(parsed.features)), *parsed.features]
        return " ".join(words)

    def destroy(self) -> None:
        with self._users.quiet(but=self.context.mapped):
            source, destination, _ = self._users.sharing(self.parsed.cow)
            if source is self and destination is not None:  # "Cancelling snapshot handover."
                destination.valid = False
            self._leave()
            self._users.targets.remove(self)
        self.context.shared.origins.release(self._users)
        try:
            if self._made is not None:
                self._made.close()
        finally:
            if self.store is not None:
                self.store.close()
