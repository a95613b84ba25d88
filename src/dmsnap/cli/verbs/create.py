"""``dmsnap create``: a new, empty store."""

from __future__ import annotations

import click

import dmsnap
from dmsnap.cli.options import PATH, verb
from dmsnap.cli.output import result_stream
from dmsnap.cli.sizes import size_callback
from dmsnap.cli.text import printable, readable_size


@verb("create")
@click.argument("cow", metavar="COW", type=PATH)
@click.option("--size", metavar="SIZE", callback=size_callback, required=True, help="The size of the store: 64M, 10G.")
@click.option(
    "--chunk-size",
    metavar="SIZE",
    callback=size_callback,
    default="16K",
    show_default=True,
    help="A power of two from 512b to 1G.",
)
def command(cow: str, size: int, chunk_size: int) -> None:
    """Make the new file COW an empty store, byte for byte as Linux makes it on a zeroed device.

    The file is sparse: it takes up space as the snapshot grows. A file that exists is left alone. Sizes are to base
    1024: 64K, 1.5G; also 4096b (bytes) and 2048s (sectors of 512 bytes).
    """
    dmsnap.create(cow, size, chunk_size)
    result_stream().write(
        f"{printable(cow)}: an empty store of {readable_size(size)}, chunks of {readable_size(chunk_size)}\n"
    )
