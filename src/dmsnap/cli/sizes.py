"""Sizes on the command line, as LVM takes them: ``64K``, ``1.5G``, ``2048s``; always to base 1024."""

from __future__ import annotations

import re
from fractions import Fraction

import click

__all__ = ["chunk_size_callback", "parse_size", "place_callback", "rate_callback", "size_callback"]

UNITS_BYTES = {"b": 1, "s": 512, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50, "e": 1 << 60}
"""LVM2's unit letters. Here a size without one is in bytes (LVM guesses by option: MiB or KiB)."""

_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)(?:([bskmgtpe])|([kmgtpe])ib)?", re.ASCII | re.IGNORECASE)
_LARGEST_BYTES = (1 << 63) - 1  # off_t


def parse_size(text: str) -> int:
    """Returns the bytes that ``text`` names.

    Raises:
        ValueError: Not a size, not a whole number of bytes, or more than a file can have; the message says which.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a size: give a number and a unit, as in 4K, 64M, 1.5G (b bytes, s sectors of 512)")
    number, letter, binary = match.groups()
    size = Fraction(number) * UNITS_BYTES[(letter or binary or "b").lower()]
    if size.denominator != 1:
        raise ValueError("not a whole number of bytes")
    if size > _LARGEST_BYTES:
        raise ValueError("more than any file can hold")
    return int(size)


def size_callback(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    """Turns an option's text into bytes, or ends as a wrong usage."""
    try:
        return parse_size(value)
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is {error}") from None


def rate_callback(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """As `size_callback` for bytes a second, at least one; an option that is not given stays None."""
    if value is None:
        return None
    rate = size_callback(context, parameter, value)
    if not rate:
        raise click.BadParameter(f"'{value}' a second would never end")
    return rate


def chunk_size_callback(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """As `size_callback` for a chunk size that Linux takes; an option that is not given stays None."""
    from dmsnap.store.format import SECTOR_BYTES, BadChunkSize, check_chunk_size

    if value is None:
        return None
    size = size_callback(context, parameter, value)
    try:
        check_chunk_size(size // SECTOR_BYTES if size % SECTOR_BYTES == 0 else 0)
    except BadChunkSize as error:
        raise click.BadParameter(f"'{value}' is none: {error.hint}") from error
    return size


def place_callback(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """As `size_callback` for a place where a device can begin; an option that is not given stays None."""
    from dmsnap.store.format import SECTOR_BYTES

    if value is None:
        return None
    place = size_callback(context, parameter, value)
    if place % SECTOR_BYTES:
        raise click.BadParameter(f"'{value}' is not in whole sectors of {SECTOR_BYTES} bytes")
    return place
