"""Where verbs print: stdout for results, told apart into a terminal (for eyes) and anything else (for programs)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

import click

from dmsnap.cli.text import printable
from dmsnap.errors import DmsnapError

__all__ = [
    "OutputClosed",
    "flush_results",
    "for_eyes",
    "print_json",
    "print_json_array",
    "print_warning",
    "result_stream",
]


class OutputClosed(DmsnapError):
    """The command was started without a standard output."""


def result_stream() -> TextIO:
    """Returns stdout.

    Raises:
        OutputClosed: There is none, so that a result would be lost without a word.
    """
    if sys.stdout is None:
        raise OutputClosed("standard output is closed", hint="the result has nowhere to go")
    return sys.stdout


def flush_results() -> None:
    """Brings out what was printed: before anything that may fail without making the result any less true."""
    if sys.stdout is not None:
        sys.stdout.flush()


def for_eyes() -> bool:
    """Whether results go to a terminal."""
    return result_stream().isatty()


def print_json(value: object) -> None:
    """Prints one JSON value, indented, in ASCII (so names in broken encodings and control characters are escaped)."""
    import json

    result_stream().write(json.dumps(value, indent=2) + "\n")


def print_json_array(values: Iterable[object]) -> None:
    """Prints a JSON array, one line an item, as the items come: memory does not grow with their number."""
    import json

    stream = result_stream()
    encode = json.JSONEncoder().encode
    opening = "[\n"
    for value in values:
        stream.write(f"{opening}  {encode(value)}")
        opening = ",\n"
    stream.write("\n]\n" if opening == ",\n" else "[]\n")


def print_warning(message: str) -> None:
    """Prints one line on stderr, for what is doubtful and yet no error."""
    click.echo(f"dmsnap: warning: {printable(message)}", err=True)
