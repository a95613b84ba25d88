"""dm-bufio in user space: a cache of fixed-size blocks with holds, dirty lists, write-back and prefetch."""

from dmsnap.bufio.buffer import Buffer
from dmsnap.bufio.client import DEFAULT_CACHE_BYTES, BufioClient
from dmsnap.bufio.counters import Counters, Trace
from dmsnap.bufio.misuse import BufferLeaked, BufioMisuse

__all__ = ["DEFAULT_CACHE_BYTES", "Buffer", "BufferLeaked", "BufioClient", "BufioMisuse", "Counters", "Trace"]
