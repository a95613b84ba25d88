"""No crash of the real targets loses a flushed byte or shows one that nobody wrote; `make crash` looks at many more."""

from __future__ import annotations

import pytest

from dmsnap.testing.crash.campaign import SYNC_MODES, program_named, tally
from dmsnap.testing.crash.random_programs import KINDS
from dmsnap.testing.crash.running import run
from dmsnap.testing.crash.short_programs import SHORT

SEEDS = 1


@pytest.mark.parametrize("sync", SYNC_MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_crashes_of_short_programs(kind: str, sync: str) -> None:
    for number in range(len(SHORT[kind])):
        counts = tally(f"{kind}/{sync}/short/{number}")
        assert counts.failure is None, counts.failure
        assert counts.images > 9


@pytest.mark.parametrize("sync", SYNC_MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_crashes_of_random_programs(kind: str, sync: str) -> None:
    images = 0
    for seed in range(SEEDS):
        counts = tally(f"{kind}/{sync}/{seed}")
        assert counts.failure is None, counts.failure
        images += counts.images
    assert images > 20


def test_a_name_says_all_of_a_program() -> None:
    name = "merge/flush/3"
    assert program_named(name) == program_named(name)
    assert run(program_named(name), name) == run(program_named(name), name)
    with pytest.raises(ValueError, match="no such program"):
        program_named("merge/often/3")
