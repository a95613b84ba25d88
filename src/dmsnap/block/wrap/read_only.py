"""A device that may only be looked at."""

from __future__ import annotations

from dmsnap.block.contract import BlockDevice
from dmsnap.block.wrap.wrapper import Wrapper

__all__ = ["ReadOnlyWrapper"]


class ReadOnlyWrapper(Wrapper):
    """Refuses writes, zeros and discards with `ReadOnlyDevice`, whatever the device below allows."""

    def __init__(self, device: BlockDevice) -> None:
        super().__init__(device)
        self.read_only = True
