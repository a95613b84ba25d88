"""Exception stores: the format on disk, loading one into an exception table, creating a new one."""

from dmsnap.store.finding import Finding, Kind, Severity
from dmsnap.store.format import BadChunkSize, Header
from dmsnap.store.load_trace import LoadEvent, LoadTrace
from dmsnap.store.loading import TruncatedStore
from dmsnap.store.persistent import (
    EmptyStore,
    NotAStore,
    Store,
    StoreTooSmall,
    UnsupportedVersion,
    create_store,
    open_store,
)
from dmsnap.store.prefetch import BadPrefetch
from dmsnap.store.runs import Runs
from dmsnap.store.table import ExceptionTable

__all__ = [
    "BadChunkSize",
    "BadPrefetch",
    "EmptyStore",
    "ExceptionTable",
    "Finding",
    "Header",
    "Kind",
    "LoadEvent",
    "LoadTrace",
    "NotAStore",
    "Runs",
    "Severity",
    "Store",
    "StoreTooSmall",
    "TruncatedStore",
    "UnsupportedVersion",
    "create_store",
    "open_store",
]
