"""The snapshot-origin target, from its table line."""

from __future__ import annotations

from collections.abc import Sequence

from dmsnap.block.contract import BlockDevice
from dmsnap.target.origin import OriginDevice
from dmsnap.target.stack.refusals import TargetRefused
from dmsnap.target.stack.target import Area, Target
from dmsnap.target.table import table_argument

__all__ = ["OriginTarget"]


class OriginTarget(Target):
    """``snapshot-origin <device>`` (Linux dm-snapshot)."""

    type = "snapshot-origin"

    def construct(self, arguments: Sequence[str]) -> None:
        if len(arguments) != 1:
            raise TargetRefused("origin: incorrect number of arguments", hint="write: snapshot-origin <device>")
        self._name = arguments[0]
        self._origin = self.context.device(self._name, "Cannot get target device")
        self.zero_byte = 0  # Linux takes sectors of the mapped device for those of the origin
        self._users = self.context.shared.origins.take(self._origin)
        self.device = OriginDevice(self._origin, self._users.snapshots)

    def areas(self) -> Sequence[Area]:
        return (Area(self._origin, self._name, 0, self.length),)

    def flushed(self) -> Sequence[BlockDevice]:
        return (self._origin,)

    def resume(self) -> None:
        with self._users.changing:
            self._users.writers.add(self.context.mapped)

    def postsuspend(self) -> None:
        with self._users.changing:
            self._users.writers.discard(self.context.mapped)

    def table(self) -> str:
        return table_argument(self._name)

    def destroy(self) -> None:
        self.context.shared.origins.release(self._users)
