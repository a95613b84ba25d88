"""What a server does, for people: one line that is always up to date, and a summary at the end."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from dmsnap.cli.text import printable, readable_size

if TYPE_CHECKING:
    from dmsnap.serve.nbd import Counters
    from dmsnap.target.status import Status

__all__ = ["StatusLine", "rates", "summary"]

ERASE = "\r\x1b[K"


class StatusLine:
    """The last line of a terminal (stderr); nothing where that is none. Warnings go above it, from any thread."""

    def __init__(self) -> None:
        self.shown = sys.stderr is not None and sys.stderr.isatty()
        self._text = ""
        self._lock = threading.Lock()

    def show(self, text: str) -> None:
        """Replaces the line."""
        if self.shown:
            with self._lock:
                self._text = text[: shutil.get_terminal_size().columns - 1]
                click.echo(ERASE + self._text, err=True, nl=False)

    def warn(self, message: str) -> None:
        """Prints a line that stays."""
        with self._lock:
            if self.shown:
                click.echo(ERASE, err=True, nl=False)
            click.echo(f"dmsnap: warning: {printable(message)}", err=True)
            if self.shown:
                click.echo(self._text, err=True, nl=False)

    def clear(self) -> None:
        """Takes the line away."""
        self.show("")


def rates(before: Counters | None, now: Counters, seconds: float, usage: Mapping[str, Status]) -> str:
    """What happens: since ``before``, which is ``seconds`` ago."""
    clients = "1 client" if now.clients == 1 else f"{now.clients:,} clients"
    parts = [clients]
    if before is not None and seconds > 0:
        reads, writes = (now.reads - before.reads) / seconds, (now.writes - before.writes) / seconds
        read = readable_size(int((now.bytes_read - before.bytes_read) / seconds))
        written = readable_size(int((now.bytes_written - before.bytes_written) / seconds))
        parts += [f"{reads:,.0f} reads/s {read}/s", f"{writes:,.0f} writes/s {written}/s"]
    parts += [_used(name, status) for name, status in usage.items()]
    return " | ".join(parts)


def summary(counters: Counters, seconds: float, usage: Mapping[str, Status]) -> str:
    """What has happened in all, in a few lines."""
    lines = [
        f"{seconds:.1f} s, {counters.connections_ever:,} connections, {counters.clients_ever:,} of them to an export",
        f"read    {readable_size(counters.bytes_read)} in {counters.reads:,} requests",
        f"written {readable_size(counters.bytes_written)} in {counters.writes:,} requests",
        f"zeroed  {readable_size(counters.bytes_zeroed)} in {counters.zeroes:,} requests",
        f"flushed {counters.flushes:,} times; {counters.errors:,} requests failed",
        *(_used(name, status) for name, status in usage.items()),
    ]
    return "\n".join(lines)


def _used(name: str, status: Status) -> str:
    return f"{printable(name)} {status.state or f'{status.usage_percent:.1f} % full'}"
