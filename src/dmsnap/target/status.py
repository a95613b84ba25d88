"""Status words of the snapshot target: what ``dmsetup status`` prints after the target's name.

Source: Linux dm-snapshot; the third number since target version 1.8.0 (Linux 2.6.33), ``Overflow`` since Linux 4.3.
Percentages follow LVM2, so that ours and ``lvs`` say the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dmsnap.errors import DmsnapError
from dmsnap.store import Store

__all__ = ["BadStatus", "Status", "ima_words", "parse_status", "status_words", "store_status"]

_NUMBERS = re.compile(r"([0-9]{1,20})/([0-9]{1,20})(?: ([0-9]{1,20}))?")
_STATES = ("Invalid", "Merge failed", "Overflow", "Unknown")


class BadStatus(DmsnapError, ValueError):
    """Words that no snapshot target prints."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a snapshot: a word, or numbers.

    Attributes:
        state: ``Invalid``, ``Merge failed``, ``Overflow``, ``Unknown`` (a store that cannot tell), or empty when the
            snapshot is well and the numbers count.
        allocated_sectors: Everything up to the next free chunk, in sectors of 512 bytes.
        total_sectors: The COW device's size.
        metadata_sectors: Header and metadata areas; None from kernels that print two numbers.
    """

    state: str = ""
    allocated_sectors: int = 0
    total_sectors: int = 0
    metadata_sectors: int | None = None

    def __str__(self) -> str:
        if self.state:
            return self.state
        numbers = f"{self.allocated_sectors}/{self.total_sectors}"
        return numbers if self.metadata_sectors is None else f"{numbers} {self.metadata_sectors}"

    @property
    def usage_percent(self) -> float:
        """How full the store is, as ``Data%`` of ``lvs``: 0 and 100 only when exactly empty or full.

        A snapshot that is invalid, overflowed or failed to merge counts as full.
        """
        used, total = self.allocated_sectors, self.total_sectors
        if self.state or used == total or not total:
            return 100.0
        if used == self.metadata_sectors:
            return 0.0
        millionths = 100_000_000 * used // total
        if used < total:
            millionths = min(max(millionths, 1), 99_999_999)
        return max(millionths, 1) / 1_000_000


def store_status(store: Store) -> Status:
    """Returns the status that a kernel gives for a store it has just loaded."""
    if not store.valid:
        return Status("Invalid")
    return Status("", store.allocated_sectors, store.total_sectors, store.metadata_sectors)


def status_words(store: Store) -> str:
    """Returns the kernel's words for a store: ``Invalid``, or ``<allocated>/<total> <metadata>`` in sectors."""
    return str(store_status(store))


def ima_words(status: Status, origin: str, cow: str, *, target_version: str = "1.16.0") -> str:
    """Returns what the kernel measures of a snapshot for its integrity log (IMA, since Linux 5.15).

    Args:
        status: Of the snapshot.
        origin: The origin's ``major:minor``.
        cow: The COW device's.
        target_version: Of the kernel's snapshot target.
    """
    flags = [
        f"{name}={'y' if yes else 'n'}"
        for name, yes in (
            ("snap_valid", status.state != "Invalid"),
            ("snap_merge_failed", status.state == "Merge failed"),
            ("snapshot_overflowed", status.state == "Overflow"),
        )
    ]
    words = ["target_name=snapshot", f"target_version={target_version}", f"snap_origin_name={origin}"]
    return ",".join([*words, f"snap_cow_name={cow}", *flags]) + ";"


def parse_status(words: str) -> Status:
    """Reads status words; two numbers (old kernels) or three, or a state.

    Raises:
        BadStatus: They are none of these.
    """
    text = words.strip()
    if text in _STATES:
        return Status(text)
    match = _NUMBERS.fullmatch(text)
    if match is None:
        raise BadStatus(
            f"not the status of a snapshot: {words[:80]!r}",
            hint="expected 'allocated/total metadata', or " + ", ".join(_STATES),
            words=words,
        )
    allocated, total, metadata = match.groups()
    return Status("", int(allocated), int(total), None if metadata is None else int(metadata))
