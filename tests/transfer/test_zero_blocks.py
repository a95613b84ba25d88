"""Finding zeros in data."""

from __future__ import annotations

import random

import pytest

from dmsnap.transfer.zero_blocks import data_spans

B = 4096


def spans(data: bytes) -> list[tuple[int, int]]:
    return data_spans(memoryview(bytearray(data)))


def test_data_is_one_span() -> None:
    assert spans(b"x" * 3 * B) == [(0, 3 * B)]


def test_zeros_are_none() -> None:
    assert spans(bytes(5 * B)) == []
    assert spans(bytes(512)) == []


def test_a_block_with_one_late_byte_is_data() -> None:
    assert spans(bytes(B) + bytes(B - 1) + b"x" + bytes(B)) == [(B, 2 * B)]


def test_spans_keep_whole_blocks() -> None:
    assert spans(b"x" + bytes(2 * B - 1) + bytes(B - 1) + b"y") == [(0, B), (2 * B, 3 * B)]


def test_a_short_last_block_is_judged_too() -> None:
    assert spans(bytes(B) + bytes(511) + b"x") == [(B, B + 512)]
    assert spans(b"x" * B + bytes(1024)) == [(0, B)]
    assert spans(b"x" * B + b"y" * 512) == [(0, B + 512)]


@pytest.mark.parametrize("seed", range(50))
def test_what_is_left_out_is_zero_and_no_span_has_a_zero_block(seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray()
    for _ in range(rng.randrange(1, 20)):
        data += rng.choice([bytes(B), rng.randbytes(B), bytes(B - 8) + b"x" * 8, bytes(8) + b"y" + bytes(B - 9)])
    data += rng.choice([b"", bytes(512), b"z" * 1536])
    kept = bytearray(len(data))
    for first, stop in spans(bytes(data)):
        kept[first:stop] = data[first:stop]
        assert all(any(data[at : at + B]) for at in range(first, stop, B))
    assert kept == data
