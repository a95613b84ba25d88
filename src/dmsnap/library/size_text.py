"""Sizes as people read them."""

from __future__ import annotations

__all__ = ["readable_size"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB")


def readable_size(size_bytes: int) -> str:
    """A size to base 1024, to one decimal, in the largest unit of which it has at least one.

    >>> readable_size(16384), readable_size(1536), readable_size(512)
    ('16 KiB', '1.5 KiB', '512 B')
    """
    exponent = min(len(_UNITS) - 1, max(0, (size_bytes.bit_length() - 1) // 10))
    text = f"{size_bytes / (1 << 10 * exponent):.1f}".removesuffix(".0")
    return f"{text} {_UNITS[exponent]}"
