"""``--trace FILE``: records how stores are loaded, and writes that down however the command ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from dmsnap.cli.output import flush_results, print_warning
from dmsnap.errors import DmsnapError

if TYPE_CHECKING:
    from dmsnap.library.tracing.trace import Trace

__all__ = ["trace_option", "traced"]


def _trace_callback(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        from dmsnap.library.tracing.file import BadTraceFile, check_trace_name

        try:
            check_trace_name(value)
        except BadTraceFile as error:
            raise click.BadParameter(f"{error.message}; {error.hint}") from error
    return value


trace_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--trace",
    metavar="FILE",
    type=click.Path(readable=False),
    callback=_trace_callback,
    help="Record when the store's areas are read and waited for: FILE.json, or FILE.svg or .png as a picture.",
)


@contextlib.contextmanager
def traced(path: str | None, *beside: str | None) -> Iterator[Trace | None]:
    """Gives what records the loads of a command, and writes it to ``path`` when the block ends; None without a path.

    A load that fails, or that Ctrl-C ends, is when one wants to see it: it is written too, if any area was asked for.

    Args:
        path: What the user gave, if anything.
        beside: What else the command reads and writes: no trace overwrites it.

    Inside the block the command prints its result too, which comes out before the trace is written: a result is never
    lost to a trace.

    Raises:
        DmsnapError: Before the block: the file cannot be had. After a block that ended well: it cannot be written.
    """
    if path is None:
        yield None
        return
    from dmsnap.library.tracing.file import check_trace_file
    from dmsnap.library.tracing.trace import Trace
    from dmsnap.library.volumes.address import paths_named

    check_trace_file(path, [each for name in beside if name is not None for each in paths_named(name)])
    trace = Trace()
    try:
        yield trace
        flush_results()
    except BaseException:
        if any(map(len, trace.loads)):
            _save_beside_an_error(trace, path)
        raise
    if trace.loads:
        trace.save(path)


def _save_beside_an_error(trace: Trace, path: str) -> None:
    try:
        trace.save(path)
    except DmsnapError as error:
        print_warning(f"the trace was not written: {error.message}")
