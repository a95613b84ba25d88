"""Random programs, run by a real Linux and by ours: outcomes and every byte of the disks are the same.

A few of them; ``make programs`` runs hundreds.
"""

from __future__ import annotations

import pytest

from dmsnap.testing.kernelvm import need_kernelvm
from dmsnap.testing.programs.compare import difference
from dmsnap.testing.programs.generate import generate
from dmsnap.testing.programs.ways import CROSSED, PLAIN, run_ways

PLAIN_SEEDS = range(1000, 1020)
CROSSED_SEEDS = range(2000, 2004)


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_programs_do_the_same_in_the_kernel_and_in_ours() -> None:
    need_kernelvm()
    programs = [generate(seed) for seed in PLAIN_SEEDS]
    for seed, program, results in zip(PLAIN_SEEDS, programs, run_ways(programs, PLAIN), strict=True):
        for way, result in results.items():
            found = difference(program.steps, results["kernel"], result)
            assert found is None, f"{way}: {found}\nagain: python -m dmsnap.testing.programs run --seed {seed}"


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_goes_on_with_what_the_other_began() -> None:
    need_kernelvm()
    programs = [generate(seed) for seed in CROSSED_SEEDS]
    ways = {"kernel": PLAIN["kernel"], **CROSSED}
    for seed, program, results in zip(CROSSED_SEEDS, programs, run_ways(programs, ways), strict=True):
        for way, result in results.items():
            found = difference(program.steps, results["kernel"], result)
            again = f"again: python -m dmsnap.testing.programs run --seed {seed} --crossed"
            assert found is None, f"{way}: {found}\n{again}"
