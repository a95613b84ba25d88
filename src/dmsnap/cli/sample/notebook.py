"""A notebook of 1,024 pages that Linux took a snapshot of.

On Monday it had a line on every page. Then the snapshot was taken. On Tuesday some pages were rewritten in the origin
(so the kernel first copied Monday's pages to the store), and a few drafts were written through the snapshot:

    origin today  = Monday's pages, `REWRITTEN` ones Tuesday's
    snapshot      = Monday's pages, `DRAFTS` ones drafts         (what the origin and the store together must give)

The pages are generated, so only the store is packaged (``notebook.cow.xz``), with the words that the kernel printed
(``notebook.json``). ``tests/cli/make_demo_sample.py`` made both; every name here is used by it too.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

__all__ = ["DRAFTS", "PAGES", "PAGE_BYTES", "REWRITTEN", "KernelWords", "Notebook", "page"]

PAGE_BYTES = 4096
PAGES = 1024
REWRITTEN = (range(96, 352), range(700, 1000, 50))
"""Pages that the origin got anew on Tuesday: a long run, and a scattering."""
DRAFTS = (range(10, 20),)
"""Pages that were written through the snapshot."""


class KernelWords(NamedTuple):
    """What the kernel printed about the sample, word for word.

    Attributes:
        release: ``uname -r``.
        status: ``dmsetup status``, after the target's name.
        table: ``dmsetup table``, after the target's name.
        snapshot_sha256: ``sha256sum`` of the snapshot device.
        origin_sha256: ``sha256sum`` of the origin.
    """

    release: str
    status: str
    table: str
    snapshot_sha256: str
    origin_sha256: str


def page(number: int, text: str) -> bytes:
    """One page: a numbered line, then zeros."""
    return f"page {number:04d}: {text}\n".encode().ljust(PAGE_BYTES, b"\0")


def _pages(text: str, *, instead: str = "", where: tuple[range, ...] = ()) -> bytes:
    chosen = {number for numbers in where for number in numbers}
    return b"".join(page(number, instead if number in chosen else text) for number in range(PAGES))


@dataclass(frozen=True, slots=True)
class Notebook:
    """The sample, unpacked.

    Attributes:
        store: The COW device's bytes, as the kernel left them.
        kernel: What the kernel said.
    """

    store: bytes
    kernel: KernelWords

    MONDAY = "written on Monday"
    TUESDAY = "rewritten on Tuesday, in the origin"
    DRAFT = "a draft, written through the snapshot"

    @classmethod
    def load(cls) -> Notebook:
        """Unpacks the sample from the package."""
        folder = files("dmsnap.cli.sample")
        words = json.loads(folder.joinpath("notebook.json").read_text(encoding="ascii"))
        return cls(lzma.decompress(folder.joinpath("notebook.cow.xz").read_bytes()), KernelWords(**words))

    @classmethod
    def monday(cls) -> bytes:
        """The origin when the snapshot was taken."""
        return _pages(cls.MONDAY)

    @classmethod
    def page_on_monday(cls, number: int) -> bytes:
        """One page of it."""
        return page(number, cls.MONDAY)

    @classmethod
    def origin(cls) -> bytes:
        """The origin as it is now."""
        return _pages(cls.MONDAY, instead=cls.TUESDAY, where=REWRITTEN)

    @classmethod
    def snapshot(cls) -> bytes:
        """What the snapshot must read as."""
        return _pages(cls.MONDAY, instead=cls.DRAFT, where=DRAFTS)
