"""How libfuse's requests reach a `DeviceFilesystem`: its own memory is read into and written from.

mfusepy alone would copy what is read twice and what is written once, and make a new Python thread state for every
request: both together cost more than an average read of 4 KiB does.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from dmsnap.serve.fuse.filesystem import DeviceFilesystem

__all__ = ["fuse_class"]

_MOST_KEPT = 256
"""Of so many of libfuse's threads the state is kept, some 17 KiB each: it is never given back. A mount has ten threads,
and more where libfuse is older than 3.12 and many ask at once; who mounts for ever gets slower, but not larger."""

_WRITABLE = 0x200  # PyBUF_WRITE of CPython's buffer protocol

_memory_at = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)


def fuse_class(mfusepy: Any, filesystem: DeviceFilesystem, stopping: Callable[[], bool]) -> Any:
    """Returns mfusepy's ``FUSE`` with some requests answered more directly.

    Args:
        mfusepy: The module.
        filesystem: What is served.
        stopping: Whether to unmount, asked at each ``statvfs`` of the mount, which no cache answers.
    """
    keep_thread_state = _thread_states.keep

    class DirectFuse(mfusepy.FUSE):  # type: ignore[misc]
        def read(self, path: object, buf: Any, size: int, offset: int, fip: object) -> int:  # noqa: ARG002
            keep_thread_state()
            return filesystem.read_into(offset, _memory(buf, size))

        def write(self, path: object, buf: Any, size: int, offset: int, fip: object) -> int:  # noqa: ARG002
            keep_thread_state()
            return filesystem.write(offset, _memory(buf, size))

        def lseek(self, path: object, offset: int, whence: int, fip: object) -> int:  # noqa: ARG002
            return filesystem.lseek(offset, whence)

        def statfs(self, path: bytes, buf: Any) -> int:
            if stopping():
                mfusepy.fuse_exit()  # unmounts, in use or not
            status: int = super().statfs(path, buf)
            return status

    return DirectFuse


def _memory(pointer: Any, size: int) -> memoryview:
    """Memory of libfuse's, good for as long as the request lasts."""
    view: memoryview = _memory_at(ctypes.addressof(pointer.contents), size, _WRITABLE)
    return view


class _ThreadStates:
    """Keeps Python's state of a thread that was not made by Python, which else is made anew for each call from C.

    ``PyGILState_Ensure`` counts calls within calls; one more than is ever released keeps the state.
    """

    def __init__(self) -> None:
        self._this_thread = threading.local()
        self._kept = 0

    def keep(self) -> None:
        if self._kept < _MOST_KEPT and not hasattr(self._this_thread, "kept"):
            self._this_thread.kept = True
            self._kept += 1
            ctypes.pythonapi.PyGILState_Ensure()


_thread_states = _ThreadStates()
