"""Stores that a real kernel wrote, packed: what most tests use in place of the machine that made them.

A fixture is a ``.tar.xz`` of two members. ``meta.json`` says how the kernel came to the store and what it made of it;
``cow`` holds the COW device without its holes. Origin and snapshot content are not stored: what was written tells where
it belongs (`kernelvm.content`), so both are derived again and compared with the digests of what the kernel had.

The fixtures are in ``tests/fixtures`` of the source tree, beside the script that makes them.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dmsnap.errors import DmsnapError
from dmsnap.testing.kernelvm.content import SECTOR_BYTES, Applied, replay
from dmsnap.testing.kernelvm.scenario import Outcome, Scenario

__all__ = ["COLLECTION", "Fixture", "FixtureBroken", "derive", "load", "names", "pack"]

COLLECTION = Path(__file__).parents[3] / "tests" / "fixtures"
"""Where the source tree keeps them."""

_HOLE_BYTES = 4096
_SUFFIX = ".tar.xz"


class FixtureBroken(DmsnapError):
    """A fixture is missing, or what is derived from it is not what the kernel had."""


class Fixture(NamedTuple):
    """A store written by the kernel, ready to be opened.

    Attributes:
        name: Of the scenario.
        purpose: What it is for, in a line.
        kernel: The version of Linux that wrote it.
        origin: The origin device as a file, in the state that belongs to the store (after origin writes and merges).
        cow: The COW device as a file.
        content: What the kernel's snapshot device reads as; None if it is invalid and does not read.
        live_status: Status words while it was written, at the end; those of a merge where there was one.
        status: Status words after loading it afresh; None if the kernel refused to load it.
        table: Store type, chunk size and features in the table then; None likewise.
    """

    name: str
    purpose: str
    kernel: str
    origin: Path
    cow: Path
    content: bytes | None
    live_status: str
    status: str | None
    table: str | None


def names(collection: Path = COLLECTION) -> list[str]:
    """Returns the names of all fixtures, sorted."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in collection.glob(f"*{_SUFFIX}"))


def derive(scenario: Scenario, outcome: Outcome) -> tuple[bytes, bytes, list[tuple[int, int]]]:
    """Returns origin and snapshot as the kernel must have left them, and the ranges (sectors) that a merge put back.

    Raises:
        FixtureBroken: The kernel's origin or snapshot differ from that.
    """
    origin, content = replay(scenario.name, scenario.origin_sectors, outcome.applied)
    merged = list(_differing_sectors(origin, outcome.origin))
    origin = _put_back(origin, content, merged)
    if origin != outcome.origin or outcome.content not in (None, content):
        raise FixtureBroken(f"{scenario.name}: the kernel did something else than its steps say")
    return origin, content, merged


def pack(scenario: Scenario, outcome: Outcome, kernel: str, collection: Path = COLLECTION) -> Path:
    """Writes the fixture of a scenario that the kernel lived through; the same outcome gives the same bytes."""
    origin, content, merged = derive(scenario, outcome)
    extents = list(_extents(outcome.cow))
    meta = {
        "name": scenario.name,
        "purpose": scenario.purpose,
        "kernel": kernel,
        "origin_sectors": scenario.origin_sectors,
        "writes": outcome.applied,
        "merged": merged,
        "origin_sha256": hashlib.sha256(origin).hexdigest(),
        "content_sha256": None if outcome.content is None else hashlib.sha256(content).hexdigest(),
        "live_status": outcome.live_status,
        "status": outcome.loaded_status,
        "table": outcome.loaded_table,
        "log": [line for line in outcome.log if "snapshot" in line],
        "cow_bytes": len(outcome.cow),
        "cow_extents": extents,
    }
    path = collection / f"{scenario.name}{_SUFFIX}"
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name, member in (
            ("meta.json", json.dumps(meta, indent=1).encode()),
            ("cow", b"".join(outcome.cow[start : start + length] for start, length in extents)),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return path


def load(name: str, folder: Path, collection: Path = COLLECTION) -> Fixture:
    """Unpacks fixture ``name`` into ``folder`` (a test's ``tmp_path``).

    Raises:
        FixtureBroken: There is none, or it does not give what the kernel had.
    """
    path = collection / f"{name}{_SUFFIX}"
    if not path.exists():
        raise FixtureBroken(f"there is no fixture {name} in {collection}", hint="fixtures come with the source tree")
    with tarfile.open(path) as archive:
        meta, packed = (_member(archive, member) for member in ("meta.json", "cow"))
    told = json.loads(meta)
    origin, content = replay(name, told["origin_sectors"], [Applied(*write) for write in told["writes"]])
    origin = _put_back(origin, content, told["merged"])
    readable = told["content_sha256"] is not None
    for what, data, digest in (
        ("origin", origin, told["origin_sha256"]),
        ("content", content, told["content_sha256"] if readable else hashlib.sha256(content).hexdigest()),
    ):
        if hashlib.sha256(data).hexdigest() != digest:
            raise FixtureBroken(f"fixture {name}: {what} is not what the kernel had", hint="run tests/fixtures/make.py")
    origin_path, cow_path = folder / f"{name}.origin", folder / f"{name}.cow"
    origin_path.write_bytes(origin)
    with open(cow_path, "wb") as cow:
        cow.truncate(told["cow_bytes"])
        at = 0
        for start, length in told["cow_extents"]:
            cow.seek(start)
            cow.write(packed[at : at + length])
            at += length
    return Fixture(
        name=name,
        purpose=told["purpose"],
        kernel=told["kernel"],
        origin=origin_path,
        cow=cow_path,
        content=content if readable else None,
        live_status=told["live_status"],
        status=told["status"],
        table=told["table"],
    )


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise FixtureBroken(f"a fixture has no member {name}")
    return file.read()


def _extents(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields offset and length of what is not zero, in whole blocks."""
    hole, start = bytes(_HOLE_BYTES), None
    for offset in range(0, len(data), _HOLE_BYTES):
        if data[offset : offset + _HOLE_BYTES] == hole[: len(data) - offset]:
            if start is not None:
                yield start, offset - start
            start = None
        elif start is None:
            start = offset
    if start is not None:
        yield start, len(data) - start


def _differing_sectors(one: bytes, other: bytes) -> Iterator[tuple[int, int]]:
    for sector in range(len(one) // SECTOR_BYTES):
        at = slice(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES)
        if one[at] != other[at]:
            yield sector, 1


def _put_back(origin: bytes, content: bytes, merged: list[tuple[int, int]]) -> bytes:
    result = bytearray(origin)
    for sector, sectors in merged:
        at = slice(sector * SECTOR_BYTES, (sector + sectors) * SECTOR_BYTES)
        result[at] = content[at]
    return bytes(result)
