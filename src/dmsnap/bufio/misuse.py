"""What a caller of bufio can do wrong, and the mark that a thread is inside one of bufio's callbacks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from dmsnap.errors import DmsnapError

if TYPE_CHECKING:
    from dmsnap.bufio.buffer import Buffer

__all__ = ["BufferLeaked", "BufioMisuse", "callback_threads", "refuse_in_callback", "run_callback"]


class BufioMisuse(DmsnapError, AssertionError):
    """A broken rule of use: a defect in the calling code, never in the data. Linux dm-bufio stops or warns here."""


class BufferLeaked(BufioMisuse):
    """A client was closed or reset while buffers were held.

    Attributes:
        fields: ``blocks``, the numbers of the blocks that were held.
    """


callback_threads: set[int] = set()
"""The threads that are inside a callback of some client; nearly always empty, which is cheap to see."""


def run_callback(callback: Callable[[Buffer], object], buffer: Buffer) -> None:
    """Runs a caller's callback, marked so that blocking calls from inside it are refused instead of deadlocking."""
    thread = threading.get_ident()
    callback_threads.add(thread)  # never nested: what could run another callback is refused
    try:
        callback(buffer)
    finally:
        callback_threads.discard(thread)


def refuse_in_callback(call: str) -> None:
    """Raises `BufioMisuse` where this thread is inside an allocation or write callback of any client.

    Linux's counterpart is the check for being inside bio submission, where waiting for I/O would never end.
    """
    if callback_threads and threading.get_ident() in callback_threads:
        raise BufioMisuse(f"bufio {call} called from inside a callback", hint="it would wait for itself", call=call)
