"""The models against what is published of the drives, and the document against the models."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from dmsnap.block.model import DRIVES, FIGURES, judge, make_drive
from dmsnap.block.model.judging import random_reads_per_second
from dmsnap.block.model.report import report

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/disk-models.md"
TOLERANCE = 0.10


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("name", DRIVES)
def test_every_figure_lies_within_a_tenth_of_the_published_one(name: str, seed: int) -> None:
    judgements = judge(name, seed)
    assert {judgement.key for judgement in judgements} >= {*DRIVES[name].published, "iops_1", "iops_32", "stream"}
    for judgement in judgements:
        difference = judgement.difference
        assert difference is None or abs(difference) <= TOLERANCE, judgement


@pytest.mark.parametrize("name", ["scsi-15k", "sata-7200"])
def test_rotating_drives_are_judged_by_more_than_they_are_made_of(name: str) -> None:
    foretold = {key for key, figure in DRIVES[name].published.items() if not figure.given}
    assert {"iops_1", "stream"} <= foretold


@pytest.mark.parametrize("name", DRIVES)
def test_the_same_seed_gives_the_same_times(name: str) -> None:
    rates = [random_reads_per_second(make_drive(name, seed), 8, count=300) for seed in (3, 3, 4)]
    assert rates[0] == rates[1] != rates[2]


@pytest.mark.parametrize("name", DRIVES)
def test_more_reads_at_once_are_never_slower(name: str) -> None:
    rates = [random_reads_per_second(make_drive(name), depth, count=2000) for depth in (1, 4, 16, 64)]
    for less, more in pairwise(rates):
        assert more > 0.97 * less, rates


@pytest.mark.parametrize("name", DRIVES)
def test_every_parameter_and_figure_says_where_it_comes_from(name: str) -> None:
    spec = DRIVES[name]
    known = (*spec.sources, "derived", "assumed", "Linux", "Serial ATA", "in the seek times", "of no effect")
    for key, one in {**spec.parameters, **spec.published}.items():
        assert one.source.startswith(known), f"{key}: {one.source}"
    assert set(spec.published) <= set(FIGURES)


def test_the_depths_in_the_document_are_what_the_model_gives() -> None:
    lines = DOCUMENT.read_text("utf-8").splitlines()
    (head,) = (line for line in lines if line.startswith("| random reads of 4 KiB within 5 GiB, depth |"))
    (row,) = (line for line in lines if line.startswith("| `sata-7200`, 1/s |"))
    depths, rates = ([int(cell) for cell in line.split("|")[2:-1]] for line in (head, row))

    def modelled(depth: int, span_bytes: float) -> int:
        return round(random_reads_per_second(make_drive("sata-7200"), depth, span_bytes=int(span_bytes)))

    assert rates == [modelled(depth, 5 << 30) for depth in depths]
    assert f"gives {modelled(32, 2.4 * (1 << 30))} a second" in " ".join(lines)  # over as many tracks


def test_the_tables_in_the_document_are_what_the_models_give() -> None:
    assert DOCUMENT.read_text("utf-8").endswith(report()), "write it anew: python -m dmsnap.block.model.report"


def test_the_example_in_the_document_holds() -> None:
    code = DOCUMENT.read_text("utf-8").split("```python\n")[1].split("```")[0]
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_models_are_light_to_import() -> None:
    code = "import sys, dmsnap.block.model; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
