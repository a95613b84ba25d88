"""Boots the kernel once and has real LVM make the groups of some cases; returns what it and the kernel said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

from dmsnap.errors import DmsnapError
from dmsnap.testing.kernelvm.lvm_case import LVMCase, LVMFacts
from dmsnap.testing.kernelvm.machine import KernelVM
from dmsnap.testing.kernelvm.partition_tables import write_table

__all__ = ["LVMCaseFailed", "case_images", "in_boots", "run_lvm_cases"]

_MAX_DISKS = 22


class LVMCaseFailed(DmsnapError):
    """LVM refused something in the guest; the message says what."""


def run_lvm_cases(cases: Sequence[LVMCase], folder: Path, *, timeout_s: float = 300) -> dict[str, LVMFacts]:
    """Makes the groups of all ``cases``; `case_images` has their disks afterwards.

    Args:
        cases: With different names and groups, and no more than 24 disks all in all.
        folder: For the disks, which are sparse.
        timeout_s: For all of it. A case takes some seconds where the machine is emulated.

    Raises:
        LVMCaseFailed: A command failed.
        KernelVMFailed, KernelVMUnavailable: As in `KernelVM.run`.
    """
    disks: list[Path] = []
    script = [resources.files(__package__).joinpath("lvm_functions.sh").read_text()]
    for case in cases:
        script.append(f"section '{case.group} script'")
        names = _disk_paths(case, folder)
        names[0].parent.mkdir()
        for number, disk in enumerate(case.disks):
            path = names[number]
            with open(path, "wb") as image:
                image.truncate(disk.mib << 20)
            if disk.partitions:
                write_table(path, disk.partitions)
            script.append(f"d{number}=$(disk {len(disks)})")
            disks.append(path)
        script.append(f"scan {' '.join(f'$d{number}' for number in range(len(case.disks)))}")
        nodes = [f"$d{number}" for number, disk in enumerate(case.disks) if disk.kept]
        images = " ".join(f"disk{number}.img={node}" for number, node in enumerate(nodes))
        script += [f"group={case.group}", f'images="{images}"', case.script, "stop"]
        script += [f"section '{case.group} images'", "echo $images", f"section '{case.group} rest'"]
    result = KernelVM(disks, timeout_s=timeout_s).run("\n".join(script))
    lines = result.stdout.splitlines()
    if failed := [number for number, line in enumerate(lines) if line.startswith("failed ")]:
        raise LVMCaseFailed("the guest said: " + " | ".join(lines[failed[0] : failed[0] + 8]))
    return {case.name: _facts(case.group, result.sections) for case in cases}


def case_images(case: LVMCase, folder: Path) -> list[Path]:
    """Returns the disks of a case that count, where `run_lvm_cases` leaves them."""
    return [path for path, disk in zip(_disk_paths(case, folder), case.disks, strict=True) if disk.kept]


def _disk_paths(case: LVMCase, folder: Path) -> list[Path]:
    """All disks of a case; those that count are ``CASE/disk0.img`` and so on, as its ``$images`` says."""
    kept, others = count(), count()
    return [
        folder / case.name / (f"disk{next(kept)}.img" if disk.kept else f"other{next(others)}.img")
        for disk in case.disks
    ]


def in_boots(cases: Iterable[LVMCase]) -> Iterator[list[LVMCase]]:
    """Divides cases into as many as one machine takes at a time."""
    boot: list[LVMCase] = []
    for case in cases:
        if sum(len(one.disks) for one in [*boot, case]) > _MAX_DISKS:
            yield boot
            boot = []
        boot.append(case)
    if boot:
        yield boot


def _facts(group: str, sections: dict[str, list[str]]) -> LVMFacts:
    def said(what: str) -> list[str]:
        return sections.get(f"{group} {what}", [])

    def rows(what: str) -> dict[str, list[dict[str, Any]]]:
        told = json.loads("\n".join(said(what)))
        (group_told,) = told["report"]
        return dict(group_told)

    active, inactive = rows("active"), rows("inactive")
    devices: dict[str, str] = {}
    uuids: dict[str, str] = {}
    for line in said("devices"):
        major, minor, name, *uuid = line.split()
        devices[f"{major}:{minor}"] = name
        if uuid:
            uuids[name] = uuid[0]
    ours = {name for name in uuids if name.startswith(group.replace("-", "--") + "-")}
    return LVMFacts(
        lvs=active["lv"],
        segments=active["seg"],
        vgs=active["vg"],
        pvs=active["pv"],
        lvs_inactive=inactive["lv"],
        segments_inactive=inactive["seg"],
        vgs_inactive=inactive["vg"],
        pvs_inactive=inactive["pv"],
        devices=devices,
        uuids=uuids,
        table=_by_name(said("table"), ours),
        status=_by_name(said("status"), ours),
        sha256={
            name: None if word == "unreadable" else word for name, word in (line.split() for line in said("sha256"))
        },
        images={node: image for line in said("images") for image, node in (word.split("=") for word in line.split())},
    )


def _by_name(lines: list[str], names: set[str]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for line in lines:
        name, _, words = line.partition(": ")
        if name in names:
            result.setdefault(name, []).append(words)
    return result
