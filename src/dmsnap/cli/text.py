"""Text for people: untrusted names made harmless, sizes made readable, columns aligned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["aligned", "printable", "readable_size"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB")


def printable(text: str) -> str:
    r"""Escapes what could steer a terminal: control, direction and other invisible characters, broken encodings.

    >>> printable("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def readable_size(size_bytes: int) -> str:
    """A size to base 1024, to one decimal, in the largest unit of which it has at least one.

    >>> readable_size(16384), readable_size(1536), readable_size(512)
    ('16 KiB', '1.5 KiB', '512 B')
    """
    exponent = max(0, (size_bytes.bit_length() - 1) // 10)
    text = f"{size_bytes / (1 << 10 * exponent):.1f}".removesuffix(".0")
    return f"{text} {_UNITS[exponent]}"


def aligned(rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Lays rows out in columns two spaces apart; the columns numbered in ``right`` are flush right."""
    table = list(rows)
    if not table:
        return ""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"
