"""``dmsnap lvm``: LVM2 volumes in images; its own verbs are modules in `dmsnap.cli.volumes`."""

from __future__ import annotations

import click

from dmsnap.cli.group import LazyGroup, debug_option
from dmsnap.cli.registry import Verb

VERBS = {
    "ls": Verb("dmsnap.cli.volumes.ls", "List groups, volumes and snapshots in images, with usage"),
    "size": Verb("dmsnap.cli.volumes.size", "Say how large the store of a snapshot can usefully be"),
}


@click.group(
    "lvm",
    cls=LazyGroup,
    verbs=VERBS,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="VERB [ARGS]...",
    no_args_is_help=False,
)
@debug_option
def command() -> None:
    """Look at LVM2 volumes in images, without LVM, root or activation.

    Wherever a verb of dmsnap takes a snapshot or its origin, a volume is lvm:VG/LV@IMAGE[,IMAGE...]; a snapshot brings
    its origin. An IMAGE is a physical volume, or a disk that has some in partitions; a comma in its name is doubled.
    """
