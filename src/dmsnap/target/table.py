"""Table lines of the snapshot target, and the commands that load them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Activation"]


class Activation(NamedTuple):
    """How a snapshot is activated in a kernel.

    Attributes:
        line: The table line, ``0 <sectors> snapshot <origin> <cow> P <chunk sectors>``.
        commands: Shell commands, in order (loop devices for regular files, then ``dmsetup create``).
    """

    line: str
    commands: tuple[str, ...]
