"""Has real LVM make volume groups now, in the kernel machine, and compares what we make of them.

``python -m dmsnap.testing.lvm_anew [NAME…]`` does so for all cases of the catalogue, or those named.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dmsnap.errors import DmsnapError
from dmsnap.testing.kernelvm import prepare
from dmsnap.testing.kernelvm.lvm_case import LVMCase
from dmsnap.testing.kernelvm.lvm_catalogue import LVM_CASES
from dmsnap.testing.kernelvm.lvm_run import case_images, in_boots, run_lvm_cases
from dmsnap.testing.lvm_fixtures import LVMFixture
from dmsnap.testing.lvm_judging import judge

__all__ = ["made_anew", "main"]


def made_anew(cases: Sequence[LVMCase], folder: Path, *, timeout_s: float = 900) -> list[LVMFixture]:
    """Has LVM make the groups of some cases, in one boot.

    Args:
        cases: As in `run_lvm_cases`.
        folder: For their disks.
        timeout_s: For all of it.

    Raises:
        LVMCaseFailed, KernelVMFailed, KernelVMUnavailable: As in `run_lvm_cases`.
    """
    facts = run_lvm_cases(cases, folder, timeout_s=timeout_s)
    kernel = prepare().kernel_version
    return [
        LVMFixture(case.name, case.group, case.purpose, kernel, tuple(case_images(case, folder)), facts[case.name])
        for case in cases
    ]


def main(names: Sequence[str]) -> int:
    """Prints for each case what differs; returns the exit status, 1 if anything does."""
    if unknown := set(names) - {case.name for case in LVM_CASES}:
        print(f"no such case: {', '.join(sorted(unknown))}", file=sys.stderr)  # noqa: T201
        return 2
    wrong = 0
    for cases in in_boots(case for case in LVM_CASES if not names or case.name in names):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                fixtures = made_anew(cases, Path(folder))
                for fixture in fixtures:
                    differences = judge(fixture)
                    wrong += len(differences)
                    print(f"{fixture.name}: {len(differences)} differences", *differences, sep="\n  ")  # noqa: T201
            except DmsnapError as error:
                print(f"dmsnap: {error}", file=sys.stderr)  # noqa: T201
                return 1
        print(f"{len(cases)} groups in {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
