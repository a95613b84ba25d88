"""Linux, booted for the purpose, loads what care makes of the stores of random programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmsnap.testing.care_programs.judging import cared
from dmsnap.testing.care_programs.kernel_results import differences
from dmsnap.testing.care_programs.made_stores import made_stores
from dmsnap.testing.kernelvm import need_kernelvm

SEEDS = [seed for seed in range(40) if seed % 4]
"""Those of short programs."""


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stores_that_were_restored_repaired_and_compacted(tmp_path: Path) -> None:
    need_kernelvm()
    results = []
    for seed in SEEDS:
        for made in list(made_stores(seed))[:1]:
            of_one = cared(made, seed).results
            results.append(of_one[seed % len(of_one)])
    words = {result.name.partition(" ")[2] for result in results}
    assert {"restored", "repaired", "compacted"} <= words
    assert len(results) > len(SEEDS) // 2
    assert differences(results, tmp_path) == []
