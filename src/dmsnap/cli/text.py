"""Text for people: untrusted names made harmless, sizes made readable."""

from __future__ import annotations

from dmsnap.library.size_text import readable_size

__all__ = ["printable", "readable_size"]


def printable(text: str) -> str:
    r"""Escapes what could steer a terminal: control, direction and other invisible characters, broken encodings.

    >>> printable("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
