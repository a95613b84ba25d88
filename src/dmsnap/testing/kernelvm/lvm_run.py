"""Boots the kernel once and has real LVM make the groups of some cases; returns what it and the kernel said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
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
    """Makes the groups of all ``cases``; their disks are afterwards ``folder/CASE.NUMBER.img``.

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
        for number, disk in enumerate(case.disks):
            path = folder / f"{case.name}.{number}.img"
            with open(path, "wb") as image:
                image.truncate(disk.mib << 20)
            if disk.partitions:
                write_table(path, disk.partitions)
            script.append(f"d{number}=$(disk {len(disks)})")
            disks.append(path)
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
    return [folder / f"{case.name}.{number}.img" for number, disk in enumerate(case.disks) if disk.kept]


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

    def rows(what: str, kind: str) -> list[dict[str, Any]]:
        lines = said(what)
        return json.loads("\n".join(lines))["report"][0][kind] if lines else []

    devices: dict[str, str] = {}
    uuids: dict[str, str] = {}
    for line in said("devices"):
        major, minor, name, *uuid = line.split()
        devices[f"{major}:{minor}"] = name
        if uuid:
            uuids[name] = uuid[0]
    ours = {name for name in uuids if name.startswith(group.replace("-", "--") + "-")}
    return LVMFacts(
        lvs=rows("lvs", "lv"),
        segments=rows("segments", "lv"),
        vgs=rows("vgs", "vg"),
        pvs=rows("pvs", "pv"),
        lvs_inactive=rows("lvs-inactive", "lv"),
        segments_inactive=rows("segments-inactive", "lv"),
        vgs_inactive=rows("vgs-inactive", "vg"),
        pvs_inactive=rows("pvs-inactive", "pv"),
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
