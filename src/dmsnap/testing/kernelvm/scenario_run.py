"""Has the kernel live through scenarios: any number of them in one boot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from dmsnap.errors import DmsnapError
from dmsnap.testing.kernelvm.content import SECTOR_BYTES, Applied, original, stale, written
from dmsnap.testing.kernelvm.machine import KernelVM
from dmsnap.testing.kernelvm.scenario import Grow, Merge, Outcome, Reload, Scenario, Step, Together, Write

__all__ = ["ScenarioFailed", "Slices", "guest_functions", "kernel_log", "run_scenarios", "said_words"]

_MIB_SECTORS = 2048
_DEVICES = {"snapshot": "s", "origin": "g"}


class ScenarioFailed(DmsnapError):
    """The guest could not do what a scenario says; what it answered is in the message."""


class Slices:
    """A sparse image that is handed out in slices, each beginning at a multiple of 1 MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sectors = 0
        path.write_bytes(b"")

    def add(self, sectors: int, content: bytes = b"") -> int:
        """Adds a slice that begins with ``content``; returns its first sector."""
        start = self.sectors
        self.sectors += -(-max(sectors, 1) // _MIB_SECTORS) * _MIB_SECTORS
        with open(self.path, "r+b") as file:
            file.truncate(self.sectors * SECTOR_BYTES)
            file.seek(start * SECTOR_BYTES)
            file.write(content)
        return start

    def read(self, start: int, sectors: int) -> bytes:
        """Returns ``sectors`` sectors from sector ``start`` of the image."""
        with open(self.path, "rb") as file:
            file.seek(start * SECTOR_BYTES)
            return file.read(sectors * SECTOR_BYTES)


class _Placed:
    """A scenario and where its slices are."""

    def __init__(self, scenario: Scenario, data: Slices, origins: Slices, cows: Slices, dumps: Slices) -> None:
        if not re.fullmatch(r"[a-z0-9-]+", scenario.name):
            raise ScenarioFailed(f"{scenario.name!r} is no name for a scenario")
        self.scenario = scenario
        name = scenario.name
        contents = [written(name, number, *write[1:3]) for number, write in enumerate(scenario.writes())]
        self.data_at = data.add(sum(map(len, contents)) // SECTOR_BYTES, b"".join(contents))
        self.origin_at = origins.add(scenario.origin_sectors, original(name, scenario.origin_sectors))
        unwiped = stale(name, scenario.final_cow_sectors) if scenario.stale else b""
        self.cow_at = cows.add(scenario.final_cow_sectors, unwiped)
        self.dump_at = dumps.add(scenario.origin_sectors)

    def script(self) -> Iterator[str]:
        """Yields the guest's commands, all of them fixed words and numbers."""
        scenario = self.scenario
        yield f"section {scenario.name}"
        yield f"devices {self.origin_at} {scenario.origin_sectors} {self.cow_at} {scenario.cow_sectors}"
        yield f"snapshot {scenario.store} {scenario.chunk_sectors}"
        number, data_at, chunk, last = 0, self.data_at, scenario.chunk_sectors, "s"
        for step in scenario.steps:
            if isinstance(step, Write | Together):
                writes = (step,) if isinstance(step, Write) else step.writes
                background = "&" if isinstance(step, Together) else ""
                for write in writes:
                    block = write.block_sectors or write.sectors
                    where = f"{write.sector} {write.sectors} {block} {data_at}"
                    yield f"put {number} {_DEVICES[write.device]} {where} {background}"
                    number, data_at = number + 1, data_at + write.sectors
                yield from ["wait"] * bool(background)
            else:
                chunk = step.chunk_sectors or chunk if isinstance(step, Reload) else chunk
                yield from _commands(step, scenario.store, chunk)
                last = "m" if isinstance(step, Merge) else last
        yield f"status live {last}"
        dump_at_mib = self.dump_at // _MIB_SECTORS
        if scenario.store == "N":
            yield f"dump live {dump_at_mib}"
        yield "gone m" if last == "m" else "gone s g"
        store = "P" if scenario.store == "N" else scenario.store
        yield f"snapshot {store} {chunk} && status loaded s && table loaded s && dump loaded {dump_at_mib}"
        yield "finish"

    def outcome(self, said: list[str], origins: Slices, cows: Slices, dumps: Slices) -> Outcome:
        """Puts together what the guest said and left on the disks."""
        scenario = self.scenario
        words = said_words(said)
        refused = "failed create s" in said
        unexpected = [line for line in said if line.startswith("failed ") and line != "failed create s"]
        partial = {
            int(number): int(blocks) for number, blocks in re.findall(r"^partial (\d+) (\d+)$", "\n".join(said), re.M)
        }
        if unexpected or "live-status" not in words or (refused and "loaded-status" in words):
            raise ScenarioFailed(f"scenario {scenario.name} failed in the guest: {' | '.join(said)}")
        applied = tuple(
            Applied(write.device, write.sector, min(write.sectors, partial.get(number, write.sectors) * block))
            for number, write in enumerate(scenario.writes())
            for block in [write.block_sectors or write.sectors]
        )
        readable = "yes" in (words.get("live-readable"), words.get("loaded-readable"))
        return Outcome(
            applied=applied,
            live_status=words["live-status"],
            loaded_status=words.get("loaded-status"),
            loaded_table=words.get("loaded-table"),
            content=dumps.read(self.dump_at, scenario.origin_sectors) if readable else None,
            cow=cows.read(self.cow_at, scenario.final_cow_sectors),
            origin=origins.read(self.origin_at, scenario.origin_sectors),
            log=kernel_log(said),
        )


def _commands(step: Step, store: str, chunk: int) -> Iterator[str]:
    if isinstance(step, Merge):
        if step.obstacle is None:
            yield f"merge {chunk}"
        else:
            yield f"merge_until {chunk} {step.obstacle} {step.sector} {step.left_sectors}"
    elif isinstance(step, Grow):
        yield f"grow {step.cow_sectors}"
    else:
        yield "gone s g"
        yield f"snapshot {store} {chunk}"


def said_words(said: Sequence[str]) -> dict[str, str]:
    """Returns what the guest said by label; of ``dmsetup status`` and ``table`` what follows the target's own words.

    That is behind start, length and target, and in a table behind the two devices too.
    """
    words = {line.split(" ", 1)[0]: line.partition(" ")[2] for line in said}
    for skip, what in ((3, "-status"), (5, "-table")):
        for label in [label for label in words if label.endswith(what)]:
            words[label] = " ".join(words[label].split()[skip:])
    return words


def kernel_log(said: Sequence[str]) -> tuple[str, ...]:
    """Returns the lines of device-mapper in the kernel's log, without their times."""
    lines = (re.fullmatch(r"\[[^]]*\] (device-mapper: .*)", line) for line in said)
    return tuple(line.group(1) for line in lines if line)


def guest_functions() -> str:
    """Returns the shell functions that the scripts of scenarios and load cases call."""
    return resources.files(__package__).joinpath("guest_functions.sh").read_text()


def run_scenarios(scenarios: Sequence[Scenario], folder: Path, *, timeout_s: float = 300) -> dict[str, Outcome]:
    """Boots the kernel once, has it live through all ``scenarios`` and returns what came of each, by name.

    Args:
        scenarios: With different names.
        folder: For the disks: sparse images, all in all somewhat larger than all devices together.
        timeout_s: For all of it. A scenario takes about a second where the machine is emulated.

    Raises:
        ScenarioFailed: The guest could not do what a scenario says.
        KernelVMFailed, KernelVMUnavailable: As in `KernelVM.run`.
    """
    disks = _, origins, cows, dumps = tuple(Slices(folder / name) for name in ("data", "origins", "cows", "dumps"))
    placed = [_Placed(scenario, *disks) for scenario in scenarios]
    script = [guest_functions(), *(line for one in placed for line in one.script())]
    result = KernelVM([disk.path for disk in disks], timeout_s=timeout_s).run("\n".join(script))
    return {
        one.scenario.name: one.outcome(result.sections.get(one.scenario.name, []), origins, cows, dumps)
        for one in placed
    }
