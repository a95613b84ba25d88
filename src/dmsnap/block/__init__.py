"""Block devices: the contract, the devices that hold bytes, and (in `wrap`) devices around a device."""

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import (
    BadRequest,
    BlockDevice,
    Extent,
    ExtentKind,
    IOFailed,
    ReadOnlyDevice,
    ReadRequest,
)

__all__ = [
    "COMPLETED",
    "BadRequest",
    "BlockDevice",
    "Completion",
    "Extent",
    "ExtentKind",
    "IOFailed",
    "ReadOnlyDevice",
    "ReadRequest",
]
