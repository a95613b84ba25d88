"""``dmsnap lvm ls``: what groups and volumes there are in images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import dmsnap
from dmsnap.cli.options import PATH, json_option, verb
from dmsnap.cli.output import flush_results, print_json, print_warning, result_stream
from dmsnap.cli.text import printable, readable_size

if TYPE_CHECKING:
    from dmsnap.library.volumes.listing import GroupListing
    from dmsnap.library.volumes.rows import GroupRow, VolumeRow

COLUMNS = ("volume", "attr", "type", "size", "origin", "chunk", "data%", "on")
TO_THE_RIGHT = ("size", "chunk", "data%")


@verb("ls")
@click.argument("images", metavar="IMAGE...", type=PATH, nargs=-1, required=True)
@click.option("-a", "--all", "hidden", is_flag=True, help="Hidden volumes too: the images and logs of mirrors, pools …")
@json_option
def command(images: tuple[str, ...], hidden: bool, as_json: bool) -> None:
    """List the volume groups in each IMAGE: a disk or a physical volume, as file, block device or nbd:// address.

    A group that lies on several disks is put together from all of them. Of snapshots it says what lvs would as Data%.
    With --json the fields are those of 'lvs --reportformat json'.

    What is odd or missing is told on stderr; the exit status is 0 all the same.
    """
    listing = dmsnap.list_volumes(images, hidden=hidden, segments=as_json)
    if as_json:
        print_json(listing.to_json())
        return
    result_stream().write("\n".join(map(text_of, listing.groups)))
    flush_results()
    for finding in listing.findings:
        print_warning(finding.message)
    if not listing.groups:
        print_warning(f"{', '.join(images)}: no LVM2 volume group")


def text_of(listing: GroupListing) -> str:
    """A group and its volumes, one line each."""
    rows = [list(COLUMNS)]
    rows += map(_cells, listing.volumes)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_heading(listing.group)]
    for row in rows if len(rows) > 1 else []:
        cells = [
            cell.rjust(width) if name in TO_THE_RIGHT else cell.ljust(width)
            for name, cell, width in zip(COLUMNS, row, widths, strict=True)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "".join(line + "\n" for line in lines)


def _heading(group: GroupRow) -> str:
    count, missing = int(group.pv_count), int(group.vg_missing_pv_count)
    text = f"{group.vg_name}: {readable_size(int(group.vg_size))} in extents of "
    text += f"{readable_size(int(group.vg_extent_size))}, {readable_size(int(group.vg_free))} free, on {count} "
    text += "physical volume" + ("" if count == 1 else "s")
    return printable(text + (f", {missing} of them missing" if missing else ""))


def _cells(row: VolumeRow) -> list[str]:
    """A volume as one line, whatever segments it has."""
    more = int(row.seg_count) - 1
    return [
        printable(cell)
        for cell in (
            row.lv_name,
            row.lv_attr,
            row.segtype,
            readable_size(int(row.lv_size)),
            row.origin,
            readable_size(int(row.chunk_size)) if int(row.chunk_size) else "",
            row.data_percent,
            row.devices + (f" and {more} more" if more else ""),
        )
    ]
