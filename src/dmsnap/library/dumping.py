"""A store as text or packed, and back: ``dump`` and ``restore``."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice
from dmsnap.block.medium import CannotOpen, printable
from dmsnap.errors import DmsnapError
from dmsnap.library.creation import BadStoreSize
from dmsnap.library.opening import open_source
from dmsnap.library.output_file import check_output_file, whole_output
from dmsnap.library.source import Source
from dmsnap.library.tracing.trace import Trace
from dmsnap.maintenance.dumping import FORMATS, read_dump
from dmsnap.maintenance.events import Begin, Data, Events, Exceptions
from dmsnap.maintenance.progress import telling
from dmsnap.maintenance.reading import read_data, read_events
from dmsnap.maintenance.writing import write_events
from dmsnap.store.format import MAGIC, exceptions_per_area, unpack_header
from dmsnap.store.load_trace import recorded
from dmsnap.transfer.copying import Progress
from dmsnap.transfer.raw import OutputInTheWay
from dmsnap.transfer.whole_file import whole_file

__all__ = ["BadDumpChoice", "OtherChunks", "RestoreResult", "dump", "restore"]


class BadDumpChoice(DmsnapError, ValueError):
    """A format that there is not, or that cannot hold what it should."""


class OtherChunks(DmsnapError):
    """A store that data should come from has chunks of another size."""


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What was restored.

    Attributes:
        exceptions: How many exceptions the store has.
        size_bytes: Its size.
        chunk_size_bytes: Its chunk size.
        data_bytes: How much data was written with them.
    """

    exceptions: int
    size_bytes: int
    chunk_size_bytes: int
    data_bytes: int

    def to_json(self) -> dict[str, object]:
        """Returns the fields under the same names; names and meanings are stable."""
        return asdict(self)


def dump(
    cow: Source,
    out: str | os.PathLike[str] | BinaryIO,
    *,
    format: str = "xml",  # noqa: A002 - the word of --format
    data: bool = False,
    overwrite: bool = False,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    progress: Progress | None = None,
) -> int:
    """Writes down what a store holds, as it lies there, also one that is invalid; returns the number of exceptions.

    Args:
        cow: The COW store.
        out: A path, which a file has once it is whole; or a binary file that is open, such as ``sys.stdout.buffer``.
        format: ``xml``; ``json``, one object a line; or ``packed``, which is small and has no user data.
        data: Also the content of the chunks, in base64; not in packed form.
        overwrite: Replace a file that is there already; never a store, nor what is read.
        prefetch: How the store's areas are read; as `open_snapshot`.
        trace: Records that.
        progress: Called now and then with how far through the store's device that has come, and its size, in bytes.

    Raises:
        DmsnapError: `BadDumpChoice`; the store cannot be read, or only in part; ``out`` is in the way or cannot be
            written.
        OSError: From ``out``, where that is an open file.
    """
    if format not in FORMATS:
        raise BadDumpChoice(f"no such format: {format!a}", hint=f"formats are {', '.join(FORMATS)}")
    if data and format == "packed":
        raise BadDumpChoice("packed dumps never hold data", hint="xml and json do")
    if isinstance(out, str | os.PathLike):
        _refuse_in_the_way(os.fspath(out), [cow], overwrite=overwrite, what="the dump")
    with ExitStack() as stack:
        device = open_source(cow, stack)
        if isinstance(out, str | os.PathLike):
            file = stack.enter_context(whole_output(os.fspath(out)))
        else:
            file = stack.enter_context(_buffered(out))
        load = None if trace is None else trace.new_load()
        with recorded(load, device, prefetch):
            events = read_events(device, data=data, prefetch=prefetch, trace=load)
            return FORMATS[format].write(telling(events, progress), file)


def restore(
    dump: str | os.PathLike[str] | BinaryIO,
    out: str | os.PathLike[str],
    *,
    size_bytes: int | None = None,
    data_from: Source | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    sync: bool = True,
) -> RestoreResult:
    """Makes a store of a dump: metadata byte for byte as in the store that was dumped, and the data that there is.

    Args:
        dump: A path, or a binary file that is open; the format is found out.
        out: The new file, sparse; it has this name once it is whole.
        size_bytes: Its size, in whole sectors; otherwise as in the dump.
        data_from: A store to copy the chunks from that the exceptions name, as far as it has them: the one that was
            dumped. Data in the dump goes before it.
        overwrite: Replace a file that is there already; never a store, nor what is read.
        progress: Called now and then with how far through the store that was dumped this has come, and its size, in
            bytes.
        sync: Make the file durable before it takes its name.

    Raises:
        DmsnapError: The dump is cut short, is none, or says what no store can be; `OtherChunks`; `DoesNotFit`; ``out``
            is in the way or cannot be written.
    """
    path = os.fspath(out)
    if size_bytes is not None and (size_bytes <= 0 or size_bytes % SECTOR_BYTES):
        raise BadStoreSize(
            f"{printable(path)}: cannot be {size_bytes} bytes long", hint="use whole sectors of 512 bytes"
        )
    sources: list[Source] = [] if data_from is None else [data_from]
    if isinstance(dump, str | os.PathLike):
        sources.append(dump)
    _refuse_in_the_way(path, sources, overwrite=overwrite, what="the store")
    with ExitStack() as stack:
        events = read_dump(stack.enter_context(_readable(dump)))
        begin = next(events)
        assert isinstance(begin, Begin)
        if data_from is not None:
            events = _with_data(events, begin, open_source(data_from, stack))
        data_bytes = 0

        def counted() -> Events:
            nonlocal data_bytes
            yield begin
            for event in events:
                if isinstance(event, Data):
                    data_bytes += len(event.data)
                yield event

        size = begin.cow_size_bytes if size_bytes is None else size_bytes
        with whole_file(path, size, sync=sync) as target:
            exceptions = write_events(telling(counted(), progress), target)
        return RestoreResult(exceptions, size, begin.chunk_bytes, data_bytes)


def _with_data(events: Events, begin: Begin, device: BlockDevice) -> Events:
    """Yields events, and behind each batch of records the chunks that they name; of metadata there is no copy."""
    if device.size_bytes >= SECTOR_BYTES:
        block = max(SECTOR_BYTES, device.logical_block_size_bytes)
        header = unpack_header(device.read_at(0, block))
        if header.magic == MAGIC and header.chunk_size_sectors != begin.header.chunk_size_sectors:
            raise OtherChunks(
                f"{device.name}: has chunks of {header.chunk_size_sectors} sectors, the dump of"
                f" {begin.header.chunk_size_sectors}",
                hint="data comes from the store that was dumped",
                device=device.name,
            )
    stride = exceptions_per_area(begin.header.chunk_size_sectors) + 1
    for event in events:
        chunks = event.records[:, 1] if isinstance(event, Exceptions) else None
        chunks = None if chunks is None else chunks[chunks % stride != 1]
        yield event
        if chunks is not None:
            yield from read_data(device, begin.chunk_bytes, chunks)


def _refuse_in_the_way(path: str, sources: list[Source], *, overwrite: bool, what: str) -> None:
    check_output_file(path, sources, what=what)
    if os.path.lexists(path) and not overwrite:
        raise OutputInTheWay(f"{printable(path)} exists", hint="--force (overwrite=True) overwrites it", path=path)


@contextlib.contextmanager
def _readable(dump: str | os.PathLike[str] | BinaryIO) -> Iterator[io.BufferedReader]:
    """Gives a dump as a stream that can be looked ahead in."""
    if isinstance(dump, str | os.PathLike):
        try:
            file = open(dump, "rb")  # noqa: SIM115 - closed below; only what opening raises is told as such
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise CannotOpen(f"{printable(os.fspath(dump))}: {words.lower()}", hint="check the path") from error
        with file:
            yield file
    elif isinstance(dump, io.BufferedReader):
        yield dump
    else:
        reader = io.BufferedReader(cast(Any, dump))
        try:
            yield reader
        finally:
            reader.detach()


@contextlib.contextmanager
def _buffered(out: BinaryIO) -> Iterator[BinaryIO]:
    """Gives a stream that takes all of what is written."""
    if not isinstance(out, io.RawIOBase):
        yield out
        out.flush()
        return
    writer = io.BufferedWriter(out)
    try:
        yield writer
        writer.flush()
    finally:
        with contextlib.suppress(OSError):
            writer.detach()
