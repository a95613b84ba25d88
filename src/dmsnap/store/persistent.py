"""Opening and creating a persistent exception store, by the kernel's rules."""

from __future__ import annotations

from dataclasses import dataclass

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.store.census import RecordCensus
from dmsnap.store.finding import Finding
from dmsnap.store.foreign import LOOKED_AT_BYTES, recognised
from dmsnap.store.format import (
    DEFAULT_CHUNK_SECTORS,
    FIRST_DATA_CHUNK,
    MAGIC,
    SECTOR_BYTES,
    VERSION,
    BadChunkSize,
    Header,
    check_chunk_size,
    exceptions_per_area,
    pack_header,
    unpack_header,
)
from dmsnap.store.load_trace import LoadTrace, recorded
from dmsnap.store.loading import AreaReader, TruncatedStore
from dmsnap.store.prefetch import PrefetchPolicy, prefetch_policy
from dmsnap.store.table import ExceptionTable
from dmsnap.store.table_builder import TableBuilder

__all__ = [
    "EmptyStore",
    "NotAStore",
    "Store",
    "StoreTooSmall",
    "UnsupportedVersion",
    "create_store",
    "open_store",
    "write_empty_store",
]


class NotAStore(DmsnapError):
    """The device does not begin with the header of an exception store."""


class EmptyStore(NotAStore):
    """The magic number is 0: the kernel would write a new, empty store here. Opening to read never does."""


class UnsupportedVersion(DmsnapError):
    """A store of a version that no kernel has written."""


class StoreTooSmall(DmsnapError, ValueError):
    """A device that has no room for the header, one metadata area and one chunk of data."""


@dataclass(frozen=True, slots=True)
class Store:
    """A persistent exception store as it was when it was opened.

    Attributes:
        device: The COW device.
        header: As it lies on disk.
        table: The exceptions; empty when the store is invalid, since the kernel does not read them either.
        areas: Metadata areas in use, the one with the end marker included (the kernel's ``current_area`` + 1).
        committed: Records in the last of them.
        next_free: The chunk that the next exception would get.
        findings: What is odd in the records, the worst first.
    """

    device: BlockDevice
    header: Header
    table: ExceptionTable
    areas: int
    committed: int
    next_free: int
    findings: tuple[Finding, ...]

    @property
    def chunk_zero_bytes(self) -> int:
        """Where on the COW device its chunk 0 begins."""
        return 0

    @property
    def valid(self) -> bool:
        """Whether the header says so; any number but 0 does, as in the kernel."""
        return self.header.valid != 0

    @property
    def chunk_size_sectors(self) -> int:
        """Chunk size in sectors, from the header, which wins over any table."""
        return self.header.chunk_size_sectors

    @property
    def chunk_size_bytes(self) -> int:
        """Chunk size in bytes."""
        return self.header.chunk_size_sectors * SECTOR_BYTES

    @property
    def allocated_sectors(self) -> int:
        """Sectors in use, metadata and header included: the first number of the kernel's status."""
        return self.next_free * self.chunk_size_sectors & (1 << 64) - 1

    @property
    def total_sectors(self) -> int:
        """Size of the COW device in sectors, not rounded to chunks: the second number of the kernel's status."""
        return self.device.size_bytes // SECTOR_BYTES

    @property
    def metadata_sectors(self) -> int:
        """Sectors of the header and the areas in use: the third number of the kernel's status."""
        return (self.areas + 1) * self.chunk_size_sectors


def read_header(device: BlockDevice, *, origin_block_size_bytes: int = SECTOR_BYTES) -> Header:
    """Reads and judges the header in the kernel's order: magic, chunk size, version.

    Raises:
        NotAStore, EmptyStore, BadChunkSize, UnsupportedVersion, TruncatedStore: As their names say.
        IOFailed: The header cannot be read.
    """
    block_bytes = max(SECTOR_BYTES, device.logical_block_size_bytes)
    if device.size_bytes < block_bytes:
        raise NotAStore(
            f"{device.name}: too short for the header of an exception store",
            hint="is it the COW store, and all of it?",
            device=device.name,
        )
    head = device.read_at(0, min(max(LOOKED_AT_BYTES, block_bytes), device.size_bytes))
    header = unpack_header(head)
    if header.magic != MAGIC:
        raise _no_store(device, head)
    try:
        check_chunk_size(header.chunk_size_sectors, device.logical_block_size_bytes, origin_block_size_bytes)
    except BadChunkSize as error:
        raise BadChunkSize(f"{device.name}: {error.message}", hint=error.hint, **error.fields) from None
    if header.version != VERSION:
        raise UnsupportedVersion(
            f"{device.name}: unable to handle snapshot disk version {header.version}",
            hint="only version 1 was ever written by a kernel: the header is damaged",
            device=device.name,
            version=header.version,
        )
    if device.size_bytes < header.chunk_size_sectors * SECTOR_BYTES:
        raise TruncatedStore(
            f"{device.name}: {device.size_bytes} bytes are less than one chunk of"
            f" {header.chunk_size_sectors * SECTOR_BYTES} bytes",
            hint="the store was cut short: get the whole of it",
            device=device.name,
        )
    return header


def _no_store(device: BlockDevice, head: bytearray) -> NotAStore:
    """Says what else it is, if that can be seen; zeros in front are an empty store to a kernel, whatever follows."""
    foreign = recognised(head)
    if any(head[:4]):
        hint = foreign.hint if foreign else "is it the origin? Or is the store a part of it?"
        what = f": it seems to be {foreign.name}" if foreign else ": it does not begin with 'SnAp'"
        return NotAStore(f"{device.name}: not an exception store{what}", hint=hint, device=device.name)
    if any(head):
        what = foreign.name if foreign else "other data"
        return EmptyStore(
            f"{device.name}: no store: an empty store by its first bytes, but what follows seems to be {what}",
            hint="do not activate it: a kernel would overwrite it with a new store",
            device=device.name,
        )
    return EmptyStore(
        f"{device.name}: empty store: it begins with zeros",
        hint="a kernel makes a new store of it when it is activated; 'dmsnap create' makes one in a new file",
        device=device.name,
    )


def open_store(
    device: BlockDevice,
    *,
    prefetch: str | int = "auto",
    origin_size_bytes: int | None = None,
    origin_block_size_bytes: int = SECTOR_BYTES,
    trace: LoadTrace | None = None,
) -> Store:
    """Loads a store without ever writing to its device.

    Args:
        device: The COW device.
        prefetch: ``"auto"``, ``"kernel"`` (12 areas ahead) or a number of areas; the result is the same for each.
        origin_size_bytes: Size of the origin, where known: records for chunks beyond it become a finding.
        origin_block_size_bytes: Logical block size of the origin, which the chunk size must be a multiple of.
        trace: A new one, to record what is read when; one of a load that fails holds what was until then.

    Raises:
        NotAStore, EmptyStore, BadChunkSize, UnsupportedVersion: By the header.
        TruncatedStore: The metadata runs past the end of the device; the kernel refuses this with EIO.
        IOFailed: The header or a metadata area in use cannot be read.
        BadPrefetch: No such policy.
    """
    policy = prefetch_policy(prefetch)
    with recorded(trace, device, prefetch):
        return _load(device, policy, origin_size_bytes, origin_block_size_bytes, trace)


def _load(
    device: BlockDevice,
    policy: PrefetchPolicy,
    origin_size_bytes: int | None,
    origin_block_size_bytes: int,
    trace: LoadTrace | None,
) -> Store:
    header = read_header(device, origin_block_size_bytes=origin_block_size_bytes)
    if not header.valid:
        return Store(device, header, TableBuilder().build(), 1, 0, FIRST_DATA_CHUNK, ())
    per_area = exceptions_per_area(header.chunk_size_sectors)
    census = RecordCensus(device.name, device.size_bytes, header.chunk_size_sectors, origin_size_bytes)
    reader = AreaReader(device, header.chunk_size_sectors, policy, trace)
    builder = TableBuilder(room=reader.most_records)
    for batch in reader.batches():
        builder.add(*census.judge(batch))
    table = builder.build()
    next_free = census.next_free
    if next_free % (per_area + 1) == 1:
        next_free += 1
    findings = census.findings(duplicates=builder.duplicates)
    return Store(device, header, table, reader.current_area + 1, reader.committed, next_free, findings)


def create_store(device: BlockDevice, chunk_size_sectors: int = DEFAULT_CHUNK_SECTORS) -> None:
    """Writes a new, empty store: the same bytes as the kernel when it meets a COW device that begins with zeros.

    Args:
        device: The COW device; whatever it held is not looked at.
        chunk_size_sectors: Power of two; 16 KiB where the kernel is given none.

    Raises:
        BadChunkSize: By the kernel's rules.
        StoreTooSmall: Less than three chunks, LVM's minimum: a header, an area and one chunk of data.
        ReadOnlyDevice, IOFailed: As their names say.
    """
    check_chunk_size(chunk_size_sectors, device.logical_block_size_bytes)
    chunk_bytes = chunk_size_sectors * SECTOR_BYTES
    if device.size_bytes < 3 * chunk_bytes:
        raise StoreTooSmall(
            f"{device.name}: {device.size_bytes} bytes cannot hold 3 chunks of {chunk_bytes} bytes",
            hint="make it larger, or take smaller chunks",
            device=device.name,
        )
    write_empty_store(device, chunk_size_sectors)


def write_empty_store(device: BlockDevice, chunk_size_sectors: int) -> None:
    """Writes header and first area of a new store; unlike `create_store` without a look at what makes sense.

    Raises:
        BadRequest: The device has no room for two chunks.
        ReadOnlyDevice, IOFailed: As their names say.
    """
    header = pack_header(Header(MAGIC, 1, VERSION, chunk_size_sectors))
    block_bytes = max(SECTOR_BYTES, device.logical_block_size_bytes)
    device.zero(0, 2 * chunk_size_sectors * SECTOR_BYTES)
    device.flush()  # a header before a clean area would make records of whatever lay there
    device.write_at(0, header.ljust(block_bytes, b"\0"))
    device.flush()
