"""Linux, booted for the purpose, writes stores; ours gives its status words and its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmsnap.block.memory import MemoryDevice
from dmsnap.store import NotAStore, open_store
from dmsnap.target import SnapshotDevice, status_words
from dmsnap.testing import fixtures
from dmsnap.testing.kernelvm import need_kernelvm
from dmsnap.testing.kernelvm.catalogue import SCENARIOS
from dmsnap.testing.kernelvm.scenario import Outcome
from dmsnap.testing.kernelvm.scenario_run import run_scenarios

AFRESH = (
    *("areas-scattered", "area-full-reloaded", "chunk-4k", "chunk-512k", "grown", "header-wins", "merge-half", "mixed"),
    *("overflow-origin", "overflow-po", "parallel", "transient", "trap-259"),
)
"""One of each kind; the fixtures have them all, and to boot for all would take minutes."""


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stores_written_by_the_kernel(tmp_path: Path) -> None:
    need_kernelvm()
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in AFRESH]
    assert len(scenarios) == len(AFRESH)
    outcomes = run_scenarios(scenarios, tmp_path, timeout_s=600)
    for scenario in scenarios:
        fixtures.derive(scenario, outcomes[scenario.name])  # the kernel did what the scenario says
    kernels = {name: (outcome.loaded_status, outcome.content) for name, outcome in outcomes.items()}
    ours = {name: read_by_us(outcome) for name, outcome in outcomes.items()}
    assert {name: status for name, (status, _) in ours.items()} == {
        name: status for name, (status, _) in kernels.items()
    }
    assert [name for name in AFRESH if ours[name][1] != kernels[name][1] and kernels[name][0] is not None] == []


def read_by_us(outcome: Outcome) -> tuple[str | None, bytes | None]:
    """Returns status words and content of a store as we have them; None for what we refuse."""
    try:
        store = open_store(MemoryDevice(outcome.cow))
    except NotAStore:
        return None, None
    if not store.valid:
        return status_words(store), None
    snapshot = SnapshotDevice(MemoryDevice(outcome.origin), store)
    return status_words(store), bytes(snapshot.read_at(0, snapshot.size_bytes))
