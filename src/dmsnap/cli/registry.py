"""The verbs: where each lives and its one line in ``dmsnap --help``, known without importing any of them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["VERBS", "Verb"]


class Verb(NamedTuple):
    """A verb that is loaded when it is used.

    Attributes:
        module: What to import; its attribute ``command`` is the click command.
        help: One line, without a full stop, for the list of verbs.
    """

    module: str
    help: str


VERBS = {
    "demo": Verb("dmsnap.cli.verbs.demo", "Show a whole life of a snapshot on generated data"),
    "info": Verb("dmsnap.cli.verbs.info", "Explain a store: geometry, usage, areas, findings"),
    "status": Verb("dmsnap.cli.verbs.status", "Print the kernel's status words for a store"),
    "table": Verb("dmsnap.cli.verbs.table", "Print the dmsetup commands that activate it"),
    "map": Verb("dmsnap.cli.verbs.map", "List which byte ranges of the origin changed"),
    "export": Verb("dmsnap.cli.verbs.export", "Write the snapshot's content as a raw image"),
    "serve": Verb("dmsnap.cli.verbs.serve", "Serve snapshots and their origin to NBD clients"),
    "mount": Verb("dmsnap.cli.verbs.mount", "Show a snapshot as a file, for any program, by FUSE"),
    "merge": Verb("dmsnap.cli.verbs.merge", "Write a snapshot back into its origin"),
    "check": Verb("dmsnap.cli.verbs.check", "Find what is wrong with a store, and say what to do"),
    "repair": Verb("dmsnap.cli.verbs.repair", "Save what can be saved of a damaged or invalid store"),
    "lvm": Verb("dmsnap.cli.verbs.lvm", "List the LVM2 volumes in images; size their snapshots"),
    "compact": Verb("dmsnap.cli.verbs.compact", "Write the smallest store with the same content"),
    "diff": Verb("dmsnap.cli.verbs.diff", "List what differs between two snapshots of one origin"),
    "simulate": Verb("dmsnap.cli.verbs.simulate", "Show load time by prefetch depth, on simulated drives"),
    "tune": Verb("dmsnap.cli.verbs.tune", "Measure prefetch depth against load time, or predict that"),
    "dump": Verb("dmsnap.cli.verbs.dump", "Write down what a store holds, as XML, JSON or packed"),
    "restore": Verb("dmsnap.cli.verbs.restore", "Make a store of a dump, byte for byte as it was"),
    "create": Verb("dmsnap.cli.verbs.create", "Make a new, empty store"),
}
"""In the order in which a newcomer meets them."""
