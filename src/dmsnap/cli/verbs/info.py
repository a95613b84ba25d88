"""``dmsnap info``: what a store says about itself, for people and (``--json``) for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import dmsnap
from dmsnap.cli.findings import COLOURS, finding_line
from dmsnap.cli.options import json_option, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import for_eyes, print_json, result_stream
from dmsnap.cli.text import printable, readable_size
from dmsnap.cli.tracing import trace_option, traced

if TYPE_CHECKING:
    from dmsnap.library.description import StoreInfo


_LEAST_OF_LVM_BYTES = 4096


@verb("info")
@snap_argument
@origin_option(required=False)
@click.option("--what-if", is_flag=True, help="Also: how large it would be with chunks of other sizes.")
@prefetch_option
@trace_option
@json_option
def command(snap: str, origin: str | None, what_if: bool, prefetch: str, trace: str | None, as_json: bool) -> None:
    """Explain the store SNAP: its header, geometry, usage, areas and runs, and what is wrong with it.

    With --origin, records for chunks that the origin does not have are found too. A store with findings is still
    readable apart from them; the exit status is 0. They are what opening it tells: 'dmsnap check' finds more.

    --what-if tells what 'dmsnap compact --chunk-size' would make of it, at the least chunk size that LVM takes and up.
    """
    with traced(trace, snap, origin) as recorder:
        description = dmsnap.info(snap, origin=origin, what_if=what_if, prefetch=prefetch, trace=recorder)
        if as_json:
            print_json(description.to_json())
        elif for_eyes():
            print_table(description)
        else:
            lines = [*facts(description), *(("finding", finding_line(each)) for each in description.findings)]
            lines += what_ifs(description)
            result_stream().write("".join(f"{name:<10}  {value}\n" for name, value in lines))


def facts(store: StoreInfo) -> list[tuple[str, str]]:
    """What to tell a person about a store, as (name, value) in reading order."""
    usage = (
        f"{store.usage_percent:.2f} % of {readable_size(store.total_sectors * 512)} "
        f"({store.allocated_sectors} of {store.total_sectors} sectors, {store.metadata_sectors} of them metadata)"
    )
    rows = [
        ("store", printable(store.name)),
        ("state", "valid" if store.valid else "INVALID: the kernel gave this snapshot up; its content is lost"),
        ("format", f"version {store.version}, chunks of {readable_size(store.chunk_size_bytes)}"),
        ("status", store.status),
    ]
    if store.valid:
        rows += [
            ("usage", usage),
            ("exceptions", f"{_count(store.exceptions, 'chunk')} in {_count(store.runs, 'run')}"),
            ("changed", readable_size(store.changed_bytes)),
            ("areas", f"{store.areas}"),
            ("next chunk", f"{store.next_free_chunk}"),
        ]
    if store.physical_bytes is not None:
        rows.append(("on disk", readable_size(store.physical_bytes)))
    rows.append(("findings", f"{len(store.findings)}" if store.findings else "none"))
    return rows


def what_ifs(store: StoreInfo) -> list[tuple[str, str]]:
    """How large a store would be with chunks of other sizes, as (name, value), if that was asked for."""
    return [
        (
            f"at {readable_size(each.chunk_size_bytes)}",
            f"{readable_size(each.size_bytes)} for {_count(each.exceptions, 'chunk')}",
        )
        for each in store.what_if or ()
        if each.chunk_size_bytes >= min(_LEAST_OF_LVM_BYTES, store.chunk_size_bytes)
    ]


def print_table(store: StoreInfo) -> None:
    """Prints a store's facts as a table for a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts(store):
        bad = (name == "state" and not store.valid) or (name == "findings" and bool(store.findings))
        table.add_row(name, Text(value, style="bold red" if bad else ""))
    for finding in store.findings:
        table.add_row("", Text(finding_line(finding), style=COLOURS[finding.severity]))
    for name, value in what_ifs(store):
        table.add_row(name, value)
    Console(highlight=False).print(table)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
