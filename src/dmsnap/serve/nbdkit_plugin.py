"""A snapshot as an nbdkit plugin, for those who want nbdkit's filters around it.

nbdkit loads this file by its path and calls the functions below; see nbdkit-python-plugin(3), API version 2::

    nbdkit python "$(python3 -c 'import dmsnap.serve.nbdkit_plugin as p; print(p.__file__)')" cow=a.cow origin=o.img

Parameters: ``cow`` and ``origin`` as `dmsnap.open_snapshot` takes them, ``mode=r`` to only look (nothing is locked or
written), ``sync=flush|commit``, ``full=enospc|overflow|invalidate``, ``prefetch=auto|kernel|N``. nbdkit's own ``-r``
shows clients a disk that they can only read. All connections share one snapshot, which is committed when a client
flushes and when nbdkit ends.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dmsnap
from dmsnap.block.contract import BlockDevice, ExtentKind
from dmsnap.errors import DmsnapError
from dmsnap.serve.nbd.failures import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "API_VERSION",
    "after_fork",
    "block_size",
    "cache",
    "can_cache",
    "can_fast_zero",
    "can_fua",
    "can_multi_conn",
    "can_write",
    "cleanup",
    "config",
    "config_complete",
    "extents",
    "flush",
    "get_ready",
    "get_size",
    "open",
    "pread",
    "pwrite",
    "thread_model",
    "trim",
    "zero",
]

API_VERSION = 2

MOST_BLOCK_BYTES = 32 << 20

_parameters: dict[str, str] = {}
_snapshot: dmsnap.SnapshotFile | dmsnap.WritableSnapshotFile | None = None


class BadParameter(DmsnapError, ValueError):
    """A parameter of the plugin that does not exist, or is missing."""


# -- the plugin's life -------------------------------------------------------------------------------------------------


def config(key: str, value: str) -> None:
    """Takes ``key=value`` of nbdkit's command line."""
    if key not in ("cow", "origin", "mode", "sync", "full", "prefetch"):
        with _in_brief():
            raise BadParameter(f"no such parameter: {key}", hint="there are cow, origin, mode, sync, full and prefetch")
    if key in ("cow", "origin") and "://" not in value and not value.startswith("lvm:"):
        value = str(Path(value).absolute())  # nbdkit leaves the folder when it goes to the background
    _parameters[key] = value


def config_complete() -> None:
    """Looks at whether all is there."""
    with _in_brief():
        for key in ("cow", "origin"):
            if key not in _parameters:
                raise BadParameter(f"{key}= is missing", hint="cow=STORE origin=WHAT-IT-WAS-TAKEN-OF")
        if _parameters.setdefault("mode", "r+") not in ("r", "r+"):
            raise BadParameter(f"no such mode: {_parameters['mode']}", hint="'r' is for reading, 'r+' for writing too")


def thread_model() -> int:
    """Any number of requests at once."""
    return int(_nbdkit().THREAD_MODEL_PARALLEL)


def get_ready() -> None:
    """Opens the snapshot to look: what is wrong with it is to be said before nbdkit goes to the background."""
    with _in_brief():
        dmsnap.open_snapshot(**{**_parameters, "mode": "r"}).close()  # type: ignore[call-overload]


def after_fork() -> None:
    """Opens the snapshot; not before, as threads that were started do not live in the process that serves."""
    global _snapshot
    with _in_brief():
        _snapshot = dmsnap.open_snapshot(**{"full": "enospc", **_parameters})  # type: ignore[call-overload]


def cleanup() -> None:
    """Commits and closes it."""
    if _snapshot is not None:
        _snapshot.close()


# -- a connection ------------------------------------------------------------------------------------------------------


def open(readonly: bool) -> BlockDevice:  # noqa: A001, ARG001 - nbdkit's name; it refuses writes itself
    """Every connection gets the same device."""
    assert _snapshot is not None
    return _snapshot


def get_size(h: BlockDevice) -> int:
    """In bytes."""
    return h.size_bytes


def block_size(h: dmsnap.SnapshotFile | dmsnap.WritableSnapshotFile) -> tuple[int, int, int]:
    """Least, preferred (a chunk) and most; bytes."""
    return h.logical_block_size_bytes, min(h.store.chunk_size_bytes, MOST_BLOCK_BYTES), MOST_BLOCK_BYTES


def can_write(h: BlockDevice) -> bool:
    """Whether writes may be tried."""
    return not h.read_only


def can_multi_conn(h: BlockDevice) -> bool:  # noqa: ARG001
    """A flush on one connection covers what others have written."""
    return True


def can_fua(h: BlockDevice) -> int:  # noqa: ARG001
    """A write may be durable by itself."""
    return int(_nbdkit().FUA_NATIVE)


def can_fast_zero(h: BlockDevice) -> bool:
    """Whether zeros cost less than writing them."""
    return h.zeroes_quickly


def can_cache(h: BlockDevice) -> int:  # noqa: ARG001
    """Reading ahead is possible."""
    return int(_nbdkit().CACHE_NATIVE)


def pread(h: BlockDevice, buf: bytearray, offset: int, flags: int) -> None:  # noqa: ARG001
    """Reads."""
    _do(h.read_into, offset, memoryview(buf))


def pwrite(h: BlockDevice, buf: bytearray, offset: int, flags: int) -> None:
    """Writes."""
    if flags & _nbdkit().FLAG_FUA:
        _do(lambda: h.write_at(offset, buf, fua=True))
    else:
        _do(h.write_at, offset, buf)


def flush(h: BlockDevice, flags: int) -> None:  # noqa: ARG001
    """Makes everything written durable."""
    _do(h.flush)


def trim(h: BlockDevice, count: int, offset: int, flags: int) -> None:
    """Is told that a range is not needed."""
    _do(h.discard, offset, count)
    if flags & _nbdkit().FLAG_FUA:
        _do(h.flush)


def zero(h: BlockDevice, count: int, offset: int, flags: int) -> None:
    """Makes a range read as zeros."""
    _do(h.zero, offset, count)
    if flags & _nbdkit().FLAG_FUA:
        _do(h.flush)


def cache(h: BlockDevice, count: int, offset: int, flags: int) -> None:  # noqa: ARG001
    """Begins to read a range."""
    _do(h.prefetch, offset, count)


def extents(h: BlockDevice, count: int, offset: int, flags: int) -> list[tuple[int, int, int]]:
    """Returns *(offset, length, type)*: what is a hole and reads as zeros."""
    nbdkit = _nbdkit()
    hole = int(nbdkit.EXTENT_HOLE | nbdkit.EXTENT_ZERO)
    found: list[tuple[int, int, int]] = []

    def collect() -> None:
        for extent in h.extents(offset, count):
            found.append((extent.offset, extent.length, hole if extent.kind is ExtentKind.HOLE else 0))
            if len(found) >= 1024 or flags & nbdkit.FLAG_REQ_ONE:
                return

    _do(collect)
    return found


def _do(function: Callable[..., object], *arguments: Any) -> None:
    """Calls a function; an error goes to the client as the number that fits best."""
    try:
        function(*arguments)
    except (DmsnapError, MemoryError) as error:
        _nbdkit().set_error(int(told(error)[0]))
        raise


@contextlib.contextmanager
def _in_brief() -> Iterator[None]:
    """Takes the frames from the traceback that nbdkit prints of an error; for errors that end it, at its start."""
    try:
        yield
    except DmsnapError as error:
        sys.tracebacklimit = 0
        raise error from None


def _nbdkit() -> Any:
    """The module that exists inside nbdkit alone."""
    return importlib.import_module("nbdkit")
