"""The table and the page that explains it: every benchmark has its section, every section its command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
PAGE = ROOT / "docs" / "benchmarks.md"


def python(code: str, *arguments: object) -> str:
    """Runs code in a process of its own that can import the benchmarks, which are scripts and not a package."""
    begin = "import json, sys; sys.path.insert(0, sys.argv.pop(1))\n"
    command = [sys.executable, "-c", begin + code, str(BENCH), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def benchmarks() -> list[str]:
    names: list[str] = json.loads(python("import run; print(json.dumps(list(run.BENCHMARKS)))"))
    return names


def sections(text: str) -> dict[str, str]:
    """What the page says of each benchmark, by its name."""
    return dict(re.findall(r"^## `(.+?)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))


def test_the_page_explains_every_benchmark_and_no_other(benchmarks: list[str]) -> None:
    assert list(sections(PAGE.read_text("utf-8"))) == benchmarks


def test_every_section_has_the_command_that_makes_its_figures(benchmarks: list[str]) -> None:
    for name, body in sections(PAGE.read_text("utf-8")).items():
        assert f"\n```\n.venv/bin/python bench/run.py {name}\n```\n" in body


def test_the_published_table_has_every_benchmark_and_fits_a_terminal(benchmarks: list[str]) -> None:
    begin, end = json.loads(python("import table; print(json.dumps([table.BEGIN, table.END]))"))
    before, rest = PAGE.read_text("utf-8").split(begin)
    published, after = rest.split(end)
    if "No run has been published yet." not in published:
        assert re.findall(r"^\| \*\*(.+?)\*\*: ", published, re.MULTILINE) == benchmarks
        assert max(map(len, published.splitlines())) <= 120
    assert not re.search(r"\d x |\dx\b|\d M/s", before + after), "a figure stands only in the table"


PUBLISHED = """
import pathlib, table
from row import Row, compared, timed
page = pathlib.Path(sys.argv[1])
rows = {"race": [timed("dmsnap", [1.0, 3.0, 2.0]), compared("other|one", [2.0, 4.0, 8.0], [1.0, 3.0, 2.0], 0.5)]}
for date in "monday", "tuesday":
    table.publish(page, table.markdown({"date": date}, {"race": "who is first"}, rows))
"""


def test_a_new_table_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin, end = json.loads(python("import table; print(json.dumps([table.BEGIN, table.END]))"))
    page.write_text(f"above\n\n{begin}\nold\n{end}\n\nbelow\n", "utf-8")
    python(PUBLISHED, page)
    assert (
        page.read_text("utf-8")
        == f"""above

{begin}

date tuesday

| who        | median (least-most)   | dmsnap / it       | goal         |
|------------|-----------------------|-------------------|--------------|
| **race**: who is first | | | |
| dmsnap     | 2.000 s (1.000-3.000) |                   |              |
| other\\|one | 4.000 s (2.000-8.000) | 0.50x (0.25-0.75) | <= 0.5x: met |

{end}

below
"""
    )


def test_a_page_without_a_place_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks", "utf-8")
    said = python(
        "import pathlib, table\ntry: table.publish(pathlib.Path(sys.argv[1]), 'x')\nexcept ValueError as e: print(e)",
        page,
    )
    assert "has no place for a table" in said
    assert page.read_text("utf-8") == "no marks"


def test_part_of_a_run_is_never_published(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    command = [sys.executable, str(BENCH / "run.py"), "--page", str(page), "help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "one whole run" in done.stderr
