"""How long the kernel takes to load a store from a slow disk: the yardstick of prefetching."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmsnap.testing.kernelvm.build import KernelVMUnavailable, find_program
from dmsnap.testing.kernelvm.machine import KernelVM, KernelVMFailed

__all__ = ["kernel_load_seconds", "slow_disk"]

_START_SECONDS = 30


def kernel_load_seconds(
    cow: Path, *, origin_size_bytes: int, read_delay_seconds: float = 0.005, repeats: int = 3, timeout_s: float = 240
) -> float:
    """Returns the median time of ``dmsetup create`` for a snapshot with the store ``cow``, as the guest's clock has it.

    Each read of the disk takes ``read_delay_seconds`` longer, many reads at once as long as one. Besides loading, the
    time has the start of dmsetup in it.

    Args:
        cow: A valid store; the kernel is not given cause to write to it.
        origin_size_bytes: Size of the origin, which reads as zeros.
        read_delay_seconds: In whole milliseconds.
        repeats: How often to load; nothing of one load is of use to the next.
        timeout_s: For all of it.

    Raises:
        KernelVMFailed: The kernel would not load the store, or hung.
        KernelVMUnavailable: QEMU, nbdkit or the guest cannot be had.
    """
    sectors = origin_size_bytes // 512
    load = f"""
        started=$(cut -d' ' -f1 /proc/uptime)
        dmsetup create slow --table "0 {sectors} snapshot /dev/mapper/origin /dev/disk0 P 8" || exit 1
        echo "$started $(cut -d' ' -f1 /proc/uptime)"
        dmsetup remove slow
    """
    script = f'dmsetup create origin --table "0 {sectors} zero" || exit 1\nsection loads\n' + load * repeats
    with slow_disk(cow, read_delay_seconds) as address:
        result = KernelVM([address], timeout_s=timeout_s).run(script)
    if result.status != 0:
        raise KernelVMFailed(f"the kernel did not load {cow}: {result.stdout.strip()}")
    times = [line.split() for line in result.sections["loads"] if line]
    return statistics.median(float(ended) - float(started) for started, ended in times)


@contextmanager
def slow_disk(image: Path, read_delay_seconds: float) -> Iterator[str]:
    """Serves ``image`` by nbdkit with its delay filter; gives the address that `KernelVM` takes.

    Raises:
        KernelVMUnavailable: There is no nbdkit, or it does not start.
    """
    nbdkit = find_program("nbdkit")
    if nbdkit is None:
        raise KernelVMUnavailable("a slow disk needs nbdkit", hint="apt-get install nbdkit")
    with tempfile.TemporaryDirectory(prefix="dmsnap-nbdkit-") as folder:
        socket = Path(folder, "socket")
        command = [nbdkit, "--foreground", "--exit-with-parent", "--unix", str(socket), "--threads", "256"]
        command += [
            "--filter=delay",
            "file",
            f"file={image.absolute()}",
            f"rdelay={round(read_delay_seconds * 1000)}ms",
        ]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - a list, no shell
        try:
            _wait_for(socket, server)
            yield f"nbd+unix:///?socket={socket}"
        finally:
            server.terminate()
            server.wait()


def _wait_for(socket: Path, server: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + _START_SECONDS
    while not socket.exists():
        if server.poll() is not None or time.monotonic() > limit:
            raise KernelVMUnavailable("nbdkit does not start")
        time.sleep(0.02)
