"""Runs in the guest: many programs, one after the other, against device-mapper.

Base devices are slices of the guest's disks, that is linear devices, and answer as plain disks do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import mmap
import os
import re
import struct
import time
from collections.abc import Iterator
from typing import Any

from dmsnap.testing.programs.devmapper import DeviceMapper, Node
from dmsnap.testing.programs.language import MAX_REQUEST_SECTORS, device_names, step_from_json
from dmsnap.testing.programs.pattern import SECTOR_BYTES
from dmsnap.testing.programs.running import Devices, errno_name, run_steps

__all__ = ["main"]

_BLKDISCARD, _BLKZEROOUT = 0x1277, 0x127F


class KernelDevices(Devices):
    """Devices of the kernel: base devices, and what programs put on them."""

    def __init__(self) -> None:
        self._mapper = DeviceMapper()
        self._memory = mmap.mmap(-1, MAX_REQUEST_SECTORS * SECTOR_BYTES)  # begins at a page, as O_DIRECT wants
        self._nodes: dict[str, Node] = {}  # by name in tables
        self._slices: dict[str, tuple[str, int]] = {}

    def add_base(self, name: str, disk: str, start: int, sectors: int) -> None:
        """Makes base device ``name``: ``sectors`` sectors of ``disk`` from sector ``start`` on."""
        self._slices[name] = (disk, start)
        self._nodes[name] = self._mapper.create(name, f"0 {sectors} linear {disk} {start}")

    def clear(self) -> list[str]:
        """Removes whatever is left; returns the names of what cannot be removed."""
        while self._nodes:
            left = len(self._nodes)
            for word in list(self._nodes):
                with contextlib.suppress(OSError):
                    self._mapper.resume(_name(word))
                    self._mapper.remove(_name(word))
                    del self._nodes[word]
            if len(self._nodes) == left:
                return list(self._nodes)
        self._slices.clear()
        return []

    def create(self, name: str, table: str) -> None:
        self._nodes[f"/dev/mapper/{name}"] = self._mapper.create(name, self._numbers(table))

    def load(self, name: str, table: str) -> None:
        self._mapper.load(name, self._numbers(table))

    def suspend(self, name: str) -> None:
        self._mapper.suspend(name)

    def resume(self, name: str) -> None:
        self._mapper.resume(name)

    def remove(self, name: str) -> None:
        self._mapper.remove(name)
        del self._nodes[f"/dev/mapper/{name}"]

    def status(self, name: str) -> str:
        return self._mapper.status(name)

    def table(self, name: str) -> str:
        return device_names(
            self._mapper.status(name, table=True), {str(node): word for word, node in self._nodes.items()}
        )

    def read(self, name: str, sector: int, sectors: int) -> bytes:
        with self._open(name) as file, memoryview(self._memory) as memory:
            length = os.preadv(file, [memory[: sectors * SECTOR_BYTES]], sector * SECTOR_BYTES)
            return bytes(memory[:length])

    def write(self, name: str, sector: int, data: bytes) -> None:
        with self._open(name) as file, memoryview(self._memory) as memory:
            memory[: len(data)] = data
            os.pwritev(file, [memory[: len(data)]], sector * SECTOR_BYTES)

    def flush(self, name: str) -> None:
        with self._open(name) as file:
            os.fsync(file)

    def discard(self, name: str, sector: int, sectors: int) -> None:
        self._range(_BLKDISCARD, name, sector, sectors)

    def zero(self, name: str, sector: int, sectors: int) -> None:
        self._range(_BLKZEROOUT, name, sector, sectors)

    def grow(self, name: str, sectors: int) -> None:
        disk, start = self._slices[name]
        self._mapper.load(name, f"0 {sectors} linear {disk} {start}")
        self._mapper.suspend(name)
        self._mapper.resume(name)

    def _range(self, request: int, name: str, sector: int, sectors: int) -> None:
        with self._open(name) as file:
            fcntl.ioctl(file, request, struct.pack("=QQ", sector * SECTOR_BYTES, sectors * SECTOR_BYTES))

    def _numbers(self, table: str) -> str:
        return device_names(table, {word: str(node) for word, node in self._nodes.items()})

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[int]:
        node = self._nodes.get(f"/dev/mapper/{name}") or self._nodes.get(name)
        if node is None:
            raise OSError(errno.ENXIO, "no such device")
        file = os.open(f"/dev/dm-{node.minor}", os.O_RDWR | os.O_DIRECT)
        try:
            yield file
        finally:
            os.close(file)


def _name(word: str) -> str:
    return word.removeprefix("/dev/mapper/")


def _outcome_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return errno_name(error.errno)
    raise error


def _kernel_log(messages: int) -> list[str]:
    """Returns what the kernel logged of device-mapper since the last call."""
    lines = []
    with contextlib.suppress(BlockingIOError):
        while record := os.read(messages, 8192):
            lines += re.findall(r";(device-mapper: .*)", record.decode(errors="replace").partition("\n")[0])
    return lines


def main(job: dict[str, Any]) -> None:
    """Runs the programs of ``job`` and prints what came of each, a line of JSON for each."""
    devices = KernelDevices()
    messages = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(messages, 0, os.SEEK_END)
    with open("/dev/console", "w") as console:
        for number, program in enumerate(job["programs"]):
            print("program", number, file=console, flush=True)
            began = time.monotonic()
            for base in program["bases"]:
                devices.add_base(*base)
            outcomes = run_steps(map(step_from_json, program["steps"]), devices, _outcome_of)
            left = devices.clear()
            said = {
                "outcomes": outcomes,
                "log": _kernel_log(messages),
                "left": left,
                "seconds": time.monotonic() - began,
            }
            print(json.dumps(said), flush=True)  # noqa: T201 - it is what the host reads
