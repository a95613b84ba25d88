"""What programs get to hear of an error: the errno of their system call."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from dmsnap.block.contract import BadRequest, DeviceClosed, OutOfRoom, ReadOnlyDevice
from dmsnap.store.exception_store import StoreFull
from dmsnap.target.writable_snapshot import SnapshotOverflowed

__all__ = ["error_number", "with_error_numbers"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_NUMBERS: tuple[tuple[type[Exception], int], ...] = (
    (OutOfRoom, errno.ENOSPC),
    (StoreFull, errno.ENOSPC),
    (SnapshotOverflowed, errno.ENOSPC),  # the same store, asked again
    (ReadOnlyDevice, errno.EROFS),
    (DeviceClosed, errno.ESHUTDOWN),
    (BadRequest, errno.EINVAL),
    (MemoryError, errno.ENOMEM),
)


def error_number(error: Exception) -> int:
    """Returns the errno of an error: EIO for all that have none of their own."""
    return next((number for kind, number in _NUMBERS if isinstance(error, kind)), errno.EIO)


def with_error_numbers(operation: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Makes an operation of a file system raise nothing but plain OSErrors with a number."""

    @wraps(operation)
    def call(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
        try:
            return operation(*arguments, **keywords)
        except Exception as error:
            if type(error).__module__ == "builtins" and isinstance(error, OSError) and error.errno:
                raise
            number = error_number(error)
            raise OSError(number, os.strerror(number)) from error

    return call
