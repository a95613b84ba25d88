"""Block devices: the contract, the devices that hold bytes, and (in `wrap`) devices around a device."""

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import (
    BadRequest,
    BlockDevice,
    DeviceClosed,
    Extent,
    ExtentKind,
    IOFailed,
    OutOfRoom,
    ReadOnlyDevice,
    ReadRequest,
    WriteRequest,
)
from dmsnap.block.extents import joined
from dmsnap.block.file import FileDevice
from dmsnap.block.medium import CannotOpen, InUse
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.open import open_device
from dmsnap.block.priority import IOClass, IOPriority, io_priority

__all__ = [
    "COMPLETED",
    "BadRequest",
    "BlockDevice",
    "CannotOpen",
    "Completion",
    "DeviceClosed",
    "Extent",
    "ExtentKind",
    "FileDevice",
    "IOClass",
    "IOFailed",
    "IOPriority",
    "InUse",
    "MemoryDevice",
    "OutOfRoom",
    "ReadOnlyDevice",
    "ReadRequest",
    "WriteRequest",
    "io_priority",
    "joined",
    "open_device",
]
