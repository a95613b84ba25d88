"""A command that goes on in the background: a process of its own, and news of how it began.

It is started anew rather than forked: NumPy has threads as soon as it is loaded, and a fork has them no more.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence

import click

__all__ = ["ANNOUNCE", "announce", "start_in_background", "tell_late"]

ANNOUNCE = "--announce"
"""The option, hidden in a verb's help, that gives the descriptor for the news."""


def start_in_background(verb: str, arguments: Sequence[str]) -> str:
    """Starts ``dmsnap`` with this verb and these arguments, and returns what it announces once all is well.

    Its errors and warnings come out here until then; afterwards it has no standard streams, no terminal, and ``/`` as
    its working directory. If it ends before, this process ends too, with the same exit status.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as news:
        try:
            process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-P", "-m", "dmsnap", verb, ANNOUNCE, str(writing), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # the modules that we have
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        assert process.stderr is not None
        try:
            with process.stderr:
                for line in process.stderr:  # up to its end, or to the announcement
                    click.echo(line, err=True, nl=False)
            announced = news.read()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if not announced:
        click.get_current_context().exit(process.wait() or 1)
    process.returncode = 0  # it goes on, and nobody is to wait for it
    return os.fsdecode(announced)


def announce(descriptor: int, text: str) -> None:
    """Tells whoever started this process that all is well, and lets go of everything of theirs."""
    null = os.open(os.devnull, os.O_RDWR)
    with contextlib.suppress(BrokenPipeError):
        os.write(descriptor, os.fsencode(text))
    os.close(descriptor)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
    os.chdir("/")


def tell_late(message: str) -> None:
    """Says in the system's log what went wrong after `announce`."""
    import syslog

    syslog.syslog(syslog.LOG_ERR, f"dmsnap: {message}")
