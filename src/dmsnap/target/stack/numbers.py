"""Numbers in table lines, as Linux reads them: two parsers of its own, with rules of their own."""

from __future__ import annotations

import re

__all__ = ["scanned", "strict"]

_SCANNED = re.compile(r"\s*([0-9]+)", re.ASCII)
_STRICT = re.compile(r"\+?0*([0-9]{1,20})", re.ASCII)


def scanned(text: str, bits: int) -> int | None:
    """Reads a number as ``sscanf("%llu%c")`` does, by which offsets and counts are read.

    Blanks may come before it, nothing after it; one that is too large for its ``bits`` wraps around.

    Returns:
        The number, or None where that is none.
    """
    match = _SCANNED.fullmatch(text)
    # 10**64 is a multiple of 2**64: digits further left make no difference, and take no time
    return None if match is None else int(match[1][-64:]) & (1 << bits) - 1


def strict(text: str, bits: int) -> int | None:
    """Reads a number as ``kstrtouint`` does, by which sizes are read: a ``+`` may come before it, and it must fit.

    Returns:
        The number, or None where that is none.
    """
    match = _STRICT.fullmatch(text)
    number = None if match is None else int(match[1])
    return None if number is None or number >> bits else number
