"""Table lines of the snapshot target, and the commands that load them into a kernel.

Source: Linux dm-snapshot, ``<start> <length> snapshot <origin> <COW> <P|PO|N> <chunk size>``, all in sectors of 512
bytes; device-mapper splits the arguments at blanks, with a backslash before a blank (or a backslash) that belongs to
one.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from dmsnap.errors import DmsnapError

__all__ = [
    "FEATURES",
    "NO_STORE_TYPE",
    "NO_ZEROES_FOR_PASSDOWN",
    "UNKNOWN_FEATURE",
    "Activation",
    "BadDeviceName",
    "BadTable",
    "activation",
    "origin_table_line",
    "table_argument",
    "table_line",
]

FEATURES = ("discard_zeroes_cow", "discard_passdown_origin")
"""What may stand behind the chunk size, in the order in which the kernel prints it; the second needs the first."""

NO_STORE_TYPE = "Exception store type is not P or N"
UNKNOWN_FEATURE = "Unrecognised feature requested"
NO_ZEROES_FOR_PASSDOWN = f"{FEATURES[1]} feature depends on {FEATURES[0]}"

_NAME_BYTES = 127  # DM_NAME_LEN less its final zero byte
_SAFE_NAME = re.compile(r"[0-9A-Za-z#+.:=@_][0-9A-Za-z#+.:=@_-]*")


class BadDeviceName(DmsnapError, ValueError):
    """A name that device-mapper cannot give to a device as it stands."""


class Activation(NamedTuple):
    """How a snapshot is activated in a kernel.

    Attributes:
        line: The table line, ``0 <sectors> snapshot <origin> <cow> P <chunk sectors>``, with the paths as given.
        commands: Shell commands, one line each, in order (loop devices for regular files, then ``dmsetup create``).
    """

    line: str
    commands: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.commands)


class BadTable(DmsnapError, ValueError):
    """A table that the kernel refuses; the message has its words."""


def origin_table_line(origin_sectors: int, origin: str) -> str:
    """Returns the table line of a snapshot-origin, through which writes to an origin keep its snapshots right."""
    return f"0 {origin_sectors} snapshot-origin {table_argument(origin)}"


def table_line(
    origin_sectors: int,
    origin: str,
    cow: str,
    chunk_size_sectors: int,
    *,
    store_type: str = "P",
    features: Sequence[str] = (),
) -> str:
    """Returns the table line of a snapshot.

    Args:
        origin_sectors: The snapshot's length: the origin's size in sectors.
        origin: Path of the origin's block device, or ``major:minor``.
        cow: The same of the COW device.
        chunk_size_sectors: Chunk size in sectors.
        store_type: ``P`` persistent, ``PO`` persistent that tells of overflow, ``N`` transient.
        features: ``discard_zeroes_cow``, and with it ``discard_passdown_origin`` (since target 1.16.0, Linux 5.3).

    Raises:
        BadTable: Another type or feature, or the second feature without the first.
    """
    if store_type not in ("P", "PO", "N"):
        raise BadTable(NO_STORE_TYPE, hint="use P, PO or N", store_type=store_type)
    if not set(features) <= set(FEATURES):
        raise BadTable(UNKNOWN_FEATURE, hint=f"use {' and '.join(FEATURES)}")
    if list(features) == [FEATURES[1]]:
        raise BadTable(NO_ZEROES_FOR_PASSDOWN, hint="name both")
    line = (
        f"0 {origin_sectors} snapshot {table_argument(origin)} {table_argument(cow)} {store_type} {chunk_size_sectors}"
    )
    words = [feature for feature in FEATURES if feature in features]
    return f"{line} {len(words)} {' '.join(words)}" if words else line


def activation(
    origin_sectors: int,
    origin: str,
    cow: str,
    chunk_size_sectors: int,
    *,
    name: str = "snap",
    origin_is_file: bool = False,
    cow_is_file: bool = False,
) -> Activation:
    """Returns the commands that make a snapshot appear as ``/dev/mapper/<name>``.

    A regular file gets a loop device first; the origin's cannot be written. The COW device stays writable, as copies
    go there when the snapshot is written to.

    Args:
        origin_sectors: The origin's size in sectors.
        origin: Path of the origin.
        cow: Path of the COW store.
        chunk_size_sectors: The store's chunk size, in sectors.
        name: Of the new device.
        origin_is_file: Whether the origin is a regular file.
        cow_is_file: Whether the store is a regular file.

    Raises:
        BadDeviceName: The name is empty, too long or has characters that device-mapper would rewrite.
    """
    if not _SAFE_NAME.fullmatch(name) or len(name) > _NAME_BYTES or name in (".", ".."):
        raise BadDeviceName(
            f"not a name for a device: {name[:80]!r}",
            hint=f"use 1 to {_NAME_BYTES} of the characters A-Z a-z 0-9 # + - . : = @ _",
            name=name,
        )
    commands = (
        "origin=" + _device(origin, is_file=origin_is_file, options="--read-only "),
        "cow=" + _device(cow, is_file=cow_is_file),
        f"dmsetup create {shlex.quote(name)} --table "
        f'"{table_line(origin_sectors, "$origin", "$cow", chunk_size_sectors)}"',
    )
    return Activation(table_line(origin_sectors, origin, cow, chunk_size_sectors), commands)


def _device(path: str, *, is_file: bool, options: str = "") -> str:
    """The right side of a shell assignment that yields a block device's path, as an argument of a table line."""
    if not is_file:
        return _quoted(table_argument(path))
    return f"$(losetup --find --show {options}-- {_quoted(path)})"


def table_argument(path: str) -> str:
    """Returns a path as one argument of a table line: with a backslash before a blank, a backslash or a comment."""
    return re.sub(r"([\s\\]|^#)", r"\\\1", path)


def _quoted(text: str) -> str:
    """A word for a shell that steers no terminal: as ``$'...'`` where it has characters that do not print."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\{byte:03o}" for byte in os.fsencode(text))
    return f"$'{''.join(escaped)}'"
