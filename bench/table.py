"""The table: Markdown that can be read in a terminal of 120 columns, and its place on the page."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from row import Row

COLUMNS = ("who", "median (least-most)", "dmsnap / it", "goal")
WIDEST = (50, 23, 18, 16)
"""A longer cell, like the reason why something could not be measured, widens its own line only."""
LINE_COLUMNS = 120
BEGIN = "<!-- table: made by the command above -->"
END = "<!-- end of the table -->"


def markdown(facts: Mapping[str, str], titles: Mapping[str, str], rows: Mapping[str, Sequence[Row]]) -> str:
    """The whole table with what it was measured on.

    Args:
        facts: Of the machine and the versions, by name.
        titles: What each benchmark measures, by its name.
        rows: By the name of the benchmark.
    """
    lines = [_cells(row) for name in rows for row in rows[name]]
    widths = [
        min(widest, max(len(cell) for cell in column))
        for widest, column in zip(WIDEST, zip(COLUMNS, *lines, strict=True), strict=True)
    ]
    said = [_line(COLUMNS, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    for name, benchmark_rows in rows.items():
        said.append(f"| **{name}**: {titles[name]} | | | |")
        said += [_line(_cells(row), widths) for row in benchmark_rows]
    about = "; ".join(f"{key} {value}" for key, value in facts.items())
    return "\n".join([textwrap.fill(about, LINE_COLUMNS), "", *said, ""])


def publish(page: Path, table: str) -> None:
    """Puts a table between the two marks of a page, in the place of the one that was there.

    Raises:
        ValueError: The page has not each mark once, in order.
    """
    text = page.read_text("utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{page}: has no place for a table, which is between {BEGIN!r} and {END!r}")
    before, rest = text.split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{rest.split(END)[1]}", "utf-8")


def _cells(row: Row) -> tuple[str, str, str, str]:
    verdict = {None: "", True: ": met", False: ": MISSED"}[row.met]
    name = row.name.strip()
    indent = "↳ " if row.name.startswith(" ") else ""  # Markdown would eat blanks
    goal = f"{row.goal}{verdict}" if row.goal else verdict.removeprefix(": ")
    return tuple(cell.replace("|", "\\|") for cell in (indent + name, row.figure, row.ratio, goal))  # type: ignore[return-value]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
