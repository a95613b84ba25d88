"""Reading what is in the page cache already, and nothing else: no medium is asked, nobody waits."""

from __future__ import annotations

from collections.abc import Iterable

from dmsnap.block.contract import BlockDevice, ReadRequest
from dmsnap.block.file import FileDevice
from dmsnap.block.positioned import preadv

__all__ = ["read_at_hand"]


def read_at_hand(device: BlockDevice, requests: Iterable[ReadRequest]) -> int:
    """Does the first of some reads, as far as their bytes are at hand; what others find in their memory is undefined.

    Args:
        device: Any; only of a `FileDevice` itself is it known what is at hand, and of others nothing is.
        requests: Inside the device and aligned; they are not checked.

    Returns:
        How many were done. Why the next one was not is for whoever reads it otherwise to find out.
    """
    if type(device) is not FileDevice or device.closed or not device._nowait:  # not past the page cache on purpose
        return 0
    fd, flags, done = device._fd, device._nowait, 0
    try:
        for offset, view in requests:
            if preadv(fd, (view,), offset, flags) != len(view):
                break
            done += 1
    except OSError:
        pass
    device._cached.found(done)
    return done
