"""Judging the header of a store: field by field, and by what the areas say where a field cannot be."""

from __future__ import annotations

from typing import NamedTuple

from dmsnap.block.contract import BlockDevice
from dmsnap.maintenance.fitting import Fit, fitting_chunk_sizes
from dmsnap.store.finding import Finding, Kind, Severity
from dmsnap.store.foreign import LOOKED_AT_BYTES, recognised
from dmsnap.store.format import MAGIC, SECTOR_BYTES, VERSION, BadChunkSize, Header, check_chunk_size, unpack_header
from dmsnap.store.persistent import read_header

__all__ = ["JudgedHeader", "chunk_size_doubt", "judge_header"]

_REPAIR = "'dmsnap repair' writes a store with a right header"


class JudgedHeader(NamedTuple):
    """What is to be made of a header.

    Attributes:
        header: What to read the areas by; None where no chunk size is known.
        findings: What is wrong with it.
    """

    header: Header | None
    findings: list[Finding]


def judge_header(device: BlockDevice, origin_block_size_bytes: int = SECTOR_BYTES) -> JudgedHeader:
    """Reads and judges the header.

    Raises:
        NotAStore, EmptyStore: Neither the header nor what follows looks like a store.
        IOFailed: The header cannot be read.
    """
    block_bytes = max(SECTOR_BYTES, device.logical_block_size_bytes)
    if device.size_bytes < block_bytes:
        read_header(device)  # which says why not
    head = device.read_at(0, min(max(LOOKED_AT_BYTES, block_bytes), device.size_bytes))
    header = unpack_header(head)
    refusal = _refusal(device, header.chunk_size_sectors, origin_block_size_bytes)
    if header.magic == MAGIC and header.version == VERSION and not refusal:
        return JudgedHeader(header, [])
    fits = fitting_chunk_sizes(device)
    if header.magic != MAGIC and not _like_a_store(header, refusal, [] if recognised(head) else fits):
        read_header(device)  # which says what it is instead
    findings = []
    if header.magic != MAGIC:
        findings.append(_magic(header.magic))
    if header.version != VERSION:
        findings.append(_version(header.version))
    if len(findings) == 2:  # nothing in it is worth anything, so it does not say that the store is invalid
        header = header._replace(valid=1)
    if refusal or (findings and fits and header.chunk_size_sectors not in [fit.chunk_size_sectors for fit in fits]):
        findings.append(_chunk_size(refusal or "does not fit the areas", header.chunk_size_sectors, fits))
        if not fits:
            return JudgedHeader(None, findings)
        header = header._replace(chunk_size_sectors=fits[0].chunk_size_sectors)
    return JudgedHeader(header._replace(magic=MAGIC, version=VERSION), findings)


def chunk_size_doubt(
    device: BlockDevice, header: Header, *, garbage: bool, records: int = 0
) -> tuple[Header, Finding] | None:
    """Looks for another chunk size with which the areas make sense, where they do not with the header's.

    Args:
        device: The COW device.
        header: Sound otherwise.
        garbage: What lies in the place of the first area cannot be records; otherwise there are none.
        records: How many there may be nevertheless, all of them damaged: more must speak for another size, in order,
            since a chunk of data can begin as a record.

    Returns:
        The header to read the areas by, and what to tell; None where no other size fits any better.
    """
    size = header.chunk_size_sectors
    fits = fitting_chunk_sizes(device)
    if not fits or size in [fit.chunk_size_sectors for fit in fits]:
        return None
    if records and fits[0].in_order <= max(1, records):
        return None
    if garbage:
        found = _chunk_size("does not fit the areas", size, fits)
        return header._replace(chunk_size_sectors=fits[0].chunk_size_sectors), found
    best = fits[0].chunk_size_sectors * SECTOR_BYTES
    message = (
        f"no exceptions with chunks of {size * SECTOR_BYTES} bytes, as the header says, but {fits[0].records} or more"
        f" with chunks of {best} bytes: the header is wrong, or this is a new store in the place of an old one"
    )
    advice = "if it is not new, 'dmsnap repair --accept chunk-size' brings back the old one"
    return header, Finding(Kind.CHUNK_SIZE, Severity.WARNING, message, advice, fits[0].records, offset_bytes=12)


def _like_a_store(header: Header, refusal: str, fits: list[Fit]) -> bool:
    """Whether what does not begin as a store is one nevertheless: by the rest of its header, or by its areas."""
    rest = header.version == VERSION
    if rest and not refusal and header.valid in (0, 1):
        return True
    return bool(fits) and 2 * fits[0].in_order >= fits[0].records and (rest or fits[0].in_order > 1)


def _refusal(device: BlockDevice, chunk_size_sectors: int, origin_block_size_bytes: int) -> str:
    """Why a kernel would refuse a chunk size here; empty where it would not."""
    try:
        check_chunk_size(chunk_size_sectors, device.logical_block_size_bytes, origin_block_size_bytes)
    except BadChunkSize as error:
        return "is refused by kernels: " + error.message.partition(": ")[2]
    return ""


def _magic(magic: int) -> Finding:
    begins = (
        "with zeros: a kernel would make a new, empty store of it" if not magic else "otherwise: no kernel loads it"
    )
    return Finding(
        Kind.MAGIC,
        Severity.DAMAGE,
        f"the store should begin with 'SnAp' and begins {begins}",
        f"do not activate it; {_REPAIR}",
        offset_bytes=0,
    )


def _version(version: int) -> Finding:
    message = f"the header has version {version}; kernels have written 1 alone and refuse any other"
    return Finding(Kind.VERSION, Severity.DAMAGE, message, _REPAIR, offset_bytes=8)


def _chunk_size(problem: str, chunk_size_sectors: int, fits: list[Fit]) -> Finding:
    message = f"the chunk size in the header, {chunk_size_sectors} sectors, {problem}"
    if not fits:
        return Finding(
            Kind.CHUNK_SIZE,
            Severity.DAMAGE,
            f"{message}; no other can be told, since there are no records",
            "an empty store: make a new one with 'dmsnap create'; or else look for a copy",
            offset_bytes=12,
        )
    sizes = " or ".join(str(fit.chunk_size_sectors) for fit in fits[:3])
    return Finding(Kind.CHUNK_SIZE, Severity.DAMAGE, f"{message}; what fits is {sizes}", _REPAIR, offset_bytes=12)
