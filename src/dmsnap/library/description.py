"""What a store says about itself: ``info``, ``status`` and ``table``."""

from __future__ import annotations

from dataclasses import dataclass

from dmsnap.library.opening import Source
from dmsnap.target.table import Activation

__all__ = ["StoreInfo", "info", "status", "table"]


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What is known of a store.

    Attributes:
        name: What the store's device is called.
        valid: Whether the header says so; an invalid store has lost its snapshot and its exceptions are not read.
        version: The format's version; 1.
        chunk_size_bytes: The chunk size.
        exceptions: Chunks that differ from the origin.
        runs: How many stretches of consecutive chunks they form.
        areas: Metadata areas in use.
        allocated_sectors: The kernel's first status number: everything up to the next free chunk.
        total_sectors: The kernel's second: the COW device's size.
        metadata_sectors: The kernel's third: header and areas.
        next_free_chunk: The chunk that the next exception would take.
        usage_percent: allocated of total, in percent, by LVM's rules.
        status: The kernel's status words.
        changed_bytes: Bytes of the origin that differ (`exceptions` in bytes, not clipped to the origin's end).
        physical_bytes: What the COW file really takes on its disk, if that is known.
        findings: What is wrong with the store, one line each; empty for a sound store.
    """

    name: str
    valid: bool
    version: int
    chunk_size_bytes: int
    exceptions: int
    runs: int
    areas: int
    allocated_sectors: int
    total_sectors: int
    metadata_sectors: int
    next_free_chunk: int
    usage_percent: float
    status: str
    changed_bytes: int
    physical_bytes: int | None
    findings: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Returns the fields under the same names, as JSON types; names and meanings are stable."""
        raise NotImplementedError


def info(cow: Source, *, origin: Source | None = None, prefetch: str | int = "auto") -> StoreInfo:
    """Describes a store. With an origin, records outside it become findings. Raises as `open_snapshot`."""
    raise NotImplementedError


def status(cow: Source) -> str:
    """Returns the kernel's status words, ``9472/32768 48`` or ``Invalid``. Raises as `open_snapshot`."""
    raise NotImplementedError


def table(cow: Source, origin: Source, *, name: str = "snap") -> Activation:
    """Returns the table line and the commands that activate the snapshot in a kernel, as device ``name``.

    ``str(activation)`` is the whole as text for a shell. Raises as `open_snapshot`.
    """
    raise NotImplementedError
