"""``dmsnap repair``: what can be saved of a damaged or invalid store, as a new one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import click

import dmsnap
from dmsnap.cli.findings import COLOURS, finding_lines
from dmsnap.cli.options import PATH, json_option, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import for_eyes, print_json, result_stream
from dmsnap.cli.progress import progress_bar
from dmsnap.cli.sizes import size_callback
from dmsnap.cli.text import printable, readable_size
from dmsnap.cli.tracing import trace_option, traced
from dmsnap.library.volumes.address import is_lvm_address

if TYPE_CHECKING:
    from dmsnap.maintenance.repair_report import RepairReport
    from dmsnap.maintenance.salvaging import RecordFate


def _accept_callback(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    from dmsnap.store.finding import Kind

    known = click.Choice([*(kind.value for kind in Kind), "all"])
    return tuple(known.convert(value, parameter, context) for value in values)


@verb("repair")
@snap_argument
@click.option("-o", "--output", "new", metavar="NEW", type=PATH, required=True, help="The new store; a new file.")
@origin_option(required=False)
@click.option(
    "--accept",
    metavar="KIND",
    multiple=True,
    callback=_accept_callback,
    help="Take the doubts that a kind of damage brings, by the word of 'dmsnap check'; 'all' for each.",
)
@click.option(
    "--size", metavar="SIZE", callback=size_callback, default="0", help="The least size: room for what ran full."
)
@click.option("--image", metavar="IMG", type=PATH, help="Also write the snapshot's content, as a raw image.")
@click.option(
    "--map", "map_file", metavar="MAP", type=PATH, help="And which ranges are doubtful or lost, as ddrescue's map."
)
@prefetch_option
@trace_option
@json_option
def command(
    snap: str,
    new: str,
    origin: str | None,
    accept: tuple[str, ...],
    size: int,
    image: str | None,
    map_file: str | None,
    prefetch: str,
    trace: str | None,
    as_json: bool,
) -> None:
    """Make the new store NEW of what can be saved of SNAP, damaged or marked invalid. SNAP stays as it is.

    Says what is lost, and what is doubtful; as long as that is not accepted by its word, nothing is written, and the
    exit status is 1. A store without damage is copied.
    """
    from dmsnap.maintenance.repairing import NotAccepted

    if origin is None and not is_lvm_address(snap) and (image is not None or map_file is not None):
        raise click.UsageError("--image and --map take --origin")
    with traced(trace, snap, origin, new, image, map_file) as recorder:
        try:
            with progress_bar(f"repair {printable(new)}", wanted=not as_json) as progress:
                report = dmsnap.repair(
                    snap,
                    new,
                    origin=origin,
                    accept=accept,
                    image=image,
                    map_file=map_file,
                    size_bytes=size,
                    prefetch=prefetch,
                    trace=recorder,
                    progress=progress,
                )
        except NotAccepted as refusal:
            _print(refusal.report, new, as_json=as_json)
            raise
        _print(report, new, as_json=as_json)


def _print(report: RepairReport, new: str, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
        return
    coloured, stream = for_eyes(), result_stream()
    for severity, line in lines(report, new):
        stream.write(click.style(line, fg=COLOURS[severity], bold=True) if severity and coloured else line)


def lines(report: RepairReport, new: str) -> Iterator[tuple[str, str]]:
    """Yields what to tell a person, in pieces: each with the severity whose colour it gets, or none."""
    saved = f"{report.exceptions} exceptions" if report.written else f"would have {report.exceptions} exceptions"
    numbers = [saved, f"{report.lost_records} lost", f"{report.doubtful_records} doubtful"]
    room = f"{readable_size(report.size_bytes)}, chunks of {readable_size(report.chunk_size_bytes)}"
    yield "", f"{printable(new)}: {', '.join(numbers)}; {room}\n"
    yield from finding_lines(report.findings)
    for line in _moment(report):
        yield "", f"{line}\n"
    for fates in _together(report.records()):
        first, last = fates
        what = "lost" if first.cow_chunk is None else "doubtful"
        yield "damage" if what == "lost" else "warning", what
        yield "", f": {_chunks(first, last)} ({_place(first, last)}): {first.kind.value}\n"
    if report.rest_doubtful:
        yield "warning", "doubtful"
        yield "", ": every chunk without a copy; it shows what the origin holds now\n"


def _moment(report: RepairReport) -> Iterator[str]:
    """What is known of when an invalid store became so."""
    last = report.last_record
    if last is None:
        return
    place = f"area {last.area}, record {last.index}, at byte {last.offset_bytes}"
    yield f"became invalid after its last record, for origin chunk {last.origin_chunk} ({place});"
    yield f"    {last.left_chunks} chunks were left; what was written to the origin from then on is in no copy"


def _together(fates: Iterator[RecordFate]) -> Iterator[tuple[RecordFate, RecordFate]]:
    """Yields the first and the last of records in a row with the same fate, for chunks in a row."""

    def key(numbered: tuple[int, RecordFate]) -> tuple[object, ...]:
        number, fate = numbered
        moved = (fate.number - number, _minus(fate.origin_chunk, number), _minus(fate.cow_chunk, number))
        return (*moved, fate.kind, fate.area)

    for _, group in groupby(enumerate(fates), key):
        members = [fate for _, fate in group]  # of one area
        yield members[0], members[-1]


def _minus(chunk: int | None, number: int) -> int | None:
    return None if chunk is None else chunk - number


def _chunks(first: RecordFate, last: RecordFate) -> str:
    if first.origin_chunk is None:
        return "nobody knows which origin chunk"
    chunks = _range("origin chunk", first.origin_chunk, last.origin_chunk)
    if first.cow_chunk is None:
        return chunks
    return f"{chunks}, from {_range('chunk', first.cow_chunk, last.cow_chunk)} of the store"


def _range(what: str, first: int, last: int | None) -> str:
    return f"{what} {first}" if last in (None, first) else f"{what}s {first}-{last}"


def _place(first: RecordFate, last: RecordFate) -> str:
    return f"area {first.area}, {_range('record', first.index, last.index)}, at byte {first.offset_bytes}"
