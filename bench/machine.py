"""What a table was measured on, and with which versions."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from dmsnap.testing.kernelvm import KernelVMUnavailable, prepare


def machine(folder: Path) -> dict[str, str]:
    """The facts, by name; ``folder`` is where the images lie."""
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "dmsnap": version("dmsnap"),
        "commit": _commit(),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "qemu-img": _version_said("qemu-img"),
        "nbdkit": _version_said("nbdkit"),
        "Linux in the virtual machine": _guest(),
        "processors": f"{os.cpu_count()} x {_first('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(_first('/proc/meminfo', 'MemTotal').split()[0]) / (1 << 20):.0f} GiB",
        "on Linux": platform.release(),
        "images on": _filesystem(folder),
    }
    return {name: fact for name, fact in facts.items() if fact}


def processor_ticks() -> tuple[int, int]:
    """Of all processors since the machine started: those its host gave to others while they were wanted, and all.

    The columns of proc_stat(5); "steal" tells it on virtual machines, and is 0 elsewhere.
    """
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[7], sum(ticks)


def _guest() -> str:
    """The kernel that is measured, and whether its processor is a real one, which its times depend on."""
    try:
        guest = prepare()
    except KernelVMUnavailable:
        return ""
    tried = guest.kernel.with_name("kvm-works")  # what the first run found out, see `dmsnap.testing.kernelvm.machine`
    works = os.access("/dev/kvm", os.W_OK) and tried.exists() and tried.read_text() == "yes"
    chosen = os.environ.get("DMSNAP_KERNELVM_ACCEL", "kvm" if works else "tcg")
    return f"{guest.kernel_version} ({'by KVM' if chosen == 'kvm' else 'the processor EMULATED'})"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # not a clone
        return ""


def _version_said(program: str) -> str:
    if shutil.which(program) is None:
        return ""
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.split()
    return next(word for word in said if word[0].isdigit())


def _first(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.split(":", 1)[1].strip()
    return "0 unknown"


def _filesystem(folder: Path) -> str:
    """The kind of the filesystem, by its longest mount point above ``folder``."""
    where, mounts = str(folder.resolve()), {}
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if Path(where).is_relative_to(point):
            mounts[len(point)] = kind
    return mounts[max(mounts)] if mounts else sys.platform
