"""What first differs between two results of a program, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from dmsnap.testing.programs.language import Result, Step
from dmsnap.testing.programs.pattern import SECTOR_BYTES, describe_sector

__all__ = ["difference"]

_NOT_SUPPORTED = "EOPNOTSUPP"  # a discard; a device of ours may ignore it
_STEPS_SHOWN = 8
_SECTORS_SHOWN = 6


def difference(steps: Sequence[Step], kernel: Result, other: Result) -> str | None:
    """Returns the first difference of another result from the kernel's; None if there is none."""
    for number, (ours, theirs) in enumerate(zip(other.outcomes, kernel.outcomes, strict=True)):
        if ours != theirs and theirs != _NOT_SUPPORTED:
            lines = [f"step {number} of {len(steps)} differs: {_step(steps[number])}"]
            lines += [f"    kernel: {theirs}", f"    other:  {ours}", "  the steps before, and their outcome:"]
            before = range(max(0, number - _STEPS_SHOWN), number)
            lines += [f"    {earlier:4} {_step(steps[earlier])} -> {kernel.outcomes[earlier]}" for earlier in before]
            return "\n".join(lines)
    parts = [text for name in kernel.content for text in _devices(name, kernel.content[name], other.content[name])]
    return "\n".join(parts) or None


def _step(step: Step) -> str:
    return f"{type(step).__name__}({', '.join(map(repr, step))})"


def _devices(name: str, kernel: bytes, other: bytes) -> Iterator[str]:
    if len(kernel) != len(other):
        yield f"{name} has {len(kernel)} bytes in the kernel and {len(other)} in the other"
        return
    if kernel == other:
        return
    first = next(at for at, (ours, theirs) in enumerate(zip(other, kernel, strict=True)) if ours != theirs)
    differing = [at for at in range(0, len(kernel), SECTOR_BYTES) if _sector(kernel, at) != _sector(other, at)]
    yield f"{name} differs from byte {first} on, in sectors {_ranges([at // SECTOR_BYTES for at in differing])}"
    for at in differing[:_SECTORS_SHOWN]:
        yield f"    sector {at // SECTOR_BYTES}, {_place(kernel, at)}:"
        yield f"      kernel: {_describe(kernel, other, at)}"
        yield f"      other:  {_describe(other, kernel, at)}"


def _sector(data: bytes, at: int) -> bytes:
    return data[at : at + SECTOR_BYTES]


def _place(data: bytes, at: int) -> str:
    """Says what a byte of a store belongs to; of an origin, nothing."""
    chunk = int.from_bytes(data[12:16], "little") * SECTOR_BYTES
    if data[:4] != b"SnAp" or not chunk:
        return "no store"
    number, within = divmod(at, chunk)
    area, place = divmod(number - 1, chunk // 16 + 1)
    where = f"area {area} from record {within // 16} on" if place == 0 else "data"
    return f"chunk {number} of {chunk // SECTOR_BYTES} sectors, {'header' if number == 0 else where}"


def _describe(data: bytes, other: bytes, at: int) -> str:
    """Says what a sector holds: from the first pair of words on that differs, if it is no pattern."""
    said = describe_sector(_sector(data, at))
    if not said.endswith("…"):
        return said
    first = next(byte for byte in range(at, at + SECTOR_BYTES) if data[byte] != other[byte]) // 16 * 16
    words = (int.from_bytes(data[first + half : first + half + 8], "little") for half in (0, 8))
    return f"at its byte {first - at}: {' '.join(map(str, words))}"


def _ranges(numbers: Sequence[int]) -> str:
    """Returns ``1-3 7`` for 1, 2, 3, 7."""
    rows = (list(row) for _, row in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]))
    return " ".join(f"{row[0][1]}-{row[-1][1]}" if len(row) > 1 else f"{row[0][1]}" for row in rows)
