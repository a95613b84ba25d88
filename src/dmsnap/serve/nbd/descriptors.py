"""How many connections the limit of open files allows for."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["affordable_connections", "raise_limit"]

PER_CONNECTION = 3
"""Its socket, and two by which other threads wake it."""
SPARE = 32
"""For whatever else the process opens: scrapes, logs, certificates."""


def affordable_connections() -> int:
    """How many connections this process has descriptors for, one at least.

    With more, a crowd that only shakes hands could take all descriptors, and nobody else would be let in or served.
    """
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        opened = _opened()
    except (ImportError, OSError):  # not Linux
        return sys.maxsize
    return sys.maxsize if limit < 0 else max(1, (limit - opened - SPARE) // PER_CONNECTION)


def raise_limit(connections: int) -> None:
    """Lets this process open as many files as so many connections take, as far as it may."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _opened() + SPARE + PER_CONNECTION * (connections + 1)
        if 0 <= now < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if most < 0 else max(now, min(wanted, most)), most))


def _opened() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number
