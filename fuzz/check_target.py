"""Any bytes as a COW device: a check says what is wrong, as the model says it, or that this is no store."""

from __future__ import annotations

import struct
import zlib

import engine

with engine.instrumented(include=["dmsnap"]):
    from dmsnap.block.memory import MemoryDevice
    from dmsnap.maintenance.checking import CheckReport, check_store
    from dmsnap.store import NotAStore
    from dmsnap.store.finding import Kind
from dmsnap.testing.store_model import StoreModel, model_store

PREFETCH = ("auto", "kernel", 0, 7)
HEADER = {Kind.MAGIC, Kind.VERSION, Kind.CHUNK_SIZE}
UNCOUNTED = HEADER | {Kind.END_LOST, Kind.UNREADABLE}


def test_one(data: bytes) -> None:
    """Checks a store by one of the policies, with or without an origin, and compares."""
    choice = zlib.crc32(data)  # of the input alone, so that it replays
    origin_size = None if choice & 16 else (1 + (choice >> 8) % 200) * 512
    origin = None if origin_size is None else MemoryDevice(origin_size, read_only=True)
    device = MemoryDevice(data[: len(data) // 512 * 512], read_only=True)
    model = model_store(data, origin_size_bytes=origin_size)
    try:
        report = check_store(device, origin=origin, prefetch=PREFETCH[choice % len(PREFETCH)])
    except NotAStore as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert model.refusal in ("NotAStore", "EmptyStore")
        assert "\n" not in refusal
        return
    kinds = {finding.kind for finding in report.findings}
    assert all("\n" not in finding.message + finding.advice for finding in report.findings)
    if model.refusal:
        assert report.damaged
    elif not kinds & UNCOUNTED:
        compare(report, model, struct.unpack_from("<I", data, 4)[0])


def compare(report: CheckReport, model: StoreModel, valid: int) -> None:
    """The counts, against the model; which does not look at the records of an invalid store."""
    assert report.valid == (valid != 0)
    assert (Kind.INVALID_FULL in kinds_of(report) or Kind.INVALID_ERROR in kinds_of(report)) == (not valid)
    if not model.valid:
        return
    counts = dict.fromkeys(Kind, 0)
    for finding in report.findings:
        counts[finding.kind] += finding.count
    assert report.areas == model.areas
    assert report.exceptions == (model.areas - 1) * (model.chunk_bytes // 16) + model.committed
    assert counts[Kind.OUTSIDE_COW] + counts[Kind.TRUNCATED] == model.findings.get("outside-cow", 0)
    for kind in (Kind.TOP_BITS, Kind.INTO_METADATA, Kind.OUTSIDE_ORIGIN):
        assert counts[kind] == model.findings.get(kind.value, 0), kind
    assert counts[Kind.DUPLICATE] >= model.findings.get("duplicate", 0) - counts[Kind.OUTSIDE_ORIGIN]


def kinds_of(report: CheckReport) -> set[Kind]:
    """The kinds that were found."""
    return {finding.kind for finding in report.findings}


if __name__ == "__main__":
    engine.fuzz(test_one, of_stores=True)
