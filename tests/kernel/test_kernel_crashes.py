"""Linux, booted for the purpose, loads what crashes of ours left, and says and reads what we say and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmsnap.testing.crash.campaign import SYNC_MODES, Part, judge_part
from dmsnap.testing.crash.kernel_sample import differences
from dmsnap.testing.crash.random_programs import KINDS
from dmsnap.testing.kernelvm import need_kernelvm


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_images_of_crashes(tmp_path: Path) -> None:
    need_kernelvm()
    parts = [Part(kind, sync, 1) for kind in KINDS for sync in SYNC_MODES]
    images = [image for part in parts for image in judge_part(part)[2][:1]]
    snapshots, found = differences(images, tmp_path)
    assert found == []
    assert snapshots > len(parts) // 2
