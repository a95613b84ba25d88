"""Whether a file lies in memory, so that reading it says nothing about any device."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["lies_in_memory"]

MOUNTS = Path("/proc/self/mountinfo")
IN_MEMORY = {"tmpfs", "ramfs", "rootfs"}


def lies_in_memory(path: str) -> bool:
    """Whether the file is on tmpfs or the like, as far as the system tells."""
    try:
        device = os.stat(path).st_dev  # noqa: PTH116 - beside the numbers of the device
        mounts = MOUNTS.read_text("utf-8", "replace").splitlines()
    except (OSError, ValueError):
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    # proc_pid_mountinfo(5): ID, parent, major:minor, …, "-", the type of filesystem, …
    kinds = (line.partition(" - ")[2].split(" ")[0] for line in mounts if line.split(" ")[2:3] == [number])
    return any(kind in IN_MEMORY for kind in kinds)
