"""What is served: an origin and its snapshots, opened together, so that each is right whatever the others do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from dmsnap.block.contract import BlockDevice
from dmsnap.block.medium import CannotOpen, InUse, printable
from dmsnap.block.nbd.uri import NBD_SCHEMES, parse_nbd_uri
from dmsnap.block.nbd.wire import MOST_DATA_BYTES, MOST_NAME_BYTES
from dmsnap.block.open import open_device
from dmsnap.block.wrap.read_only import ReadOnlyWrapper
from dmsnap.errors import DmsnapError
from dmsnap.library.opening import refuse_same
from dmsnap.library.origin_doubts import Warn, judge_origin
from dmsnap.library.snapshot_file import SnapshotFile, WhenFull, WritableSnapshotFile, open_snapshot
from dmsnap.library.source import Source, path_of
from dmsnap.library.tracing.trace import Trace
from dmsnap.library.volumes.address import is_lvm_address, parse_lvm_address
from dmsnap.library.volumes.served import served_sources
from dmsnap.serve.nbd import Export
from dmsnap.target.exceptions import SyncMode
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.snapshot import refuse_invalid

__all__ = ["ORIGIN", "BadName", "Parts", "Snap", "export_names"]

Snap = Source | tuple[str, Source]
"""A COW store, exported by the stem of its file's name (or its own export's); or the name to use instead, and it."""

ORIGIN = "origin"
"""The name that the origin is exported by."""

DIRTY_BITMAP = "snapshot"
"""What changed since the snapshot was taken is ``qemu:dirty-bitmap:snapshot``."""

_NAMELESS = "snapshot"
"""The name of a store behind NBD whose own export has none; `dmsnap.mount` calls it the same."""

_WAY_OUT = "'dmsnap export --force' writes what can be read"


class BadName(DmsnapError, ValueError):
    """Two exports would have the same name, or one a name that cannot be."""


def export_names(snaps: Iterable[Snap]) -> dict[str, Source]:
    """Returns each store by the name of its export.

    Raises:
        BadName: A name is taken, empty or too long, or there are no stores at all.
    """
    pairs = [snap if isinstance(snap, tuple) else (_stem(snap), snap) for snap in snaps]
    if not pairs:
        raise BadName("no snapshot to serve", hint="name the COW store of at least one")
    named: dict[str, Source] = {}
    for name, snap in pairs:
        if name == ORIGIN:
            raise BadName(f"{_text(snap)}: '{ORIGIN}' is the export of the origin itself", hint=_give_a_name(snap))
        if not name:
            raise BadName(f"{_text(snap)}: has no name to be exported by", hint=_give_a_name(snap))
        if name in named and _text(named[name]) == _text(snap):
            raise BadName(f"{_text(snap)}: named twice", hint="name each store once")
        if name in named:
            raise BadName(f"{_text(named[name])} and {_text(snap)} would both be '{name}'", hint=_give_a_name(snap))
        if len(name.encode("utf-8", "replace")) > MOST_NAME_BYTES or not name.isprintable():
            raise BadName(f"{_text(snap)}: cannot be exported as '{printable(name)}'", hint=_give_a_name(snap))
        named[name] = snap
    return named


def _give_a_name(snap: Source) -> str:
    return f"give it a name: NAME={_text(snap)}"


def _text(source: Source) -> str:
    return source.name if isinstance(source, BlockDevice) else printable(str(source))


def _stem(source: Source) -> str:
    if is_lvm_address(source):
        return parse_lvm_address(source).volume
    path = (path_of(source) or source.name) if isinstance(source, BlockDevice) else source
    if isinstance(path, str) and path.partition("://")[0].lower() in NBD_SCHEMES:
        path = parse_nbd_uri(path).export.decode("utf-8", "backslashreplace") or _NAMELESS
    stem = Path(path).stem
    return stem if stem.isprintable() else ascii(stem)[1:-1]


class Parts:
    """An origin and its snapshots, open.

    Args:
        snaps: The stores by the names of their exports.
        origin: What all of them were taken of; None where LVM2 knows it.
        stack: Takes over what is opened here: the snapshots are closed before the origin.
        read_only: Open everything to look only.
        sync: When writes to a snapshot become durable.
        full: What becomes of a write that a store has no room for.
        prefetch: How the stores' areas are read.
        trace: Records how the stores are loaded.
        warn: Told what is doubtful, when it is opened and, from any thread, while it is used.

    Attributes:
        origin: The device that the snapshots read; None where there are none, but other volumes.
        volumes: Logical volumes that are no snapshots, by name.
        snapshots: By name.
        lost: Why snapshots were invalidated since, by name.

    Raises:
        DmsnapError: As `dmsnap.open_snapshot`; or a store is the origin, or named twice.
    """

    def __init__(
        self,
        snaps: Mapping[str, Source],
        origin: Source | None,
        stack: ExitStack,
        *,
        read_only: bool,
        sync: SyncMode,
        full: WhenFull,
        prefetch: str | int,
        trace: Trace | None,
        warn: Warn,
    ) -> None:
        self.origin: BlockDevice | None
        self.snapshots: dict[str, SnapshotFile | WritableSnapshotFile] = {}
        self.lost: dict[str, str] = {}
        self._live = OriginSnapshots()
        self._warn = warn
        doubts: list[str] = []
        served = served_sources(snaps, origin, stack, read_only=read_only)
        doubts += served.doubts
        self.volumes = served.plain
        self.origin = None
        if served.origin is not None:
            self.origin = _open_origin(served.origin, stack, read_only=read_only, warn=doubts.append)
        for name, cow in served.snaps.items():
            assert self.origin is not None
            for other in self.snapshots.values():
                refuse_same(cow, other.store.device, "named twice", "name each store once", parts=True)
            snapshot: SnapshotFile | WritableSnapshotFile
            size = served.sizes_bytes.get(name)
            if read_only:
                snapshot = stack.enter_context(
                    open_snapshot(cow, self.origin, prefetch=prefetch, trace=trace, size_bytes=size)
                )
                refuse_invalid(snapshot.store)
            else:
                snapshot = open_snapshot(
                    cow, self.origin, "r+", prefetch=prefetch, trace=trace, sync=sync, full=full, size_bytes=size
                )
                stack.enter_context(snapshot)
                snapshot.exceptions.on_invalid.append(partial(self._hear_lost, name, snapshot))
                self._live.add(snapshot.exceptions, snapshot.size_bytes)
            judge_origin(
                self.origin, snapshot.store, refuse=True, warn=None if self.snapshots else warn, way_out=_WAY_OUT
            )
            for finding in snapshot.store.findings[:1]:
                warn(f"{name}: what is damaged cannot be read: {finding.message}")
            self.snapshots[name] = snapshot
        for doubt in doubts:  # only now: the stores may be in use too, and that is the error to tell of
            warn(doubt)

    def exports(self) -> list[Export]:
        """Returns what to offer to clients; the origin comes last."""
        exports = [
            Export(name, volume, description=printable(f"volume {volume.name}"), read_only=volume.read_only)
            for name, volume in self.volumes.items()
        ]
        if self.origin is None:
            return exports
        exports += [
            Export(
                name,
                snapshot,
                description=printable(f"snapshot {snapshot.store.device.name} of {self.origin.name}"),
                read_only=snapshot.read_only,
                preferred_block_bytes=min(snapshot.store.chunk_size_bytes, MOST_DATA_BYTES),
                dirty_bitmap=DIRTY_BITMAP,
            )
            for name, snapshot in self.snapshots.items()
        ]
        origin = self.origin if self.origin.read_only else OriginDevice(self.origin, self._live)
        about = printable(f"origin {self.origin.name}")
        return [*exports, Export(ORIGIN, origin, description=about, read_only=origin.read_only)]

    def _hear_lost(self, name: str, snapshot: WritableSnapshotFile) -> None:
        self.lost[name] = snapshot.exceptions.invalid_because
        self._warn(f"{name}: this snapshot is lost: {self.lost[name]}")


def _open_origin(origin: Source, stack: ExitStack, *, read_only: bool, warn: Warn) -> BlockDevice:
    """Opens the origin for writing if that may be, else to look, which is enough for the snapshots."""
    if isinstance(origin, BlockDevice):
        return ReadOnlyWrapper(origin) if read_only and not origin.read_only else origin
    address = origin if isinstance(origin, str) else Path(origin)
    if read_only:
        return stack.enter_context(open_device(address))
    try:
        return stack.enter_context(open_device(address, writable=True, exclusive=True))
    except InUse as error:
        device = stack.enter_context(open_device(address))
        warn(f"{error.message}; '{ORIGIN}' is read-only, and who writes to it elsewhere makes the snapshots wrong")
    except CannotOpen as error:
        device = stack.enter_context(open_device(address))  # or it says what is wrong with it
        warn(f"{error.message}; '{ORIGIN}' is read-only")
    return device
