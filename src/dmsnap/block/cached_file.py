"""A file as far as the page cache has it: mapped into memory, once it seems to be there.

What is mapped is the page cache, the very memory that read(2) copies from, so that the two agree at any time. It cannot
be asked which pages it has; but whether reads found what they wanted is known. After enough that did, one after the
other, the mapping is trusted, until a page had to be waited for. Such a page was waited for alone, where other reads
could have been under way; so the more often that happens, the longer it takes until it is trusted again.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import stat
from time import monotonic

from dmsnap.block.medium import medium_size

__all__ = ["CachedFile"]

FIRST_FOUND = 64
MOST_FOUND = 1 << 16
"""So many reads in a row must have found everything; twice as many each time that was not true for long."""
LONG_SECONDS = 1.0

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
        self._trusted = False
        self._since = 0.0
        self._found = 0
        self._wanted = FIRST_FOUND

    def found(self, reads: int) -> None:
        """So many reads found everything in the page cache."""
        if not self._trusted and self._usable:
            self._found += reads
            if self._found >= self._wanted:
                self._since = monotonic()
                self._trusted = True

    def missed(self) -> None:
        """A read, through the mapping or not, found something that was not in the page cache."""
        if self._trusted:
            self._trusted = False
            lasted = monotonic() - self._since > LONG_SECONDS
            self._wanted = FIRST_FOUND if lasted else min(2 * self._wanted, MOST_FOUND)
        self._found = 0

    def memory(self, stop: int) -> memoryview | None:
        """The file as memory, if it is time for that and all up to byte ``stop`` can be had."""
        if not self._trusted:
            return None
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
        self._usable = self._trusted = False
        return None

    def close(self) -> None:
        """Forgets the mapping; it goes when nobody reads from it."""
        self._usable = self._trusted = False
        self._memory = None


def _is_suitable(fd: int) -> bool:
    if stat.S_ISBLK(os.fstat(fd).st_mode):
        return True
    about = (ctypes.c_long * 64)()  # struct statfs begins with the type, and is shorter
    return ctypes.CDLL(None).fstatfs(fd, about) == 0 and about[0] & 0xFFFFFFFF in _FILESYSTEMS
