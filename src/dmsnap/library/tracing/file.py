"""The file that a trace is written to: what its name may be, and what that says."""

from __future__ import annotations

import os
from collections.abc import Iterable

from dmsnap.block.medium import printable
from dmsnap.errors import DmsnapError
from dmsnap.library.output_file import check_output_file
from dmsnap.library.plotting import check_matplotlib
from dmsnap.library.source import Source

__all__ = ["BadTraceFile", "check_trace_file", "check_trace_name", "is_for_viewer", "is_picture"]


class BadTraceFile(DmsnapError, ValueError):
    """A name that does not say how a trace is to be written."""


def is_picture(path: str) -> bool:
    """Whether a name is that of a picture."""
    return path.lower().endswith((".svg", ".png"))


def is_for_viewer(path: str) -> bool:
    """Whether a name asks for the format of trace viewers."""
    return path.lower().endswith(".perfetto.json")


def check_trace_name(path: str) -> None:
    """Does nothing if a name says how the trace is to be written; else raises `BadTraceFile`."""
    named = os.path.splitext(path)[0]  # noqa: PTH122 - of ".svg" alone that is all
    if not path.lower().endswith((".svg", ".png", ".json")) or named == path:
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
        BadTraceFile: It ends with neither ``.json``, ``.svg`` nor ``.png``.
        BadOutputFile, OutputIsInput, OutputIsStore, CannotWrite: As `check_output_file`.
        NoMatplotlib: A picture is wanted, and what draws it is not installed.
    """
    check_trace_name(path)
    check_output_file(path, beside, what="the trace")
    if is_picture(path):
        check_matplotlib()
