"""Boots the guest under QEMU with some disks, runs one shell script in it and hands back what the script said.

The script reaches the guest on a disk, and what it printed comes back on a disk; nothing is quoted into a shell and
nothing is parsed off a console. In the guest the disks are ``/dev/disk0``, ``/dev/disk1`` … in the order given.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, unquote, urlsplit

from dmsnap.errors import DmsnapError
from dmsnap.testing.kernelvm.build import Machine, find_program, only_one, prepare

__all__ = ["KernelVM", "KernelVMFailed", "Result"]

_RESULT_DISK_BYTES = 64 << 20
_MAX_DISKS = 24  # a PC has 32 slots, a few of them taken
_RESULT_MAGIC = b"dmsnap-result "
_NO_JOB = "the job and result disks did not appear"  # said by guest_init.sh
_CONSOLE_BYTES = 64 << 10
_KVM_PROBE_SECONDS = 30


class KernelVMFailed(DmsnapError):
    """The guest said nothing in the time it had: it hung, or its kernel crashed. The message ends in its console."""


@dataclass(frozen=True)
class Result:
    """What a script did in the guest.

    Attributes:
        stdout: What it printed, standard error included.
        status: Its exit status.
        sections: ``stdout`` cut at the script's calls of ``section NAME``; what comes before the first is under ``""``.
    """

    stdout: str
    status: int
    sections: dict[str, list[str]]


@dataclass(frozen=True)
class KernelVM:
    """A machine to be booted.

    Attributes:
        disks: Raw image files, or ``nbd://…`` and ``nbd+unix://…`` addresses; the guest may write to all of them.
            Write barriers are not passed on to the host's disk: the images are scratch.
        memory_mib: Memory of the guest.
        timeout_s: From power-on to power-off; then the guest is killed.
        cpus: Virtual processors.
    """

    disks: Sequence[Path | str] = ()
    memory_mib: int = 1024
    timeout_s: float = 240
    cpus: int = 2

    def run(self, script: str) -> Result:
        """Boots, runs ``script`` (BusyBox ``sh``), powers off. One machine of a user runs at a time; others wait.

        In the script ``section NAME`` begins a new section of the output.

        Raises:
            KernelVMFailed: No result within the time.
            KernelVMUnavailable: The machine cannot be built here.
        """
        if len(self.disks) > _MAX_DISKS:
            raise KernelVMFailed(f"{len(self.disks)} disks are more than the {_MAX_DISKS} a machine takes")
        machine = prepare()
        mark = f"@@{secrets.token_hex(8)} "
        preamble = f'section() {{ echo \'{mark}\'"$1"; echo "section $1" >/dev/console; }}\n'
        with tempfile.TemporaryDirectory(prefix="dmsnap-kernelvm-") as folder, only_one("boot"):
            job, result = Path(folder, "job"), Path(folder, "result")
            job.write_bytes(_padded(preamble + script))
            with open(result, "wb") as file:
                file.truncate(_RESULT_DISK_BYTES)
            command = [
                *_qemu(machine, memory_mib=self.memory_mib, cpus=self.cpus),
                *_accelerators(machine),
                *_disk_arguments(job, "job", read_only=True),
                *_disk_arguments(result, "result"),
            ]
            for number, disk in enumerate(self.disks):
                command += _disk_arguments(disk, f"disk{number}")
            console = _run_bounded(command, self.timeout_s)
            return _read_result(result, mark, console)


def _padded(script: str) -> bytes:
    content = script.encode()
    if b"\0" in content:
        raise KernelVMFailed("a script cannot hold NUL bytes")
    return content + bytes(-len(content) % 4096)


def _accelerators(machine: Machine) -> list[str]:
    """KVM where it works, else emulation; ``DMSNAP_KERNELVM_ACCEL`` (``kvm`` or ``tcg``) decides otherwise.

    A ``/dev/kvm`` that can be opened is no proof: in nested machines guests may hang under it. So the first run tries
    it, with a limit, and the answer is kept beside the guest.
    """
    choice = os.environ.get("DMSNAP_KERNELVM_ACCEL")
    if choice is None:
        choice = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and _kvm_works(machine) else "tcg"
    return ["-accel", "kvm", "-accel", "tcg,thread=multi"] if choice == "kvm" else ["-accel", "tcg,thread=multi"]


def _kvm_works(machine: Machine) -> bool:
    answer = machine.kernel.with_name("kvm-works")
    if not answer.exists():
        # Without a job disk the guest switches off by itself once its first program runs.
        try:
            console = _run_bounded(
                [*_qemu(machine, memory_mib=512, cpus=1), "-accel", "kvm"], timeout_s=_KVM_PROBE_SECONDS
            )
        except KernelVMFailed:
            console = ""
        answer.write_text("yes" if _NO_JOB in console else "no")
    return answer.read_text() == "yes"


def _qemu(machine: Machine, *, memory_mib: int, cpus: int) -> list[str]:
    return [
        find_program("qemu-system-x86_64") or "qemu-system-x86_64",
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio", "-nic", "none"),
        *("-m", str(memory_mib), "-smp", str(cpus), "-cpu", "max"),
        *("-kernel", str(machine.kernel), "-initrd", str(machine.initramfs)),
        *(
            "-append",
            "console=ttyS0 quiet loglevel=3 panic=-1 cryptomgr.notests mitigations=off rcupdate.rcu_expedited=1",
        ),
    ]


def _disk_arguments(disk: Path | str, name: str, *, read_only: bool = False) -> list[str]:
    """Describes a disk to QEMU in JSON, so that no character of a path means anything."""
    driver: dict[str, object] = {"driver": "raw", "node-name": name, "read-only": read_only}
    if isinstance(disk, Path):
        driver["file"] = {
            "driver": "file",
            "filename": str(disk.absolute()),
            "cache": {"no-flush": True},
            "discard": "unmap",
            "read-only": read_only,
        }
        driver |= {"cache": {"no-flush": True}, "discard": "unmap"}
    else:
        driver["file"] = _nbd(disk)
    device = {"driver": "virtio-blk-pci", "drive": name, "serial": name}
    return ["-blockdev", json.dumps(driver), "-device", json.dumps(device)]


def _nbd(address: str) -> dict[str, object]:
    parts = urlsplit(address)
    export = unquote(parts.path.lstrip("/"))
    if parts.scheme == "nbd+unix":
        server = {"type": "unix", "path": parse_qs(parts.query)["socket"][0]}
    elif parts.scheme == "nbd":
        server = {"type": "inet", "host": parts.hostname or "localhost", "port": str(parts.port or 10809)}
    else:
        raise KernelVMFailed(f"{address} is no disk", hint="give a Path, nbd://… or nbd+unix://…")
    return {"driver": "nbd", "server": server, "export": export}


def _run_bounded(command: list[str], timeout_s: float) -> str:
    """Runs QEMU in a process group of its own, which is gone when this returns. Returns its console."""
    # GNU timeout is the second guard: it also works when this very process is killed.
    guarded = ["timeout", "--signal=KILL", str(timeout_s + 10), *command]
    with tempfile.TemporaryFile() as console:
        process = subprocess.Popen(  # noqa: S603 - a list, no shell
            guarded, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise KernelVMFailed(f"the guest did not end in {timeout_s} s; {_tail(console)}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return _text(console)


def _text(console: IO[bytes]) -> str:
    end = console.seek(0, os.SEEK_END)
    console.seek(max(0, end - _CONSOLE_BYTES))
    return console.read().decode(errors="replace").replace("\r", "")


def _tail(console: IO[bytes]) -> str:
    return "its console ends: " + " | ".join(_text(console).strip().splitlines()[-8:])


def _read_result(disk: Path, mark: str, console: str) -> Result:
    with open(disk, "rb") as file:
        header = file.read(512)
        words = header.rstrip(b"\0").split()
        if not header.startswith(_RESULT_MAGIC) or len(words) != 3:
            last = " | ".join(console.strip().splitlines()[-8:])
            raise KernelVMFailed(f"the guest ended without a result; its console ends: {last}")
        stdout = file.read(int(words[2])).decode(errors="replace")
    sections: dict[str, list[str]] = {"": []}
    lines = sections[""]
    for line in stdout.splitlines():
        if line.startswith(mark):
            lines = sections.setdefault(line.removeprefix(mark), [])
        else:
            lines.append(line)
    return Result(stdout.replace(mark, "# "), int(words[1]), sections)
