"""From an address, as people write it on a command line, to a device."""

from __future__ import annotations

import os
import re

from dmsnap.block.contract import BlockDevice
from dmsnap.block.file import FileDevice
from dmsnap.block.medium import CannotOpen, printable

__all__ = ["open_device"]

_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://|(?P<lvm>lvm):", re.ASCII | re.IGNORECASE)


def open_device(address: str | os.PathLike[str], *, writable: bool = False, exclusive: bool = False) -> BlockDevice:
    """Opens what an address names.

    Args:
        address: The path of a file or block device, or an export of an NBD server: ``nbd://HOST:PORT/EXPORT``,
            ``nbd+unix:///EXPORT?socket=PATH``, ``nbds://…``, ``nbds+unix://…``; see `NbdDevice`. What begins like
            ``nbd://`` or ``lvm:`` is not taken for a path; a file of such a name is reached with ``./`` before it, or
            as a `pathlib.Path`.
        writable: Also for writing.
        exclusive: Keep other writers away while it is open; see `FileDevice`. NBD has no means for that: there it
            asks for nothing, and the server's other clients are not noticed.

    Raises:
        CannotOpen: Not a file or block device, not there, not permitted, an address of a kind not supported, or an
            NBD server that does not answer or refuses.
        InUse: To be exclusive, and something else uses it.
    """
    if isinstance(address, str) and (match := _SCHEME.match(address)):
        kind = (match["lvm"] or match["scheme"]).lower()
        if kind in ("nbd", "nbds", "nbd+unix", "nbds+unix"):
            from dmsnap.block.nbd.device import NbdDevice

            return NbdDevice(address, writable=writable)
        raise CannotOpen(
            f"{printable(address)}: {kind} addresses cannot stand here",
            hint=f"give a path; a file of that name is ./{printable(address)}",
            device=address,
        )
    return FileDevice(os.fspath(address), writable=writable, exclusive=exclusive)
