"""The file that a trace is written to: what its name may be, and what it must not be."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import TextIO

from dmsnap.block.contract import BlockDevice
from dmsnap.block.medium import printable
from dmsnap.errors import DmsnapError
from dmsnap.library.plotting import check_plot_file
from dmsnap.library.source import Source, path_of
from dmsnap.store.format import MAGIC
from dmsnap.transfer.media import overlapping
from dmsnap.transfer.raw import OutputIsInput, OutputIsStore
from dmsnap.transfer.whole_file import CannotWrite

__all__ = ["BadTraceFile", "check_trace_file", "check_trace_name", "is_for_viewer", "is_picture", "whole_text"]


class BadTraceFile(DmsnapError, ValueError):
    """A name that does not say how a trace is to be written, or that is no place for one."""


def is_picture(path: str) -> bool:
    """Whether a name is that of a picture."""
    return path.lower().endswith((".svg", ".png"))


def is_for_viewer(path: str) -> bool:
    """Whether a name asks for the format of trace viewers."""
    return path.lower().endswith(".perfetto.json")


def check_trace_name(path: str) -> None:
    """Does nothing if a name says how the trace is to be written; else raises `BadTraceFile`."""
    if not is_picture(path) and not path.lower().endswith(".json"):
        raise BadTraceFile(
            f"{printable(path)}: not the name of a trace",
            hint="end it with .json, or with .svg or .png for a picture, or .perfetto.json for a trace viewer",
            path=path,
        )


def check_trace_file(path: str, beside: Iterable[Source] = ()) -> None:
    """Does nothing if a trace can be expected to be written to ``path``: asked before the load.

    Args:
        path: The name.
        beside: What the same work reads or writes, which must not be overwritten.

    Raises:
        BadTraceFile: It ends with neither ``.json``, ``.svg`` nor ``.png``, or is something other than a file.
        OutputIsInput: It is one of ``beside``, or lies below it, by whatever name.
        OutputIsStore: It is a COW store.
        CannotWrite: The folder is not there.
        NoMatplotlib: A picture is wanted, and what draws it is not installed.
    """
    shown = printable(path)
    check_trace_name(path)
    for source in beside:
        if _is_one(path, path_of(source) if isinstance(source, BlockDevice) else os.fspath(source)):
            raise OutputIsInput(
                f"{shown}: the trace would overwrite what the same command reads or writes",
                hint="name another file",
                path=path,
            )
    try:
        found = os.stat(path)  # noqa: PTH116 - a name that no Path takes is an error like any other
        if not stat.S_ISREG(found.st_mode):
            raise BadTraceFile(f"{shown}: is not a regular file", hint="name a file", path=path)
        _refuse_store(path)
    except FileNotFoundError:
        folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 - beside realpath
        if not os.path.isdir(folder):  # noqa: PTH112
            raise CannotWrite(f"{shown}: cannot be written: no such directory", path=path) from None
    except (OSError, ValueError) as error:
        if isinstance(error, DmsnapError):
            raise
        raise CannotWrite.because(shown, error if isinstance(error, OSError) else OSError(str(error))) from error
    if is_picture(path):
        check_plot_file(path)


@contextlib.contextmanager
def whole_text(path: str) -> Iterator[TextIO]:
    """Gives a new text file to write to, which becomes ``path`` when the block ends well and goes otherwise.

    Raises:
        CannotWrite: The folder is missing, full or not writable.
    """
    final = os.path.realpath(path)
    part = os.path.join(os.path.dirname(final), f".dmsnap-{os.urandom(8).hex()}.part")  # noqa: PTH120
    try:
        with open(part, "x", encoding="ascii", newline="\n") as file:
            yield file
        os.replace(part, final)  # noqa: PTH105
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(part)  # noqa: PTH108
        if isinstance(error, OSError) and not isinstance(error, DmsnapError):
            raise CannotWrite.because(printable(path), error) from error
        raise


def _is_one(path: str, other: str | None) -> bool:
    if other is None:
        return False
    with contextlib.suppress(OSError, ValueError):
        return overlapping(os.stat(path), os.stat(other))  # noqa: PTH116
    with contextlib.suppress(ValueError):
        return os.path.realpath(path) == os.path.realpath(other)
    return False


def _refuse_store(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        if file.read(4) == MAGIC.to_bytes(4, "little"):
            raise OutputIsStore(f"{printable(path)}: is itself a COW store", hint="name another file", path=path)
