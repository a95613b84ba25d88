"""``dmsnap mount``: a snapshot as a file, for any program."""

from __future__ import annotations

import os
import shlex
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

import dmsnap
from dmsnap.cli.background import ANNOUNCE, announce, start_in_background, tell_late
from dmsnap.cli.group import Invocation
from dmsnap.cli.only_readable import hint_at_read_only
from dmsnap.cli.options import PATH, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import flush_results, for_eyes, result_stream
from dmsnap.cli.text import printable
from dmsnap.cli.tracing import trace_option, traced
from dmsnap.errors import DmsnapError

if TYPE_CHECKING:
    from dmsnap import MountedSnapshot


@verb("mount")
@snap_argument
@click.argument("directory", metavar="DIR", type=PATH)
@origin_option(required=True)
@click.option("--read-only", is_flag=True, help="Only look: nothing is ever written to SNAP.")
@click.option(
    "--sync",
    type=click.Choice(["flush", "commit"]),
    default="flush",
    show_default=True,
    help="When writes become durable: by fsync and close, or (slower) what is written for the first time at once.",
)
@click.option("--allow-other", is_flag=True, help="Let other users, root among them, read the file.")
@click.option("-f", "--foreground", is_flag=True, help="Stay until it is unmounted; Ctrl-C unmounts it.")
@click.option(ANNOUNCE, "announce_to", type=int, hidden=True)
@prefetch_option
@trace_option
@click.pass_context
def command(
    context: click.Context,
    snap: str,
    directory: str,
    origin: str | None,
    read_only: bool,
    sync: Literal["flush", "commit"],
    allow_other: bool,
    foreground: bool,
    announce_to: int | None,
    prefetch: str,
    trace: str | None,
) -> None:
    """Mount the snapshot SNAP as one file in the empty directory DIR, by FUSE; root is not needed.

    monday.cow becomes DIR/monday: a raw disk that any program can read, and write unless it is --read-only. Writes go
    to SNAP and leave ORIGIN as it is. The command returns once the file is there; 'fusermount3 -u DIR' unmounts it.
    """
    result_stream()  # without one, nobody would hear where it is
    if not foreground:
        flags = [("--read-only", read_only), ("--allow-other", allow_other)]
        words = ["--foreground", *(flag for flag, given in flags if given)]
        words += [] if origin is None else [f"--origin={origin}"]
        words += [f"--sync={sync}", f"--prefetch={prefetch}"]
        words += [] if trace is None else [f"--trace={trace}"]
        words += ["--debug"] if context.ensure_object(Invocation).debug else []
        _show(start_in_background("mount", [*words, "--", snap, directory]))
        return
    try:
        with ExitStack() as stack:
            with traced(trace, snap, origin) as recorder:
                mounted = dmsnap.mount(
                    snap,
                    directory,
                    origin,
                    read_only=read_only,
                    sync=sync,
                    prefetch=prefetch,
                    trace=recorder,
                    allow_other=allow_other,
                )
                stack.enter_context(mounted)
            _serve(mounted, announce_to)
    except DmsnapError as error:
        if not read_only:
            hint_at_read_only(error, [snap])
        if announce_to is not None:  # nobody hears of it else
            tell_late(f"mount {printable(snap)}: {error}")
        raise


def _serve(mounted: MountedSnapshot, announce_to: int | None) -> None:
    """Waits for the end, which Ctrl-C and SIGTERM bring about too; what comes then is not to be interrupted."""
    try:
        path = os.fspath(mounted.path)
        if announce_to is None:
            _show(path)
        else:
            announce(announce_to, path)
        mounted.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def _show(path: str) -> None:
    """Says where the file is; to people also how to get rid of it."""
    result_stream().write(printable(path) + "\n")
    if for_eyes():
        click.echo(f"unmount it with: fusermount3 -u {printable(shlex.quote(str(Path(path).parent)))}", err=True)
    flush_results()
