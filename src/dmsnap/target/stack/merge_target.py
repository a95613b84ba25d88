"""The snapshot-merge target, from its table line: it merges by itself while it is not suspended."""

from __future__ import annotations

import threading

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.store.exception_store import ExceptionStore
from dmsnap.store.writable import PersistentStore
from dmsnap.target.merging import MergeDevice
from dmsnap.target.origin import OriginDevice
from dmsnap.target.stack.store_target import StoreTarget

__all__ = ["MergeTarget"]


class MergeTarget(StoreTarget):
    """``snapshot-merge <origin> <COW> <P|PO> <chunk sectors>`` (Linux dm-snapshot).

    A merge that failed stays so until another table is loaded; it is tried again with each resume.
    """

    type = "snapshot-merge"
    merges = True
    _merge: MergeDevice | None = None
    _thread: threading.Thread | None = None
    _stop = False
    _interrupted = False  # whether the merge was stopped, and neither done nor failed

    def _make_device(self, store: ExceptionStore) -> BlockDevice:
        assert isinstance(store, PersistentStore)
        if not store.valid:  # its exceptions may still be in memory: none of them counts
            self.valid = False
            self._lose()
            return self.device
        self._merge = MergeDevice(
            self.parsed.origin,
            store,
            others=self._users.snapshots,
            size_bytes=self._size_bytes(),
            name=self.context.mapped.name,
        )
        return self._merge

    def _lose(self) -> None:
        """Everything goes to the origin then, as of an invalid snapshot."""
        self._merge = self._made = None
        self.device = OriginDevice(self.parsed.origin, self._users.snapshots)

    # -- the merge itself ---------------------------------------------------------------------------------------------

    def resume(self) -> None:
        with self._users.changing:
            super().resume()
            self.go_on(True)

    def presuspend(self) -> None:
        with self._users.changing:
            self.pause()

    def pause(self) -> bool:
        thread = self._thread
        if thread is None:
            return False
        self._stop = True
        thread.join()
        self._thread, self._stop = None, False
        return self._interrupted

    def go_on(self, running: bool) -> None:
        if running and self._merge is not None:
            name = f"{self.context.mapped.name}-merge"
            self._thread = threading.Thread(target=self._run, args=(self._merge,), name=name, daemon=True)
            self._thread.start()

    def _run(self, merge: MergeDevice) -> None:
        """Merges step by step until nothing is left, something fails or it is told to stop."""
        self._interrupted = False
        try:
            while not self._stop:
                if not merge.step().chunks:
                    return
            self._interrupted = True
        except DmsnapError:
            merge.failed = True  # as it is already, unless the host has no room for what another snapshot keeps
        except BaseException:
            merge.failed = True
            raise

    # -- words and the end --------------------------------------------------------------------------------------------

    def status(self) -> str:
        if self._merge is None:
            return "Unknown" if self.valid else "Invalid"
        status = self._merge.status()
        return "Overflow" if self.overflowed and not status.state else str(status)

    def destroy(self) -> None:
        with self._users.changing:
            self.pause()
            super().destroy()
