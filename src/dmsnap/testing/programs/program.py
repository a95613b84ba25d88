"""A program: base devices and steps, and where it can be cut."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dmsnap.testing.programs.language import Create, Grow, Remove, Step, step_from_json, step_to_json
from dmsnap.testing.programs.pattern import SECTOR_BYTES, pattern

__all__ = ["Base", "Given", "Pattern", "Program", "parts", "with_content"]


class Pattern(NamedTuple):
    """Content that ``seed`` decides, behind ``zeroed_sectors`` sectors of zeros."""

    seed: int
    zeroed_sectors: int = 0


class Given(NamedTuple):
    """Content handed over from an earlier run; what it does not cover is zeros. ``Given(b"")`` is a wiped device."""

    data: bytes


class Base(NamedTuple):
    """A plain disk: name, size, and what is on it at the start."""

    name: str
    sectors: int
    content: Pattern | Given = Given(b"")

    def data(self) -> bytes:
        """Returns what is on the device at the start, all of it."""
        if isinstance(self.content, Given):
            return self.content.data.ljust(self.sectors * SECTOR_BYTES, b"\0")
        zeroed = min(self.content.zeroed_sectors, self.sectors)
        return bytes(zeroed * SECTOR_BYTES) + pattern(self.content.seed, zeroed, self.sectors - zeroed)


class Program(NamedTuple):
    """What is to be done, with which disks.

    Attributes:
        bases: The disks.
        steps: What to do.
        timely: Whether outcomes tell when metadata is written, since its writing fails for a while: then ours has to
            write it at once, as the kernel does (``sync="commit"``).
    """

    bases: tuple[Base, ...]
    steps: tuple[Step, ...]
    timely: bool = False

    def final_sectors(self) -> dict[str, int]:
        """Returns the size of each base device at the end."""
        grown = {step.name: step.sectors for step in self.steps if isinstance(step, Grow)}
        return {base.name: base.sectors for base in self.bases} | grown

    def to_json(self) -> str:
        """Returns the program as text, a step a line."""
        bases = [[base.name, base.sectors, _content_to_json(base.content)] for base in self.bases]
        lines = (",\n  ".join(map(json.dumps, rows)) for rows in (bases, map(step_to_json, self.steps)))
        return '{{"bases": [\n  {}\n], "steps": [\n  {}\n], "timely": {}}}\n'.format(*lines, json.dumps(self.timely))

    @classmethod
    def from_json(cls, text: str) -> Program:
        """The reverse of `to_json`.

        Raises:
            ValueError: The text is no program.
        """
        try:
            read = json.loads(text)
            bases = tuple(Base(name, sectors, _content_from_json(content)) for name, sectors, content in read["bases"])
            return cls(bases, tuple(map(step_from_json, read["steps"])), bool(read.get("timely")))
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise ValueError(f"not a program: {error}") from error


def parts(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """Cuts steps where no mapped device is left, so that somebody else can go on from the base devices."""
    alive: set[str] = set()
    first = 0
    for number, step in enumerate(steps, 1):
        if isinstance(step, Create):
            alive.add(step.name)
        elif isinstance(step, Remove):
            alive.discard(step.name)
            if not alive:
                yield tuple(steps[first:number])
                first = number
    if first < len(steps):
        yield tuple(steps[first:])


def with_content(bases: Sequence[Base], content: Mapping[str, bytes]) -> tuple[Base, ...]:
    """Returns base devices as an earlier run left them."""
    return tuple(Base(base.name, len(content[base.name]) // SECTOR_BYTES, Given(content[base.name])) for base in bases)


def _content_to_json(content: Pattern | Given) -> list[Any]:
    if isinstance(content, Pattern):
        return ["pattern", *content]
    return ["given", base64.b64encode(zlib.compress(content.data, 9)).decode()]


def _content_from_json(words: list[Any]) -> Pattern | Given:
    kind, *arguments = words
    return Pattern(*arguments) if kind == "pattern" else Given(zlib.decompress(base64.b64decode(arguments[0])))
