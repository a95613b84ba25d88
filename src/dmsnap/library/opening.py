"""From what a caller names (a path, a device) to an open block device and an open store."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dmsnap.block.contract import BlockDevice, ReadOnlyDevice
from dmsnap.block.medium import printable
from dmsnap.block.open import open_device
from dmsnap.errors import DmsnapError
from dmsnap.library.origin_doubts import begins_as_store
from dmsnap.library.source import Source, path_of
from dmsnap.library.volumes.address import is_lvm_address
from dmsnap.store import NotAStore, Store, open_store

if TYPE_CHECKING:
    from dmsnap.library.tracing.trace import Trace

__all__ = ["SameDevice", "open_origin_and_store", "open_source", "open_store_of", "refuse_same"]


class SameDevice(DmsnapError, ValueError):
    """COW store and origin, or two stores, are one and the same."""


def open_store_of(
    cow: Source,
    stack: ExitStack,
    *,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    origin: BlockDevice | None = None,
    writable: bool = False,
) -> Store:
    """Opens a store; what is opened is closed by ``stack``.

    Args:
        cow: The COW store.
        stack: Takes over what is opened here.
        prefetch: How the metadata is read; see `dmsnap.store.open_store`.
        trace: Records that.
        origin: Where it is known: records beyond it become findings.
        writable: Open its device for writing too, and keep other writers away; else to look only.

    Raises:
        DmsnapError: The path cannot be opened (so), or there is no store that can be read.
    """
    device = open_source(cow, stack, writable=writable)
    load = None if trace is None else trace.new_load()
    if origin is None:
        return open_store(device, prefetch=prefetch, trace=load)
    return open_store(
        device,
        prefetch=prefetch,
        trace=load,
        origin_size_bytes=origin.size_bytes,
        origin_block_size_bytes=origin.logical_block_size_bytes,
    )


def open_origin_and_store(
    cow: Source,
    origin: Source | None,
    stack: ExitStack,
    *,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    write_cow: bool = False,
    write_origin: bool = False,
) -> tuple[BlockDevice, Store]:
    """Opens both parts of a snapshot, as `open_store_of`; each for writing or to look only.

    A snapshot that is a logical volume brings its origin, unless another one is named.

    Raises:
        NoOrigin: No origin was named, and the store is no such volume.
        SameDevice: They are the same medium, by whatever names, loop devices among them; where one is to be written
            to, also if one lies on the other.
    """
    from dmsnap.library.volumes.opened import OpenVolumes
    from dmsnap.library.volumes.sources import snapshot_sources

    volumes = OpenVolumes(stack)
    cow, origin, _ = snapshot_sources(cow, origin, volumes, write_cow=write_cow, write_origin=write_origin)
    below = open_source(origin, stack, writable=write_origin)
    refuse_same(
        cow,
        below,
        "COW device cannot be the same as origin device",
        "name the device that the snapshot was taken of as origin",
        parts=write_cow or write_origin,
    )
    try:
        return below, open_store_of(cow, stack, prefetch=prefetch, trace=trace, origin=below, writable=write_cow)
    except NotAStore as error:
        if begins_as_store(below):
            error.hint = "SNAP and ORIGIN swapped? the origin begins as a store does"
        raise


def refuse_same(source: Source, device: BlockDevice, what: str, hint: str, *, parts: bool) -> None:
    """Does nothing unless a source, which need not be open, is the same medium as a device.

    Asked before the source is opened, since a lock on the one would be in the way of the other.

    Args:
        source: What is to be opened.
        device: What is open.
        what: The message, after the source's name.
        hint: And the hint.
        parts: Refuse also if one lies on the other.

    Raises:
        SameDevice: They are, by whatever names.
    """
    if source is device or _share(source, device, parts=parts):
        name = source.name if isinstance(source, BlockDevice) else printable(os.fspath(source))
        raise SameDevice(f"{name}: {what}", hint=hint, device=name)


def open_source(source: Source, stack: ExitStack, *, writable: bool = False) -> BlockDevice:
    """Opens a device, and of a logical volume its own storage; what is opened is closed by ``stack``.

    Raises:
        DmsnapError: It cannot be opened (so).
    """
    if is_lvm_address(source):
        from dmsnap.library.volumes.opened import OpenVolumes  # much to import, for what most sources are not
        from dmsnap.library.volumes.sources import store_source

        source = store_source(source, OpenVolumes(stack), writable=writable)
    if not isinstance(source, BlockDevice):
        return stack.enter_context(open_device(source, writable=writable, exclusive=writable))
    if writable and source.read_only:
        raise ReadOnlyDevice(f"{source.name}: opened read-only", hint="open it for writing", device=source.name)
    return source


def _share(source: Source, device: BlockDevice, *, parts: bool) -> bool:
    """Whether two are the same medium; of devices that are made of parts, as far as others are not."""
    path = path_of(source) if isinstance(source, BlockDevice) else os.fspath(source)
    if path is None and path_of(device) is None:  # parts of one image, as volumes are
        return False
    mine = [path] if path is not None or not isinstance(source, BlockDevice) else _paths_below(source, parts=parts)
    others = _paths_below(device, parts=parts)
    return any(_same(one, other, parts=parts) for one in mine if one is not None for other in others)


def _paths_below(device: BlockDevice, *, parts: bool) -> list[str]:
    path = path_of(device)
    if path is not None:
        return [path]
    if not parts:
        return []
    from dmsnap.transfer.media import files_below

    return [file.path for file in files_below(device)]


def _same(one: str, other: str, *, parts: bool) -> bool:
    from dmsnap.transfer.media import overlapping, same_medium  # where there is but a store there is nothing to compare

    try:
        statuses = os.stat(one), os.stat(other)  # noqa: PTH116
    except (OSError, ValueError):  # opening it says why
        return False
    return overlapping(*statuses) if parts else same_medium(*statuses)
