"""Table lines to running devices: create, load, suspend, resume, remove, status and table of ``dmsetup``.

`stack` has the names, `mapped_device` sends requests through `io_gate` to the targets of a `device_table`, which was
built from the lines of `table_text`; `target` says what a target type is to all of them.
"""

from dmsnap.target.exceptions import SyncMode
from dmsnap.target.stack.mapped_device import MappedDevice
from dmsnap.target.stack.refusals import (
    BadTableText,
    DeviceBusy,
    DeviceExists,
    NoSuchDevice,
    NoTable,
    TableRefused,
)
from dmsnap.target.stack.stack import Stack

__all__ = [
    "BadTableText",
    "DeviceBusy",
    "DeviceExists",
    "MappedDevice",
    "NoSuchDevice",
    "NoTable",
    "Stack",
    "SyncMode",
    "TableRefused",
]
