"""LVM2's checksum, against its definition bit by bit."""

from __future__ import annotations

import random

from dmsnap.lvm.crc import INITIAL, lvm_crc


def bit_by_bit(data: bytes, crc: int) -> int:
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc


def test_nothing_leaves_the_initial_value() -> None:
    assert lvm_crc(b"") == INITIAL == 0xF597A6CF


def test_any_bytes() -> None:
    for length in (1, 2, 511, 4096):
        data = random.Random(length).randbytes(length)
        assert lvm_crc(data) == bit_by_bit(data, INITIAL)
        assert lvm_crc(memoryview(data), 5) == bit_by_bit(data, 5)


def test_a_text_in_two_parts() -> None:
    data = random.Random(1).randbytes(1000)
    assert lvm_crc(data[300:], lvm_crc(data[:300])) == lvm_crc(data)
