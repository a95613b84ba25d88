"""The root of every error dmsnap raises.

Each concrete class sits beside the code that raises it; this module holds only what they share.
"""

from __future__ import annotations

__all__ = ["DmsnapError"]


class DmsnapError(Exception):
    """Something a user or caller can act on.

    Args:
        message: What is wrong, in one line.
        hint: What to do about it, in one line; empty when there is nothing useful to say.
        **fields: Facts a program may want (``device``, ``area``, ``index``, ``offset_bytes`` …); they are kept in
            ``fields`` and can be read as attributes.
    """

    def __init__(self, message: str, *, hint: str = "", **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields = fields

    def __getattr__(self, name: str) -> object:
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message
