"""The command line: one module a verb (in `verbs`) that parses, calls the library and renders.

This is the only floor that reads arguments, the environment or the terminal. `registry` names the verbs, so that
``dmsnap --help`` loads none of them; `run` turns every way to end into an exit status and at most one line on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``dmsnap`` with ``arguments`` (default: those of the process) and returns the exit status.

    What the command is made of is imported here, so that Ctrl-C ends that as it ends everything.
    """
    try:
        from dmsnap.cli.run import run
    except KeyboardInterrupt:
        print("dmsnap: interrupted", file=sys.stderr)  # noqa: T201 - what prints for the command is not there yet
        return 1
    return run(arguments)
