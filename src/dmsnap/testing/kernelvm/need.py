"""How a pytest test asks for the kernel machine."""

from __future__ import annotations

from dmsnap.testing.kernelvm.build import REQUIRED_TOOLS, KernelVMUnavailable, Machine, prepare
from dmsnap.testing.tools import need, need_tool

__all__ = ["need_kernelvm"]


def need_kernelvm() -> Machine:
    """Returns the machine, or skips the running test saying what is missing; see `dmsnap.testing.need_tool`.

    A machine that was built before needs QEMU only.
    """
    need_tool("qemu-system-x86_64")
    try:
        return prepare()
    except KernelVMUnavailable as missing:
        for name in REQUIRED_TOOLS:
            need_tool(name)
        need(False, str(missing))
        raise
