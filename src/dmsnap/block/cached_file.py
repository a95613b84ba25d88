"""A file as far as the page cache has it: mapped into memory, once it seems to be there.

What is mapped is the page cache, the very memory that read(2) copies from, so that the two agree at any time. It cannot
be asked which pages it has; but whether reads found what they wanted is known. A page of the mapping that is missing is
waited for alone, where other reads could have been under way; so the mapping is used only while few are: each costs as
much trust as many reads that found everything give.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import stat

from dmsnap.block.medium import medium_size

__all__ = ["CachedFile"]

PRICE_OF_A_MISS = 512
"""A miss for so many reads is too much; and so many must have found everything at first."""
MOST_TRUST = 4 * PRICE_OF_A_MISS
"""However long all was found: a few misses in a row are enough."""
LENT_AT_ONCE = 8
"""Reads, at least, that come with each use of the mapping."""

_FILESYSTEMS = {0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0xCA451A4E}
"""ext2 to ext4, XFS, Btrfs, F2FS, bcachefs (linux/magic.h): a page cache, and behind it nothing but the medium. On
tmpfs a hole that is read through a mapping takes memory; on a network filesystem only read(2) asks for what is new."""


class CachedFile:
    """Knows whether it is time to read a file through a mapping. Any thread may ask and tell, without a lock.

    Args:
        fd: Of the file; it stays the caller's to close.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._memory: memoryview | None = None
        self._usable = True
        self._trust = 0

    def found(self, reads: int) -> None:
        """So many reads found everything in the page cache."""
        self._trust = min(self._trust + reads, MOST_TRUST)

    def missed(self) -> None:
        """Some reads, through the mapping or not, found that something was not in the page cache."""
        self._trust = max(0, self._trust - PRICE_OF_A_MISS)

    def failed(self) -> None:
        """The mapping could not be read: the medium fails, or the file was cut short. It is not used any more."""
        self._usable = False

    def memory(self, stop: int) -> memoryview | None:
        """The file as memory, if it is time for that and all up to byte ``stop`` can be had."""
        if self._trust < PRICE_OF_A_MISS or not self._usable:
            return None
        self.found(LENT_AT_ONCE)
        memory = self._memory
        if memory is None or len(memory) < stop:
            memory = self._memory = self._mapped()
        return memory if memory is not None and len(memory) >= stop else None

    def _mapped(self) -> memoryview | None:
        """Maps all of the file, which may have grown; what was mapped before goes when nobody reads from it."""
        try:
            if _is_suitable(self._fd):
                return memoryview(mmap.mmap(self._fd, medium_size(self._fd), mmap.MAP_SHARED, mmap.PROT_READ))
        except (OSError, ValueError, OverflowError, AttributeError):  # no memory for it, a system without, no such file
            pass
        self._usable = False
        return None

    def close(self) -> None:
        """Forgets the mapping; it goes when nobody reads from it."""
        self._usable = False
        self._memory = None


def _is_suitable(fd: int) -> bool:
    if stat.S_ISBLK(os.fstat(fd).st_mode):
        return True
    about = (ctypes.c_long * 64)()  # struct statfs begins with the type, and is shorter
    return ctypes.CDLL(None).fstatfs(fd, about) == 0 and about[0] & 0xFFFFFFFF in _FILESYSTEMS
