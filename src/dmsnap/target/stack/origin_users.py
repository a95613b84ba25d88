"""Who works with one origin: its snapshots, its merges, and the devices through which it is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from dmsnap.block.contract import BlockDevice
from dmsnap.target.origin import OriginSnapshots

if TYPE_CHECKING:
    from dmsnap.target.stack.mapped_device import MappedDevice
    from dmsnap.target.stack.store_target import StoreTarget

__all__ = ["OriginUsers", "Origins", "Sharing"]


class Sharing(NamedTuple):
    """Targets on one COW device: the parts of a handover.

    Attributes:
        source: Has been resumed, and has the store.
        destination: Has not been resumed, and waits for it.
        total: How many there are.
    """

    source: StoreTarget | None
    destination: StoreTarget | None
    total: int


class OriginUsers:
    """The users of one origin.

    Attributes:
        origin: The device.
        snapshots: What the origin's writers copy to.
        targets: Snapshots and merges, also those not resumed yet, in the order of their tables.
        writers: Devices that a running snapshot-origin is in.
        changing: Held by whoever adds, removes or resumes a target.
        taken: How many targets work with it, of whatever kind.
    """

    def __init__(self, origin: BlockDevice) -> None:
        self.origin = origin
        self.snapshots = OriginSnapshots()
        self.targets: list[StoreTarget] = []
        self.writers: set[MappedDevice] = set()
        self.changing = threading.RLock()
        self.taken = 0

    def sharing(self, cow: BlockDevice) -> Sharing:
        """Returns the targets with this COW device."""
        same = [target for target in self.targets if target.parsed.cow is cow]
        source = next((target for target in reversed(same) if target.active), None)
        destination = next((target for target in reversed(same) if not target.active), None)
        return Sharing(source, destination, len(same))

    @contextmanager
    def quiet(self, but: MappedDevice) -> Iterator[None]:
        """Keeps everybody from writing to the origin meanwhile, without suspending their devices.

        Linux does it too (``dm_internal_suspend_fast``) while a snapshot is resumed; requests wait, a merge stops.

        Args:
            but: A device that is suspended anyway.
        """
        with self.changing, ExitStack() as stack:
            merges = [target for target in self.targets if target.merges]
            for mapped in {*self.writers, *(target.context.mapped for target in merges)} - {but}:
                mapped.gate.shut()
                stack.callback(mapped.gate.open)
            for target in merges:
                stack.callback(target.go_on, target.pause())
            yield


class Origins:
    """The origins of a stack, by device."""

    def __init__(self) -> None:
        self._users: dict[int, OriginUsers] = {}
        self._lock = threading.Lock()

    def take(self, origin: BlockDevice) -> OriginUsers:
        """Returns the users of an origin, for a target that will `release` them."""
        with self._lock:
            users = self._users.setdefault(id(origin), OriginUsers(origin))
            users.taken += 1
            return users

    def release(self, users: OriginUsers) -> None:
        """Undoes one `take`."""
        with self._lock:
            users.taken -= 1
            if not users.taken:
                del self._users[id(users.origin)]
