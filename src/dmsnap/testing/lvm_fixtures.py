"""Volume groups that real LVM made, packed: images of their physical volumes, and what LVM and Linux said of them.

A fixture is a ``.tar.xz`` of ``case.json`` and the disks, ``disk0.img`` and so on, without their holes. They are in
``tests/fixtures/lvm`` of the source tree; ``tests/fixtures/make_lvm.py`` makes them.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

from dmsnap.errors import DmsnapError
from dmsnap.testing.fixtures import COLLECTION
from dmsnap.testing.kernelvm.lvm_case import LVMCase, LVMFacts

__all__ = [
    "LVM_COLLECTION",
    "LVMFixture",
    "LVMFixtureMissing",
    "load_lvm_fixture",
    "lvm_fixture_names",
    "pack_lvm_fixture",
]

LVM_COLLECTION = COLLECTION / "lvm"
"""Where the source tree keeps them."""

_HOLE_BYTES = 4096
_SUFFIX = ".tar.xz"


class LVMFixtureMissing(DmsnapError):
    """There is no fixture of this name."""


class _Layout(TypedDict):
    """Where the content of an image lies: offsets and lengths of what is not a hole."""

    bytes: int
    extents: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class LVMFixture:
    """A volume group made by LVM, ready to be opened.

    Attributes:
        name: Of the case.
        group: Of the volume group.
        purpose: What it is for, in a line.
        kernel: The version of Linux.
        images: Its disks, in their order.
        facts: What LVM and the kernel said; ``facts.images`` has the names of ``images`` by the nodes LVM speaks of.
    """

    name: str
    group: str
    purpose: str
    kernel: str
    images: tuple[Path, ...]
    facts: LVMFacts

    def table(self, name: str) -> list[str]:
        """Returns the lines that ``dmsetup table`` shows of a device, with names in place of device numbers."""
        return [
            " ".join(self.facts.devices.get(word, word) for word in line.split()) for line in self.facts.table[name]
        ]


def lvm_fixture_names(collection: Path = LVM_COLLECTION) -> list[str]:
    """Returns the names of all fixtures, sorted."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in collection.glob(f"*{_SUFFIX}"))


def pack_lvm_fixture(
    case: LVMCase, facts: LVMFacts, images: Sequence[Path], kernel: str, collection: Path = LVM_COLLECTION
) -> Path:
    """Writes the fixture of a case that LVM lived through."""
    layouts: dict[str, _Layout] = {}
    contents: dict[str, bytes] = {}
    for number, path in enumerate(images):
        data, name = path.read_bytes(), f"disk{number}.img"
        layouts[name] = {"bytes": len(data), "extents": list(_extents(data))}
        contents[name] = b"".join(data[start : start + length] for start, length in layouts[name]["extents"])
    told = {
        "name": case.name,
        "group": case.group,
        "purpose": case.purpose,
        "kernel": kernel,
        "images": layouts,
        "facts": asdict(facts),
    }
    collection.mkdir(exist_ok=True)
    path = collection / f"{case.name}{_SUFFIX}"
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name, member in {"case.json": json.dumps(told, indent=1).encode(), **contents}.items():
            info = tarfile.TarInfo(name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return path


def load_lvm_fixture(name: str, folder: Path, collection: Path = LVM_COLLECTION) -> LVMFixture:
    """Unpacks fixture ``name`` into ``folder`` (a test's ``tmp_path``); its images are sparse.

    Raises:
        LVMFixtureMissing: There is none.
    """
    path = collection / f"{name}{_SUFFIX}"
    if not path.exists():
        raise LVMFixtureMissing(
            f"there is no fixture {name} in {collection}", hint="fixtures come with the source tree"
        )
    with tarfile.open(path) as archive:
        members = {info.name: _content(archive, info) for info in archive.getmembers()}
    told = json.loads(members["case.json"])
    for image, layout in told["images"].items():
        _write(folder / image, members[image], layout)
    images = tuple(folder / image for image in told["images"])
    return LVMFixture(told["name"], told["group"], told["purpose"], told["kernel"], images, LVMFacts(**told["facts"]))


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    return file.read() if file else b""


def _write(path: Path, packed: bytes, layout: _Layout) -> None:
    with open(path, "wb") as image:
        image.truncate(layout["bytes"])
        at = 0
        for start, length in layout["extents"]:
            image.seek(start)
            image.write(packed[at : at + length])
            at += length


def _extents(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields offset and length of what is not zero, in whole blocks."""
    hole, start = bytes(_HOLE_BYTES), None
    for offset in range(0, len(data), _HOLE_BYTES):
        if data[offset : offset + _HOLE_BYTES] == hole:
            if start is not None:
                yield start, offset - start
            start = None
        elif start is None:
            start = offset
    if start is not None:
        yield start, len(data) - start
