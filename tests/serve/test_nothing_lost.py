"""A server that is killed while clients write and flush: what was flushed is there, and the kernel agrees.

Two snapshots of one origin and the origin itself are written to or kept, all at once: one snapshot gets writes, the
other must stay what the origin was, whatever the origin gets. SIGKILL takes what is in the server's memory, not what
the operating system has; crashes that take that too are in tests/crash.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block import FileDevice, open_device
from dmsnap.errors import DmsnapError
from dmsnap.store import open_store
from dmsnap.testing.kernelvm import KernelVM, need_kernelvm

BLOCK = 4096
BLOCKS = 6144
ROUNDS = 50
FOR_THE_KERNEL = 5
"""States after a kill that the kernel looks at too, and the last one."""
_STAMP = struct.Struct("<QQ")


def stamped(block: int, number: int) -> bytes:
    return _STAMP.pack(block, number) * (BLOCK // _STAMP.size)


class Writer(threading.Thread):
    """A client that writes blocks of its own and flushes, until the server is gone.

    Attributes:
        possible: For each block what it may hold: its content at the last flush, and all that was written since.
    """

    def __init__(self, uri: str, blocks: range, possible: dict[int, list[bytes]], seed: int) -> None:
        super().__init__(daemon=True)
        self.uri = uri
        self.possible = possible
        self.flushes = 0
        self._blocks = blocks
        self._draw = random.Random(seed)
        self._seed = seed

    def run(self) -> None:
        number = self._seed << 32
        try:
            with open_device(self.uri, writable=True) as device:
                while True:
                    for _ in range(self._draw.randrange(1, 60)):
                        number += 1
                        block = self._draw.choice(self._blocks)
                        data = stamped(block, number)
                        self.possible[block].append(data)  # from here on it may be there
                        device.write_at(block * BLOCK, data)
                    device.flush()
                    self.flushes += 1
                    for block in self._blocks:
                        if len(self.possible[block]) > 1:
                            del self.possible[block][:-1]
        except DmsnapError:
            return


class Scene:
    """The files, the server, and what must be found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin, self.work, self.keep = folder / "origin.img", folder / "work.cow", folder / "keep.cow"
        self.before = random.Random(1).randbytes(BLOCKS * BLOCK)
        self.origin.write_bytes(self.before)
        dmsnap.create(self.work, 2 * len(self.before), BLOCK)
        dmsnap.create(self.keep, 2 * len(self.before), 4 * BLOCK)
        parts = [self.before[at : at + BLOCK] for at in range(0, len(self.before), BLOCK)]
        self.in_work = {block: [content] for block, content in enumerate(parts)}
        self.in_origin = {block: [content] for block, content in enumerate(parts)}
        self.flushes = 0

    def round(self, number: int) -> None:
        """Serves, has clients write, and kills the server."""
        draw = random.Random(number)
        socket = self.folder / "socket"
        command = [sys.executable, "-m", "dmsnap", "serve", self.work, self.keep, "--origin", self.origin]
        server = subprocess.Popen([*command, "--unix", socket], stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            assert server.stdout.readline(), "the server did not start"
            half = BLOCKS // 2
            writers = [
                Writer(f"nbd+unix:///work?socket={socket}", range(half), self.in_work, 4 * number),
                Writer(f"nbd+unix:///work?socket={socket}", range(half, BLOCKS), self.in_work, 4 * number + 1),
            ]
            if number % 2:  # a write to the origin makes durable what the snapshots have, so flushes do so only without
                uri = f"nbd+unix:///origin?socket={socket}"
                writers.append(Writer(uri, range(BLOCKS), self.in_origin, 4 * number + 2))
            for writer in writers:
                writer.start()
            time.sleep(draw.uniform(0.1, 0.7))  # the moment of the kill; nothing is waited for
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()
            server.stdout.close()
        for writer in writers:
            writer.join(timeout=60)
            assert not writer.is_alive()
        self.flushes += sum(writer.flushes for writer in writers)

    def check(self) -> None:
        """What was flushed is there, nothing is that nobody wrote, and the stores are sound."""
        for cow, possible in ((self.work, self.in_work), (self.keep, None)):
            with dmsnap.open_snapshot(cow, self.origin) as snapshot:
                assert snapshot.store.findings == ()
                content = snapshot.read_at(0, len(self.before))
            if possible is None:
                assert content == self.before
            else:
                self._settle(content, possible)
        self._settle(self.origin.read_bytes(), self.in_origin)

    def _settle(self, content: bytes | bytearray, possible: dict[int, list[bytes]]) -> None:
        wrong = []
        for block, contents in possible.items():
            now = bytes(content[block * BLOCK : (block + 1) * BLOCK])
            if now not in contents:
                wrong.append(block)
            possible[block] = [now]
        assert not wrong


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.timeout(900)
def test_fifty_kills_lose_nothing_that_was_flushed(tmp_path: Path) -> None:
    need_kernelvm()
    scene = Scene(tmp_path)
    kept: list[Path] = []
    for number in range(ROUNDS):
        scene.round(number)
        scene.check()
        if number % (ROUNDS // FOR_THE_KERNEL) == ROUNDS // FOR_THE_KERNEL - 1:
            kept += [Path(shutil.copy(path, tmp_path / f"{number}-{path.name}")) for path in (scene.work, scene.origin)]
    print(f"{ROUNDS} kills, {scene.flushes} flushes, {exceptions(scene.work)} exceptions")
    assert scene.flushes > ROUNDS
    disks = [*kept, scene.keep]
    script = "set -e\n"
    pairs = [(at, at + 1) for at in range(0, len(kept), 2)] + [(len(kept), len(kept) - 1)]
    for cow, origin in pairs:
        sectors = 8 if cow < len(kept) else 32
        table = f"0 {BLOCKS * BLOCK // 512} snapshot /dev/disk{origin} /dev/disk{cow} P {sectors}"
        script += f'dmsetup create s --table "{table}"; section {cow}; sha256sum </dev/mapper/s; dmsetup remove s\n'
    said = KernelVM(disks, timeout_s=300).run(script)
    assert said.status == 0, said.stdout
    for cow, origin in pairs:
        with dmsnap.open_snapshot(disks[cow], disks[origin]) as snapshot:
            ours = hashlib.sha256(snapshot.read_at(0, snapshot.size_bytes)).hexdigest()
        assert said.sections[str(cow)][0].split()[0] == ours


def exceptions(path: Path) -> int:
    with FileDevice(path) as device:
        return len(open_store(device).table)
