"""The command line: one module a verb (in `verbs`) that parses, calls the library and renders.

This is the only floor that reads arguments, the environment or the terminal. `registry` names the verbs, so that
``dmsnap --help`` loads none of them; `main` turns every way to end into an exit status and at most one line on stderr.
"""

from dmsnap.cli.main import main

__all__ = ["main"]
