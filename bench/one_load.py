"""Loads one store and prints how long it took and how much memory it needed at its peak. Arguments: store, policy."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from dmsnap.block.file import FileDevice
from dmsnap.store import open_store


def memory_bytes(key: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


device = FileDevice(sys.argv[1])
Path("/proc/self/clear_refs").write_text("5")  # forget the peak of start-up (proc(5): resets VmHWM)
before = memory_bytes("VmRSS")
started = time.perf_counter()
store = open_store(device, prefetch=sys.argv[2])
store.table.lookup(0)
seconds = time.perf_counter() - started
peak = memory_bytes("VmHWM") - before
known = store.table.runs_between(0, 1 << 40)
assert store.table.lookup(int(known.origin[-1])) == int(known.cow[-1])
print(json.dumps({"seconds": seconds, "peak_bytes": peak, "exceptions": len(store.table)}))
