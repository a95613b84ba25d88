"""Hypothesis strategies for stores as bytes: sound ones, odd ones, and sound ones that were damaged afterwards.

Chunks are mostly of 512 bytes, so that a small example already has several areas.
"""

from __future__ import annotations

import io
import struct

from hypothesis import strategies as st

from dmsnap.testing.store_builder import build_store

__all__ = ["any_bytes", "damaged_stores", "headers", "mutated", "records", "stores"]

chunk_numbers = st.one_of(
    st.integers(0, 100), st.sampled_from([2**32 - 1, 2**32, 2**54, 2**56 - 1, 2**56 + 2, 2**63, 2**64 - 1])
)
"""Mostly chunks that a small device has, and the numbers at which types and devices end."""


def records(max_size: int = 150) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Records in any order, among them runs, duplicates and impossible ones; a COW chunk of 0 ends the store early."""
    run = st.builds(
        lambda origin, cow, length: [((origin + i) % 2**64, (cow + i) % 2**64) for i in range(length)],
        chunk_numbers,
        chunk_numbers,
        st.integers(1, 40),
    )
    return st.lists(run, max_size=12).map(lambda runs: [pair for run in runs for pair in run][:max_size])


@st.composite
def stores(draw: st.DrawFn) -> bytes:
    """A store with a sound header and any records, on a device that may be too small for them."""
    out = io.BytesIO()
    build_store(
        out,
        draw(records()),
        chunk_size_sectors=draw(st.sampled_from([1, 1, 1, 2, 8])),
        size_chunks=draw(st.integers(2, 150)),
        terminated=draw(st.booleans()),
        valid=draw(st.sampled_from([1, 1, 1, 1, 0, 2**32 - 1])),
    )
    return out.getvalue()


headers = st.builds(
    struct.Struct("<4s3I").pack,
    st.sampled_from([b"SnAp", b"SnAp", b"SnAp", bytes(4), b"pAnS"]),
    st.sampled_from([0, 1, 2**31]),
    st.sampled_from([1, 1, 1, 0, 2]),
    st.one_of(st.sampled_from([1 << bit for bit in range(32)]), st.integers(0, 2**32 - 1)),
)
"""The first 16 bytes of a device, right in some of their fields."""


def any_bytes(max_size: int = 4096) -> st.SearchStrategy[bytes]:
    """Bytes without any plan, and bytes behind a header that may be right."""
    anything = st.binary(max_size=max_size)
    return st.one_of(anything, st.builds(lambda header, rest: header.ljust(512, b"\0") + rest, headers, anything))


@st.composite
def mutated(draw: st.DrawFn, sound: bytes) -> bytes:
    """``sound`` after a few accidents: bits flip, pieces are lost, overwritten, moved, and the end is cut off."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        length = draw(st.sampled_from([1, 8, 16, 100, 512, 4096]))
        match draw(st.sampled_from(["flip", "cut", "lose", "repeat", "overwrite", "copy"])):
            case "flip":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:]
            case "lose":
                del data[at : at + length]
            case "repeat":
                data[at:at] = data[at : at + length]
            case "overwrite":
                data[at : at + length] = draw(st.sampled_from([b"\0", b"\xff", b"\x01"])) * len(data[at : at + length])
            case "copy":
                source = draw(st.integers(0, len(data) - 1))
                piece = data[source : source + length]
                data[at : at + len(piece)] = piece
    return bytes(data)


def damaged_stores() -> st.SearchStrategy[bytes]:
    """Any store of `stores` after accidents."""
    return stores().flatmap(mutated)
