"""Fields of a section by their types, and the error of metadata that lacks them."""

from __future__ import annotations

from dmsnap.errors import DmsnapError

from .text import Section

__all__ = ["BadMetadata", "names", "number", "section", "string"]


class BadMetadata(DmsnapError):
    """Text that keeps the grammar and does not describe a volume group."""


def number(parent: Section, name: str, where: str, *, least: int = 0, default: int | None = None) -> int:
    """Returns an integer of at least ``least``; without a ``default`` it has to be there.

    Raises:
        BadMetadata: It is not there, too small, or something else.
    """
    value = parent.get(name, default)
    if not isinstance(value, int):
        raise _bad(parent, name, where, "a number")
    if value < least:
        raise BadMetadata(f"{where}: {name} is {value}, less than {least}")
    return value


def string(parent: Section, name: str, where: str, *, default: str | None = None) -> str:
    """Returns a string; without a ``default`` it has to be there.

    Raises:
        BadMetadata: It is not there, or something else.
    """
    value = parent.get(name, default)
    if not isinstance(value, str):
        raise _bad(parent, name, where, "a string")
    return value


def names(parent: Section, name: str, where: str) -> tuple[str, ...]:
    """Returns an array of strings, or of none if it is not there.

    Raises:
        BadMetadata: It is something else.
    """
    value = parent.get(name, ())
    if isinstance(value, str):
        return (value,)  # one that stands alone may lack its brackets
    if not isinstance(value, tuple):
        raise _bad(parent, name, where, "an array")
    found = tuple(one for one in value if isinstance(one, str))
    if len(found) != len(value):
        raise _bad(parent, name, where, "an array of strings")
    return found


def section(parent: Section, name: str, where: str) -> Section:
    """Returns a section within another, an empty one if it is not there.

    Raises:
        BadMetadata: It is something else.
    """
    value = parent.get(name)
    if value is None:
        return Section()
    if not isinstance(value, Section):
        raise _bad(parent, name, where, "a section")
    return value


def _bad(parent: Section, name: str, where: str, wanted: str) -> BadMetadata:
    return BadMetadata(f"{where}: {name} is not {wanted}" if name in parent else f"{where}: no {name}")
