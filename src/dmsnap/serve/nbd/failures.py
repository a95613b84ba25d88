"""Errors as the protocol tells them."""

from __future__ import annotations

from dmsnap.block.contract import BadRequest, DeviceClosed, OutOfRoom, ReadOnlyDevice
from dmsnap.block.nbd.wire import NbdError
from dmsnap.errors import DmsnapError

__all__ = ["told"]


def told(error: BaseException) -> tuple[NbdError, str]:
    """The number of an error, and a reason that names nothing of the server's.

    Raises:
        BaseException: ``error`` itself, where it is a mistake of ours and not the device's answer.
    """
    from dmsnap.store.exception_store import StoreFull  # here, as it is rare and brings much with it

    if isinstance(error, OutOfRoom | StoreFull):
        return NbdError.ENOSPC, "no room"
    if isinstance(error, ReadOnlyDevice):
        return NbdError.EPERM, "the device is read-only"
    if isinstance(error, DeviceClosed):
        return NbdError.ESHUTDOWN, "the device was closed"
    if isinstance(error, BadRequest):
        return NbdError.EINVAL, "the device refuses the request"
    if isinstance(error, MemoryError):
        return NbdError.ENOMEM, "no memory"
    if isinstance(error, DmsnapError | OSError):
        return NbdError.EIO, "the device failed"
    raise error
