"""The snapshot target, from its table line."""

from __future__ import annotations

import errno

from dmsnap.block.contract import SECTOR_BYTES, IOFailed
from dmsnap.store.exception_store import ExceptionStore
from dmsnap.target.error import ErrorDevice
from dmsnap.target.exceptions import is_out_of_room
from dmsnap.target.stack.refusals import TargetRefused
from dmsnap.target.stack.store_target import StoreTarget
from dmsnap.target.table import FEATURES
from dmsnap.target.writable_snapshot import WritableSnapshot

__all__ = ["SnapshotTarget"]


class SnapshotTarget(StoreTarget):
    """``snapshot <origin> <COW> <P|PO|N> <chunk sectors> [<features> <feature>…]`` (Linux dm-snapshot)."""

    type = "snapshot"
    _snapshot: WritableSnapshot | None = None

    def _make_device(self, store: ExceptionStore) -> WritableSnapshot:
        zeroes, passdown = (feature in self.parsed.features for feature in FEATURES)
        self._snapshot = WritableSnapshot(
            self.parsed.origin,
            store,
            size_bytes=self._size_bytes(),
            name=self.context.mapped.name,
            sync=self.context.shared.sync,
            discard_zeroes_cow=zeroes,
            discard_passdown_origin=passdown,
        )
        self._snapshot.exceptions.overflowed = self.overflowed
        return self._snapshot

    def _lose(self) -> None:
        self._snapshot = self._made = None
        self.device = ErrorDevice(self.length * SECTOR_BYTES, name=self.context.mapped.name)

    def settle(self) -> None:
        if self._snapshot is None:
            return
        exceptions = self._snapshot.exceptions
        self.overflowed = exceptions.overflowed
        try:
            exceptions.commit()
        except IOFailed as error:  # else than of room: then the snapshot is invalid now, and handed over as that
            if is_out_of_room(error):
                number = error.errno or errno.ENOSPC
                words = "Unable to write what is kept in memory"
                raise TargetRefused(words, number, reason=error.message, hint=error.hint) from error

    def _join(self) -> None:
        if self._snapshot is not None:
            self._leave()
            self._users.snapshots.add(self._snapshot.exceptions, self._snapshot.size_bytes)

    def _leave(self) -> None:
        if self._snapshot is not None:
            self._users.snapshots.remove(self._snapshot.exceptions)

    def status(self) -> str:
        if self._snapshot is None:
            return "Unknown" if self.valid else "Invalid"
        return str(self._snapshot.status())
