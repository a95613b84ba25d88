"""Loading from a disk where each read takes a while: Linux, a script's loop and ours, on the same disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import sixteen_bytes
from row import Row, compared, in_turn, timed
from stores import CHUNKS_A_GIB, metadata_store

from dmsnap.block import BlockDevice, open_device
from dmsnap.store import open_store
from dmsnap.testing.kernelvm.load_time import kernel_load_seconds, slow_disk

AREAS = 1563
ORIGIN_GIB = 256
PART_OF_LINUX = 0.1
ROUNDS = 6


def against_linux(folder: Path) -> Iterator[Row]:
    """The disk is nbdkit with its delay filter; Linux has it as a virtio disk, the others read from its socket.

    What takes many seconds is done once. Without the delay, Linux shows what its machine and the start of dmsetup cost.
    """
    path = folder / "slow.cow"
    exceptions = metadata_store(path, AREAS - 1, ORIGIN_GIB * CHUNKS_A_GIB)
    linux = partial(kernel_load_seconds, path, origin_size_bytes=ORIGIN_GIB << 30)
    yield timed("0 ms: Linux in the virtual machine (12 ahead)", [linux(read_delay_seconds=0)])
    for delay_ms, goal in ((5, PART_OF_LINUX), (20, None)):
        theirs = linux(read_delay_seconds=delay_ms / 1000)
        with slow_disk(path, delay_ms / 1000) as address:
            ours = partial(_ours, address, exceptions)
            auto, twelve = in_turn(ROUNDS, partial(ours, "auto"), partial(ours, "kernel"))
            yield timed(f"{delay_ms} ms: dmsnap --prefetch auto", auto)
            yield compared(f"{delay_ms} ms: dmsnap --prefetch kernel (12 ahead)", twelve, auto)
            if delay_ms == 5:
                yield compared(f"{delay_ms} ms: dmsnap --prefetch 0", [ours(0)], auto)
                yield compared(
                    f"{delay_ms} ms: a loop of 16-byte reads, as lvmsync", [_loop(address, exceptions)], auto
                )
        yield compared(f"{delay_ms} ms: Linux in the virtual machine (12 ahead)", [theirs], auto, goal)


def _ours(address: str, exceptions: int, prefetch: str | int) -> float:
    def load(disk: BlockDevice) -> int:
        table = open_store(disk, prefetch=prefetch).table
        table.lookup(0)
        return len(table)

    return _seconds(address, exceptions, load)


def _loop(address: str, exceptions: int) -> float:
    return _seconds(address, exceptions, lambda disk: len(sixteen_bytes.exceptions_of(sixteen_bytes.buffered(disk))))


def _seconds(address: str, exceptions: int, load: Callable[[BlockDevice], int]) -> float:
    with open_device(address) as disk:
        started = time.perf_counter()
        loaded = load(disk)
        seconds = time.perf_counter() - started
    assert loaded == exceptions
    return seconds
