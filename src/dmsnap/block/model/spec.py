"""What is known of a drive, and where from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["DriveSpec", "Figure", "Parameter"]


@dataclass(frozen=True)
class Parameter:
    """One number, or table of pairs, that the model of a drive is made from.

    Attributes:
        value: The number or table.
        unit: Its unit, to be read by people.
        source: Where it is published, or how it is derived, or that it is assumed and why.
    """

    value: float | tuple[tuple[float, float], ...]
    unit: str
    source: str


@dataclass(frozen=True)
class Figure:
    """A published figure that the model is judged by.

    Attributes:
        value: The figure.
        unit: Its unit.
        source: Where it is published.
        given: Whether a parameter was derived from this very figure, so that agreement says only that the model is
            consistent, not that it foretells.
    """

    value: float
    unit: str
    source: str
    given: bool = False


@dataclass(frozen=True)
class DriveSpec:
    """A drive to be modelled.

    Attributes:
        description: What it is, in one line.
        kind: Which model: ``rotating`` or ``parallel``.
        parameters: By name, as the model's arguments are called.
        sources: The documents that the sources of parameters and figures name in short, in full.
        published: What to judge the model by; the names are those of `dmsnap.block.model.judging`.
    """

    description: str
    kind: Literal["rotating", "parallel"]
    sources: Mapping[str, str]
    parameters: Mapping[str, Parameter]
    published: Mapping[str, Figure]

    def __getitem__(self, name: str) -> float:
        """The value of a parameter that is a number."""
        value = self.parameters[name].value
        assert not isinstance(value, tuple), f"{name} is a table"
        return value

    def table(self, name: str) -> tuple[tuple[float, float], ...]:
        """The value of a parameter that is a table."""
        value = self.parameters[name].value
        assert isinstance(value, tuple), f"{name} is a number"
        return value
