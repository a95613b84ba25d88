"""Has the kernel run programs: any number of them in one boot."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

from dmsnap.errors import DmsnapError
from dmsnap.testing.kernelvm import KernelVM
from dmsnap.testing.kernelvm.scenario_run import Slices
from dmsnap.testing.programs.language import Result, step_to_json
from dmsnap.testing.programs.program import Program

__all__ = ["ProgramFailed", "run_in_kernel"]

_GUEST_MODULES = ("language", "pattern", "running", "devmapper", "kernel_guest")
_RUN = """
head -c {length} /dev/disk0 >/tmp/archive
PYTHONPATH=/tmp/archive exec python3 -s -S -c '
import json, zipimport
from dmsnap.testing.programs.kernel_guest import main
main(json.loads(zipimport.zipimporter("/tmp/archive").get_data("jobs.json")))
'
"""
_DISK = "/dev/disk1"
_SECONDS_BEFORE, _SECONDS_EACH = 120.0, 20.0


class ProgramFailed(DmsnapError):
    """The guest could not run the programs."""


class _Placed:
    """A program and where its base devices are on the disk."""

    def __init__(self, program: Program, disk: Slices) -> None:
        self.program = program
        self.sectors = program.final_sectors()
        self.starts = {base.name: disk.add(self.sectors[base.name], base.data()) for base in program.bases}

    def job(self) -> dict[str, object]:
        """Returns what the guest is told."""
        bases = [[base.name, _DISK, self.starts[base.name], base.sectors] for base in self.program.bases]
        return {"bases": bases, "steps": list(map(step_to_json, self.program.steps))}

    def result(self, line: str, disk: Slices) -> Result:
        """Puts together what the guest said and what it left on the disk."""
        said = json.loads(line)
        if said["left"]:
            raise ProgramFailed(f"a program left devices behind that cannot be removed: {said}")
        content = {name: disk.read(start, self.sectors[name]) for name, start in self.starts.items()}
        return Result(tuple(said["outcomes"]), content, tuple(said["log"]))


def run_in_kernel(programs: Sequence[Program]) -> list[Result]:
    """Boots the kernel once, has it run all ``programs`` and returns what came of each.

    It takes half a second to a second a program where the machine is emulated.

    Raises:
        ProgramFailed: The guest broke off, or a program left devices that cannot be removed.
        KernelVMFailed, KernelVMUnavailable: As in `KernelVM.run`.
    """
    if not programs:
        return []
    with TemporaryDirectory(prefix="dmsnap-programs-") as folder:
        archive, disk = Path(folder, "archive"), Slices(Path(folder, "disk"))
        placed = [_Placed(program, disk) for program in programs]
        packed = _archive([one.job() for one in placed])
        archive.write_bytes(packed + bytes(-len(packed) % 4096))
        machine = KernelVM([archive, disk.path], timeout_s=_SECONDS_BEFORE + _SECONDS_EACH * len(programs))
        said = machine.run(_RUN.format(length=len(packed)))
        lines = [line for line in said.stdout.splitlines() if line.startswith("{")]
        if said.status or len(lines) != len(programs):
            raise ProgramFailed(f"the guest broke off after {len(lines)} programs: {said.stdout[-2000:]}")
        return [one.result(line, disk) for one, line in zip(placed, lines, strict=True)]


def _archive(jobs: list[dict[str, object]]) -> bytes:
    """Returns what the guest's Python runs: the modules it needs, under their own names, and the jobs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for package in ("dmsnap", "dmsnap/testing", "dmsnap/testing/programs"):
            archive.writestr(f"{package}/__init__.py", "")
        for name in _GUEST_MODULES:
            source = resources.files(__package__).joinpath(f"{name}.py").read_text("utf-8")
            archive.writestr(f"dmsnap/testing/programs/{name}.py", source)
        archive.writestr("jobs.json", json.dumps({"programs": jobs}))
    return packed.getvalue()
