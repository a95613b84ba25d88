"""What a target type is to the stack: built from a table line, asked for a device, told of suspend and resume.

Source: Linux ``struct target_type``, and the order in which device-mapper calls it: the constructor when a table is
loaded; *preresume* of all targets, then *resume* of all; *presuspend* while requests still run, *postsuspend* when none
does; the destructor when the table goes, which may be without ever having been resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice
from dmsnap.target.stack.context import TableContext

__all__ = ["Area", "Target"]


class Area(NamedTuple):
    """A part of a device that a target needs: it must be there, in whole logical blocks.

    Attributes:
        device: Where.
        name: Of the device, as in the table.
        start: First sector.
        length: Sectors.
    """

    device: BlockDevice
    name: str
    start: int
    length: int


class Target:
    """One line of a table.

    Args:
        context: What it is built in.
        start: First sector of the mapped device.
        length: Sectors.
        arguments: From the line.

    Attributes:
        type: Its name in tables.
        device: What requests go to, from the first `preresume` on.
        zero_byte: Where on the mapped device byte 0 of ``device`` is: the target's own start, unless it says otherwise.
    """

    type: ClassVar[str]
    device: BlockDevice

    def __init__(self, context: TableContext, start: int, length: int, arguments: Sequence[str]) -> None:
        self.context = context
        self.start = start
        self.length = length
        self.zero_byte = start * SECTOR_BYTES
        self.construct(arguments)

    def construct(self, arguments: Sequence[str]) -> None:
        """Takes the arguments and opens what they name.

        Raises:
            TargetRefused: With the kernel's words.
        """
        raise NotImplementedError

    def areas(self) -> Sequence[Area]:
        """Returns what it needs of other devices, to be checked before it is started."""
        return ()

    def flushed(self) -> Sequence[BlockDevice]:
        """Returns what has to be flushed for what was written to it to be durable."""
        return ()

    def prepare(self) -> None:
        """Makes sure that it can follow the table before, which is suspended and still there.

        Raises:
            TargetRefused: Not now; the table goes on waiting.
        """

    def preresume(self) -> None:
        """Gets ready for requests.

        Raises:
            TargetRefused: It cannot; the device stays suspended.
        """

    def resume(self) -> None:
        """Begins to work."""

    def presuspend(self) -> None:
        """Stops what it does by itself; requests still come."""

    def postsuspend(self) -> None:
        """Hears that no request is left, and none will come before the next resume."""

    def settle(self) -> None:
        """Makes durable what it keeps in memory, before it goes or hands it over. No request is left.

        Raises:
            TargetRefused: The host has no room for it. Nothing is lost, and it can be tried again.
        """

    def status(self) -> str:
        """Returns what ``dmsetup status`` prints behind the type."""
        return ""

    def table(self) -> str:
        """Returns what ``dmsetup table`` prints behind the type."""
        return ""

    def destroy(self) -> None:
        """Lets go of everything but the devices that the context opened."""
