"""A real Linux kernel as judge: Debian's cloud kernel under QEMU, with device-mapper, LVM and ext4.

`KernelVM` boots it with some disks and runs a script; `prepare` builds it beforehand, `need_kernelvm` asks for it in a
test. `scenario` has stores for the kernel to write, `load_case` stores for it to read, `load_time` measures how long it
takes to load one.
"""

from dmsnap.testing.kernelvm.build import (
    APT_PACKAGES,
    REQUIRED_TOOLS,
    KernelVMUnavailable,
    Machine,
    cache_folder,
    prepare,
)
from dmsnap.testing.kernelvm.machine import KernelVM, KernelVMFailed, Result
from dmsnap.testing.kernelvm.need import need_kernelvm

__all__ = [
    "APT_PACKAGES",
    "REQUIRED_TOOLS",
    "KernelVM",
    "KernelVMFailed",
    "KernelVMUnavailable",
    "Machine",
    "Result",
    "cache_folder",
    "need_kernelvm",
    "prepare",
]
