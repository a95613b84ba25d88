"""``dmsnap lvm size``: how large the store of a snapshot can usefully be, by LVM's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import dmsnap
from dmsnap.cli.options import json_option, verb
from dmsnap.cli.output import print_json, result_stream
from dmsnap.cli.sizes import parse_size, size_callback
from dmsnap.cli.text import readable_size

if TYPE_CHECKING:
    from dmsnap.library.volumes.sizes import StoreSizes

SECTOR_BYTES = 512


def _extent_callback(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    return None if value is None else size_callback(context, parameter, value)


def _percent_callback(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """``20%ORIGIN`` or ``20%`` as 20."""
    if value is None:
        return None
    number = value.upper().removesuffix("ORIGIN").removesuffix("%")
    if not number.isascii() or not number.isdecimal() or len(number) > 9 or number == value:
        raise click.BadParameter(f"'{value}' is no share of the origin: give 20%ORIGIN, or 20%")
    return int(number)


@verb("size")
@click.argument("origin", metavar="ORIGIN|SIZE")
@click.option(
    "--chunk-size", metavar="SIZE", callback=size_callback, default="4K", show_default=True, help="4K to 512K."
)
@click.option(
    "--extent-size",
    metavar="SIZE",
    callback=_extent_callback,
    help="Of the volume group; default: that of ORIGIN's, else 4M.",
)
@click.option(
    "--percent", metavar="N%ORIGIN", callback=_percent_callback, help="What 'lvcreate -s -l N%ORIGIN' would make."
)
@click.option("--old-kernel", is_flag=True, help="For Linux before 3.14, which may lose a chunk in 64.")
@json_option
def command(
    origin: str, chunk_size: int, extent_size: int | None, percent: int | None, old_kernel: bool, as_json: bool
) -> None:
    """Say how large the COW volume of a snapshot of ORIGIN must be at least, and can usefully be at most.

    ORIGIN is a size (10G), a file or block device, or a volume in images, lvm:VG/LV@IMAGE. A store of the largest
    useful size never runs full, whatever is written; LVM cuts larger requests down to it.
    """
    sizes = dmsnap.store_sizes(
        _size_or_source(origin), chunk_size, extent_size_bytes=extent_size, percent=percent, kernel_leaks=old_kernel
    )
    if as_json:
        print_json(sizes.to_json())
    else:
        result_stream().write("".join(f"{name:<12}  {value}\n" for name, value in facts(sizes)))


def _size_or_source(text: str) -> int | str:
    try:
        return parse_size(text)
    except ValueError:
        return text


def facts(sizes: StoreSizes) -> list[tuple[str, str]]:
    """What to tell a person, as (name, value) in reading order."""
    extent = sizes.extent_size_bytes

    def extents(count: int) -> str:
        return (
            f"{readable_size(count * extent)} ({count:,} extent{'' if count == 1 else 's'} of {readable_size(extent)})"
        )

    rows = [
        ("origin", readable_size(sizes.origin_bytes)),
        ("chunks of", readable_size(sizes.chunk_size_bytes)),
        ("at least", extents(sizes.minimum_extents)),
        ("at most", extents(sizes.largest_extents)),
        ("of use", f"{readable_size(sizes.largest_bytes)} ({sizes.largest_chunks:,} chunks)"),
    ]
    if sizes.percent is not None and sizes.percent_extents is not None:
        rows.append((f"{sizes.percent}%ORIGIN", extents(sizes.percent_extents)))
    return rows
