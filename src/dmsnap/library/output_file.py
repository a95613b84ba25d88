"""Where a result file (a picture, a trace) may go, and how it appears there in one step."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from dmsnap.block.contract import BlockDevice
from dmsnap.block.medium import printable
from dmsnap.errors import DmsnapError
from dmsnap.library.source import Source, path_of
from dmsnap.library.volumes.address import paths_named
from dmsnap.store.format import MAGIC
from dmsnap.transfer.media import overlapping
from dmsnap.transfer.raw import OutputIsInput, OutputIsStore
from dmsnap.transfer.whole_file import CannotWrite

__all__ = ["BadOutputFile", "check_output_file", "whole_output"]


class BadOutputFile(DmsnapError, ValueError):
    """Something other than a regular file stands where a result is to go."""


def check_output_file(path: str, beside: Iterable[Source] = (), *, what: str = "the result") -> None:
    """Does nothing if a file can be expected to be written to ``path``: asked before the work.

    The folder is tried: a file is created there and removed again.

    Args:
        path: The name. A symbolic link is judged by what it leads to, though only the link would be replaced.
        beside: What the same work reads or writes, which must not be overwritten.
        what: What is to be written, for messages.

    Raises:
        OutputIsInput: It is one of ``beside``, or lies below it, by whatever name.
        OutputIsStore: It is a COW store.
        BadOutputFile: It is something other than a file.
        CannotWrite: The folder is missing or cannot be written to, or no file can have this name.
    """
    shown = printable(path)
    for each in (each for source in beside for each in _paths(source)):
        if _is_one(path, each):
            raise OutputIsInput(
                f"{shown}: {what} would overwrite what the same command reads or writes",
                hint="name another file",
                path=path,
            )
    with _as_cannot_write(path):
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - any name, any error
                raise BadOutputFile(f"{shown}: is not a regular file", hint="name a file", path=path)
            _refuse_store(path)
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder and not os.path.isdir(folder):  # noqa: PTH112
            raise CannotWrite(f"{shown}: cannot be written: no such directory", path=path)
        part = _part_beside(path)
        try:
            with open(part, "xb"):
                pass
        finally:
            with contextlib.suppress(OSError):
                os.unlink(part)  # noqa: PTH108


@contextlib.contextmanager
def whole_output(path: str) -> Iterator[BinaryIO]:
    """Gives a new file to write to, which becomes ``path`` when the block ends well and goes otherwise.

    What had the name is replaced in one step: a file, whose permission bits the new one takes over, or a symbolic link
    itself, never what it leads to.

    Raises:
        CannotWrite: The folder is missing, full or not writable.
    """
    with _as_cannot_write(path):
        part = _part_beside(path)
        try:
            with open(part, "xb") as file:
                with contextlib.suppress(FileNotFoundError):
                    before = os.lstat(path).st_mode
                    if stat.S_ISREG(before):
                        os.fchmod(file.fileno(), before & 0o777)
                yield file
            os.replace(part, path)  # noqa: PTH105
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)  # noqa: PTH108
            raise


def _part_beside(path: str) -> str:
    return os.path.join(os.path.dirname(path), f".dmsnap-{os.urandom(8).hex()}.part")  # noqa: PTH120


@contextlib.contextmanager
def _as_cannot_write(path: str) -> Iterator[None]:
    """Turns what an operating system says about a name into `CannotWrite`."""
    try:
        yield
    except DmsnapError:
        raise
    except OSError as error:
        raise CannotWrite.because(printable(path), error) from error
    except ValueError as error:  # a name with a zero byte
        if "\0" not in path:
            raise
        raise CannotWrite.because(printable(path), OSError(str(error))) from error


def _paths(source: Source) -> Sequence[str | None]:
    """The files that a source is read from; of a logical volume, all images that are named."""
    if isinstance(source, BlockDevice):
        return (path_of(source),)
    return paths_named(source) if isinstance(source, str) else (os.fspath(source),)


def _is_one(path: str, other: str | None) -> bool:
    if other is None:
        return False
    with contextlib.suppress(OSError, ValueError):
        return overlapping(os.stat(path), os.stat(other))  # noqa: PTH116
    with contextlib.suppress(ValueError):
        return os.path.realpath(path) == os.path.realpath(other)
    return False


def _refuse_store(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        if file.read(4) == MAGIC.to_bytes(4, "little"):
            raise OutputIsStore(f"{printable(path)}: is itself a COW store", hint="name another file", path=path)
