"""`dmsnap.dump` and `dmsnap.restore`: files appear whole or not at all, and nothing that matters is overwritten."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path

import pytest

import dmsnap
from dmsnap.library.creation import BadStoreSize
from dmsnap.library.dumping import BadDumpChoice, OtherChunks
from dmsnap.maintenance.events import IncompleteStream
from dmsnap.maintenance.writing import DoesNotFit
from dmsnap.testing.store_builder import build_store, fill_chunk, in_allocation_order
from dmsnap.transfer.raw import OutputInTheWay, OutputIsInput, OutputIsStore


@pytest.fixture
def cow(tmp_path: Path) -> Path:
    path = tmp_path / "a.cow"
    with path.open("wb") as out:
        records = in_allocation_order(random.Random(2).sample(range(999), 300), 1)
        build_store(out, records, chunk_size_sectors=1, data=fill_chunk(1))
    return path


@pytest.mark.parametrize("form", ["xml", "json"])
def test_a_store_comes_back_with_the_data_in_the_dump(form: str, cow: Path, tmp_path: Path) -> None:
    assert dmsnap.dump(cow, tmp_path / "dump", format=form, data=True) == 300
    result = dmsnap.restore(tmp_path / "dump", tmp_path / "new.cow")
    assert (tmp_path / "new.cow").read_bytes() == cow.read_bytes()
    assert result.to_json() == {
        "exceptions": 300,
        "size_bytes": cow.stat().st_size,
        "chunk_size_bytes": 512,
        "data_bytes": 300 * 512,
    }


@pytest.mark.parametrize("form", ["xml", "json", "packed"])
def test_a_store_comes_back_with_data_from_the_old_one(form: str, cow: Path, tmp_path: Path) -> None:
    dmsnap.dump(cow, tmp_path / "dump", format=form)
    result = dmsnap.restore(tmp_path / "dump", tmp_path / "new.cow", data_from=cow)
    assert (tmp_path / "new.cow").read_bytes() == cow.read_bytes()
    assert result.data_bytes == 300 * 512


def test_data_in_the_dump_goes_before_that_of_the_old_store(cow: Path, tmp_path: Path) -> None:
    dmsnap.dump(cow, tmp_path / "dump", data=True)
    content = cow.read_bytes()
    cow.write_bytes(content[: 2 * 512] + bytes(len(content) - 2 * 512))
    dmsnap.restore(tmp_path / "dump", tmp_path / "new.cow", data_from=cow)
    assert (tmp_path / "new.cow").read_bytes() == content


def test_streams_will_do_at_both_ends(cow: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    dmsnap.dump(cow, stream, data=True)
    stream.seek(0)
    dmsnap.restore(stream, tmp_path / "new.cow")
    assert not stream.closed
    assert (tmp_path / "new.cow").read_bytes() == cow.read_bytes()


def test_an_invalid_store_stays_invalid(cow: Path, tmp_path: Path) -> None:
    content = bytearray(cow.read_bytes())
    content[4] = 0
    cow.write_bytes(content)
    dmsnap.dump(cow, tmp_path / "dump", data=True)
    dmsnap.restore(tmp_path / "dump", tmp_path / "new.cow")
    assert (tmp_path / "new.cow").read_bytes() == content
    assert not dmsnap.info(tmp_path / "new.cow").valid


def test_a_store_can_be_made_larger_and_not_too_small(cow: Path, tmp_path: Path) -> None:
    dmsnap.dump(cow, tmp_path / "dump")
    dmsnap.restore(tmp_path / "dump", tmp_path / "new.cow", size_bytes=1 << 20)
    assert (tmp_path / "new.cow").stat().st_size == 1 << 20
    assert dmsnap.info(tmp_path / "new.cow").exceptions == 300
    for size, error in ((4096, DoesNotFit), (1000, BadStoreSize), (0, BadStoreSize)):
        with pytest.raises(error):
            dmsnap.restore(tmp_path / "dump", tmp_path / "small.cow", size_bytes=size)
    assert not (tmp_path / "small.cow").exists()


def test_a_store_with_other_chunks_gives_no_data(cow: Path, tmp_path: Path) -> None:
    dmsnap.dump(cow, tmp_path / "dump")
    dmsnap.create(tmp_path / "other.cow", 1 << 20)
    with pytest.raises(OtherChunks):
        dmsnap.restore(tmp_path / "dump", tmp_path / "new.cow", data_from=tmp_path / "other.cow")
    assert not (tmp_path / "new.cow").exists()


def test_what_is_cut_short_leaves_nothing_behind(cow: Path, tmp_path: Path) -> None:
    dmsnap.dump(cow, tmp_path / "dump")
    (tmp_path / "dump").write_bytes((tmp_path / "dump").read_bytes()[:-30])
    before = set(tmp_path.iterdir())
    with pytest.raises(IncompleteStream):
        dmsnap.restore(tmp_path / "dump", tmp_path / "new.cow")
    cow.write_bytes(cow.read_bytes()[: 34 * 512])
    with pytest.raises(dmsnap.DmsnapError):
        dmsnap.dump(cow, tmp_path / "other")
    assert set(tmp_path.iterdir()) == before


def test_nothing_that_matters_is_overwritten(cow: Path, tmp_path: Path) -> None:
    dump, other, new = tmp_path / "dump", tmp_path / "other.cow", tmp_path / "new.cow"
    dmsnap.dump(cow, dump)
    dmsnap.create(other, 1 << 20)
    with pytest.raises(OutputIsInput):
        dmsnap.dump(cow, cow, overwrite=True)
    with pytest.raises(OutputIsStore):
        dmsnap.dump(cow, other, overwrite=True)
    with pytest.raises(OutputInTheWay):
        dmsnap.dump(cow, dump)
    with pytest.raises(OutputIsInput):
        dmsnap.restore(dump, dump, overwrite=True)
    with pytest.raises(OutputIsInput):
        dmsnap.restore(dump, cow, data_from=cow, overwrite=True)
    with pytest.raises(OutputIsStore):
        dmsnap.restore(dump, cow, overwrite=True)
    new.write_bytes(b"old")
    with pytest.raises(OutputInTheWay):
        dmsnap.restore(dump, new)
    dmsnap.restore(dump, new, overwrite=True)
    assert dmsnap.info(new).exceptions == 300


def test_formats_that_there_are_not_are_refused(cow: Path, tmp_path: Path) -> None:
    with pytest.raises(BadDumpChoice):
        dmsnap.dump(cow, tmp_path / "dump", format="yaml")
    with pytest.raises(BadDumpChoice):
        dmsnap.dump(cow, tmp_path / "dump", format="packed", data=True)
    assert not (tmp_path / "dump").exists()


MANY = """
import io, os, sys, threading
import numpy as np
from dmsnap.maintenance.dumping import FORMATS, read_dump
from dmsnap.maintenance.events import Begin, End, Exceptions
from dmsnap.store.format import MAGIC, Header
form, count = sys.argv[1], int(sys.argv[2])
def events():
    yield Begin(Header(MAGIC, 1, 1, 8), (count + count // 256 + 9) * 4096)
    for first in range(0, count, 8192):
        numbers = np.arange(first, min(count, first + 8192), dtype=np.uint64)
        yield Exceptions(first, np.stack((numbers * 2654435761 % 2**34, numbers + 2), axis=1))
    yield End(count)
reading, writing = os.pipe()
def write():
    with open(writing, "wb") as out:
        FORMATS[form].write(events(), out)
threading.Thread(target=write).start()
seen = 0
with open(reading, "rb") as stream:
    for event in read_dump(stream):
        seen += len(event.records) if isinstance(event, Exceptions) else 0
assert seen == count
# What getrusage(2) tells begins with what the parent had.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("form", ["xml", "packed"])
def test_memory_does_not_grow_with_the_number_of_exceptions(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY, form, "2000000"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60 << 10, "KiB: Python with NumPy is half of that, and so are the records alone"
