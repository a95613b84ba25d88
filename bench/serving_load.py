"""fio as a client of a server, or of a file past the page cache; a figure is one request's share."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from images import IMAGE_BYTES
from serving_client import reads_a_second
from serving_sides import Server

SECONDS = 1.0
CONNECTIONS = 4


class Taken(NamedTuple):
    """By one request, on average: seconds until the next, and seconds of processor that the server spent."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Load:
    """What is asked of a server; each as fio has it.

    Attributes:
        rw: ``randread``, ``read``, ``randwrite``.
        depth: Requests in flight, a connection.
        block_bytes: Each.
        connections: From a process each.
        aligned_bytes: What the places are a multiple of; 0: of ``block_bytes``, and each place comes once.
        requests: How many; 0: as many as come in `SECONDS`, places repeat.
        region_bytes: From the beginning of the device.
    """

    rw: str
    depth: int
    block_bytes: int = 4096
    connections: int = 1
    aligned_bytes: int = 0
    requests: int = 0
    region_bytes: int = IMAGE_BYTES


def with_fio(server: Server, load: Load) -> Taken:
    """Loads a server; fio's seed is always the same, so that all get the same requests in the same order."""
    before = server.processor_seconds()
    requests, seconds = _fio("nbd", [f"--uri={server.uri}"], load, SECONDS)
    return Taken(seconds / requests, (server.processor_seconds() - before) / requests)


def once_each(server: Server, load: Load, seconds: float) -> Taken:
    """The same, but no place is asked for twice: what is not in memory never is."""
    before = server.processor_seconds()
    requests, taken = _fio("nbd", [f"--uri={server.uri}"], load, seconds, repeat=False)
    return Taken(taken / requests, (server.processor_seconds() - before) / requests)


def direct(file: Path, load: Load, seconds: float) -> Taken:
    """The file itself, past the page cache."""
    options = [f"--filename={file}", "--direct=1", "--readonly"]
    requests, taken = _fio("libaio", options, load, seconds, repeat=False)
    return Taken(taken / requests, 0)


def with_light_client(server: Server, depth: int, clients: Executor | None = None) -> Taken:
    """Random reads by `serving_client`: of one connection, or of `CONNECTIONS` from a process each."""
    before = server.processor_seconds()
    ask = partial(reads_a_second, server.socket, server.export, IMAGE_BYTES, depth=depth, seconds=SECONDS)
    if clients is None:
        rate = ask()
    else:
        rate = sum(each.result() for each in [clients.submit(ask) for _ in range(CONNECTIONS)])
    return Taken(1 / rate, (server.processor_seconds() - before) / (rate * SECONDS))


def _fio(engine: str, options: list[str], load: Load, seconds: float, *, repeat: bool = True) -> tuple[int, float]:
    """Requests and seconds."""
    command = ["fio", "--name=serving", f"--ioengine={engine}", *options, "--output-format=json", "--randrepeat=1"]
    command += [f"--rw={load.rw}", f"--bs={load.block_bytes}", f"--iodepth={load.depth}", f"--size={load.region_bytes}"]
    command += [f"--numjobs={load.connections}", "--group_reporting"]
    if load.aligned_bytes:
        command += [f"--blockalign={load.aligned_bytes}", "--norandommap"]
    if load.requests:
        command += [f"--number_ios={load.requests}"]
    elif repeat:
        command += ["--time_based", f"--runtime={seconds * 1000:.0f}ms", "--norandommap"]
    else:
        command += [f"--runtime={seconds * 1000:.0f}ms"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    job = json.loads(said[said.index("{") :])["jobs"][0]
    figures = job["write" if "write" in load.rw else "read"]
    if job["error"] or not figures["total_ios"]:
        raise subprocess.SubprocessError(f"fio: error {job['error']} after {figures['total_ios']} requests")
    return figures["total_ios"], figures["runtime"] / 1000
