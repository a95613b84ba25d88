"""What the text says: sections, of named values and sections."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, Union

if TYPE_CHECKING:
    from .striped_run import StripedRun

__all__ = ["Scalar", "Section", "Value"]

Scalar: TypeAlias = int | float | str
Value: TypeAlias = Union[Scalar, tuple[Scalar, ...], "Section"]


class Section(dict[str, Value]):
    """What stands between braces, by name, in the order of the text.

    Attributes:
        run: The sections ``segment1``, ``segment2`` … that were read in bulk; they are not among the names.
    """

    __slots__ = ("run",)

    run: StripedRun | None

    def __init__(self) -> None:
        self.run = None
