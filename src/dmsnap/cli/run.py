"""Runs the command and turns every way to end into an exit status: 0 done, 1 failed, 2 wrong usage.

Whatever goes wrong is one line on stderr, ``dmsnap: what is wrong (hint: what to do)``; ``--debug`` adds the traceback.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from functools import cache

import click

from dmsnap.cli.group import Interrupted, Invocation, dmsnap
from dmsnap.cli.text import printable
from dmsnap.errors import DmsnapError

__all__ = ["run"]

_NEW_OBJECTS = 20_000
"""Between two searches for cycles: imports make many objects, and no garbage."""

_KEPT_BYTES = 4 << 20
"""The C library gives larger memory back to the system at once, and each 4 KiB of what takes its place cost a page
fault: work in batches would spend half of its time in them. That is 128 KiB at first, and then the largest memory that
was ever freed (mallopt(3), M_MMAP_THRESHOLD)."""

DONE, FAILED, WRONG_USAGE = 0, 1, 2


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs ``dmsnap`` with ``arguments`` (default: those of the process) and returns the exit status."""
    _prepare_process()
    invocation = Invocation()
    try:
        ended = dmsnap.main(
            args=None if arguments is None else list(arguments),
            prog_name="dmsnap",
            obj=invocation,
            standalone_mode=False,
        )
        if sys.stdout is not None:
            sys.stdout.flush()
        return ended if isinstance(ended, int) else DONE  # an int where click ended early, as after --help
    except SystemExit as end:  # click's own ends: help, shell completion, a closed pipe
        return end.code if isinstance(end.code, int) else FAILED
    except BaseException as error:  # noqa: BLE001 - the outermost caller: everything ends in a status here
        return _end(error, debug=invocation.debug)


def _prepare_process() -> None:
    """Guards against what a shell hands over: closed descriptors, narrow encodings; SIGTERM, SIGHUP end as Ctrl-C."""
    _save_time()
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: else the next file opened, a store perhaps, would become stdout
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with contextlib.suppress(ValueError):  # not the main thread: the program around decides about signals
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else it is under nohup
            signal.signal(signal.SIGHUP, signal.default_int_handler)


@cache
def _save_time() -> None:
    """Spares commands what would be half of their time: threads, searches for garbage, page faults."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else NumPy starts threads for linear algebra: there is none
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)  # what is left goes with the process: no search for cycles in it
    bytearray(_KEPT_BYTES)


def _hear_no_more_signals() -> None:
    """Lets a process that was interrupted end in peace, though Ctrl-C is pressed once more."""
    with contextlib.suppress(ValueError):  # not the main thread
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)


def _end(error: BaseException, *, debug: bool) -> int:
    """Says what went wrong and returns the exit status."""
    if isinstance(error, KeyboardInterrupt | Interrupted):
        _hear_no_more_signals()
    if debug:
        import traceback

        traceback.print_exception(error)
    _flush_stdout()
    if isinstance(error, BrokenPipeError):
        return FAILED  # whoever read our output has seen enough
    message, hint, status = _explain(error)
    click.echo(f"dmsnap: {printable(message)}" + (f" (hint: {printable(hint)})" if hint else ""), err=True)
    return status


def _explain(error: BaseException) -> tuple[str, str, int]:
    """Returns the message, the hint (or "") and the exit status of an error."""
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "dmsnap"
        return _as_clause(error.format_message()), f"try '{path} --help'", WRONG_USAGE
    if isinstance(error, click.ClickException):
        return _as_clause(error.format_message()), "", FAILED
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "interrupted", "", FAILED
    if isinstance(error, DmsnapError):
        return error.message, error.hint, FAILED
    if isinstance(error, OSError) and error.strerror:
        name = os.fsdecode(error.filename) + ": " if isinstance(error.filename, str | bytes) else ""
        if not name and error.errno == errno.ENOSPC:  # a device's error has a name
            name = "standard output: "
        return name + error.strerror, "", FAILED
    if isinstance(error, MemoryError):
        return "out of memory", "", FAILED
    return f"unexpected {type(error).__name__}: {error}", "this is a bug in dmsnap; --debug shows where", FAILED


def _as_clause(message: str) -> str:
    """Click's message in the form of ours: no capital, no full stop, one line."""
    text = " ".join(message.split()).removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _flush_stdout() -> None:
    """Writes out what was printed; what cannot be written goes nowhere, else the interpreter's last flush complains."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
