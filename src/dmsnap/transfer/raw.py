"""A device's content as a raw image: sparse, and under its name only when it is whole."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from dmsnap.block.contract import BlockDevice
from dmsnap.block.file import FileDevice
from dmsnap.errors import DmsnapError
from dmsnap.store.format import MAGIC
from dmsnap.transfer.copying import Progress, copy_data, copy_everything, stream_everything
from dmsnap.transfer.media import files_below, overlapping
from dmsnap.transfer.whole_file import CannotWrite, whole_file

__all__ = [
    "CannotWrite",
    "ExportResult",
    "OutputInTheWay",
    "OutputIsInput",
    "OutputIsStore",
    "Progress",
    "TargetTooSmall",
    "export_raw",
]


_STORE_BEGINS = MAGIC.to_bytes(4, "little")


class OutputIsInput(DmsnapError):
    """The result would overwrite what it is made of."""


class OutputIsStore(DmsnapError):
    """The result would overwrite a COW store, which a raw image is never meant to."""


class OutputInTheWay(DmsnapError):
    """Something is where the result would go, and nobody said that it may be lost."""


class TargetTooSmall(DmsnapError):
    """A block device that does not hold the image."""


class ExportResult(NamedTuple):
    """What was exported.

    Attributes:
        size_bytes: The image's size.
        written_bytes: How much of that was written; the rest are holes.
    """

    size_bytes: int
    written_bytes: int


def export_raw(
    device: BlockDevice,
    out: str | os.PathLike[str] | BinaryIO,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    sync: bool = True,
) -> ExportResult:
    """Writes a device's content as a raw image.

    Args:
        device: What to export.
        out: Where to. A path that is free or a regular file: a new sparse file takes the name once it is whole. A
            block device is written in place, zeros too. A FIFO, a character device or an open binary file gets
            everything in order.
        overwrite: Write to a file or block device that is there already.
        progress: Called as ``progress(done_bytes, total_bytes)`` at the start, some ten times a second and at the end,
            in the calling thread.
        sync: Make a file durable before it takes its name.

    Raises:
        OutputIsInput: ``out`` is what ``device`` is made of, by whatever name, or lies below or above it.
        OutputIsStore: ``out`` is itself a COW store.
        OutputInTheWay: ``out`` is there already.
        CannotWrite: ``out`` is a directory, its folder is missing, it is full …
        TargetTooSmall: ``out`` is a block device smaller than the image.
        ReaderGone: The reader of a stream has closed it.
        IOFailed: ``device`` cannot be read, or the target not be written.
    """
    if not isinstance(out, str | os.PathLike):
        return _streamed(device, out, "the output", progress)
    path = os.fspath(out)
    try:
        found = os.stat(path)  # noqa: PTH116 - a status for samestat
    except FileNotFoundError:
        found = None
    except (OSError, ValueError) as error:
        raise CannotWrite.because(path, error if isinstance(error, OSError) else OSError(str(error))) from error
    if found is None:
        _refuse_odd_name(path)
    elif stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode):
        _refuse_to_overwrite(path, found, device, overwrite=overwrite)
    if found is None or stat.S_ISREG(found.st_mode):
        with whole_file(path, device.size_bytes, sync=sync) as target:
            return ExportResult(device.size_bytes, copy_data(device, target, progress))
    if stat.S_ISBLK(found.st_mode):
        with _whole_block_device(path, device.size_bytes) as target:
            return ExportResult(device.size_bytes, copy_everything(device, target, progress))
    if stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode):
        with _opened(path) as stream:
            return _streamed(device, stream, path, progress)
    raise CannotWrite(f"{path}: cannot be written: is a directory or a socket", hint="name a file", path=path)


def _streamed(device: BlockDevice, out: BinaryIO, name: str, progress: Progress | None) -> ExportResult:
    try:
        return ExportResult(device.size_bytes, stream_everything(device, out, progress))
    except OSError as error:
        if isinstance(error, DmsnapError):
            raise
        raise CannotWrite.because(name, error) from error


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "wb", buffering=0)
    except OSError as error:
        raise CannotWrite.because(path, error) from error


@contextlib.contextmanager
def _whole_block_device(path: str, size_bytes: int) -> Iterator[FileDevice]:
    """Opens a block device for writing, alone: one that is mounted or otherwise in use is refused."""
    try:
        alone = os.open(path, os.O_RDWR | os.O_EXCL)
    except OSError as error:
        raise CannotWrite.because(path, error) from error
    try:
        with FileDevice(path, writable=True) as target:
            if target.size_bytes < size_bytes:
                raise TargetTooSmall(
                    f"{path}: its {target.size_bytes} bytes cannot hold an image of {size_bytes} bytes",
                    hint="name a larger device, or a file",
                    path=path,
                )
            yield target
            target.flush()
    finally:
        os.close(alone)


def _refuse_odd_name(path: str) -> None:
    """Refuses a free name that no file is to get: a folder's, or that of a device that is not there."""
    if os.path.basename(path) in ("", os.curdir, os.pardir):  # noqa: PTH119 - a Path would drop the slash
        raise CannotWrite(f"{path}: cannot be written: names a directory", hint="name a file", path=path)
    real = os.path.realpath(path)
    if real.startswith("/dev/") and not real.startswith("/dev/shm/"):  # noqa: S108 - nothing is made there
        raise CannotWrite(f"{path}: no such device", hint="check the path", path=path)


def _refuse_to_overwrite(path: str, found: os.stat_result, device: BlockDevice, *, overwrite: bool) -> None:
    for source in files_below(device):
        if not source.closed and overlapping(
            found, os.fstat(source._fd)
        ):  # not its path, which may lead elsewhere by now
            raise OutputIsInput(
                f"{path}: the result would overwrite {source.name}, which it is made of",
                hint="name another file",
                path=path,
            )
    try:
        with open(path, "rb", buffering=0) as file:
            start = file.read(4)
    except OSError as error:
        raise CannotWrite.because(path, error) from error
    if start == _STORE_BEGINS:
        raise OutputIsStore(
            f"{path}: is itself a COW store", hint="were SNAP and OUT swapped? remove it first", path=path
        )
    if not overwrite:
        raise OutputInTheWay(f"{path} exists", hint="--force (overwrite=True) overwrites it", path=path)
