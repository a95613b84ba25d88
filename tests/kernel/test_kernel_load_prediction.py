"""How long a real kernel takes to load a store from a slow disk is what `predict` says."""

from __future__ import annotations

from pathlib import Path

import pytest

import dmsnap
from dmsnap.block import FileDevice
from dmsnap.block.wrap import DelayDevice
from dmsnap.library.simulation.described_store import DescribedStore
from dmsnap.store.format import area_chunk
from dmsnap.testing import need_tool
from dmsnap.testing.kernelvm import need_kernelvm
from dmsnap.testing.kernelvm.load_time import kernel_load_seconds

pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(600)]

AREAS = 260
DELAY_SECONDS = 0.2  # so long that the emulation of the machine, which is taken off, is little beside it


def test_a_prediction_is_what_linux_takes(tmp_path: Path) -> None:
    need_kernelvm()
    need_tool("nbdkit")
    path = tmp_path / "slow.cow"
    described = DescribedStore(AREAS, 4096)
    with path.open("wb") as out:
        out.write(described.read_at(0, 4096))
        out.truncate(described.size_bytes)
        for area in range(AREAS):
            offset = area_chunk(area, 256) * 4096
            out.seek(offset)
            out.write(described.read_at(offset, 4096))
    with DelayDevice(FileDevice(path), DELAY_SECONDS) as device:
        found = dmsnap.predict(device, time_limit_seconds=12)
    slow = kernel_load_seconds(path, origin_size_bytes=256 << 30, read_delay_seconds=DELAY_SECONDS)
    quick = kernel_load_seconds(path, origin_size_bytes=256 << 30, read_delay_seconds=0)
    print(f"predicted {found.kernel}; Linux took {slow:.2f} s, {quick:.2f} s of them not for the disk's delay")
    assert found.kernel is not None
    assert found.areas == AREAS
    assert found.kernel.seconds == pytest.approx(slow - quick, rel=0.25)
