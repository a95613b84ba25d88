"""Device-mapper targets as block devices, with the table and status strings that the kernel uses for them."""

from dmsnap.target.snapshot import DamagedException, SnapshotDevice, SnapshotInvalid, refuse_invalid
from dmsnap.target.status import BadStatus, Status, ima_words, parse_status, status_words, store_status
from dmsnap.target.table import Activation, BadDeviceName, BadTable, activation, origin_table_line, table_line

__all__ = [
    "Activation",
    "BadDeviceName",
    "BadStatus",
    "BadTable",
    "DamagedException",
    "SnapshotDevice",
    "SnapshotInvalid",
    "Status",
    "activation",
    "ima_words",
    "origin_table_line",
    "parse_status",
    "refuse_invalid",
    "status_words",
    "store_status",
    "table_line",
]
