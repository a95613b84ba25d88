"""Mapped devices by name: ``dmsetup`` as a library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.target.exceptions import SyncMode
from dmsnap.target.stack.context import TableContext
from dmsnap.target.stack.device_table import DeviceTable, TargetType
from dmsnap.target.stack.mapped_device import MappedDevice
from dmsnap.target.stack.merge_target import MergeTarget
from dmsnap.target.stack.origin_target import OriginTarget
from dmsnap.target.stack.plain_targets import ErrorTarget, LinearTarget, StripedTarget, ZeroTarget
from dmsnap.target.stack.refusals import DeviceBusy, DeviceExists, NoSuchDevice
from dmsnap.target.stack.shared import Names, Shared
from dmsnap.target.stack.snapshot_target import SnapshotTarget
from dmsnap.target.stack.table_text import TableLine, parse_table
from dmsnap.target.table import BadDeviceName

__all__ = ["Stack"]

_NAME_BYTES = 127  # DM_NAME_LEN less its final zero byte

_TYPES: Mapping[str, TargetType] = {
    target.type: target
    for target in (
        *(LinearTarget, StripedTarget, ZeroTarget, ErrorTarget),
        *(SnapshotTarget, OriginTarget, MergeTarget),
    )
}


class Stack:
    """Devices made of table lines, as device-mapper makes them; for any number of threads.

    The lines are those of ``dmsetup``, one or more in a table. A device they name is one of the stack (``NAME`` or
    ``/dev/mapper/NAME``), or else what ``open_device`` gives for the name. Errors are the kernel's: an exception's
    message has its words, its ``errno`` is what the ioctl answers.

    Args:
        open_device: Gives the devices from outside, each once, when a table first names it, and again if it was closed
            since. They stay the caller's to close, after the stack; for files that may be
            ``lambda path: exits.enter_context(open_device(path, writable=True))`` with an ``ExitStack``.
        sync: Of snapshots; see `dmsnap.target.exceptions`.
        prefetch: Of snapshots; see `dmsnap.store.open_store`.
    """

    def __init__(
        self,
        open_device: Callable[[str], BlockDevice],
        *,
        sync: SyncMode = "flush",
        prefetch: str | int = "auto",
    ) -> None:
        self._names = Names(open_device)
        self._shared = Shared(self._names, sync, prefetch)

    # -- making and removing ------------------------------------------------------------------------------------------

    def create(self, name: str, table: str = "", *, read_only: bool = False) -> BlockDevice:
        """Makes a device, loads its table and resumes it; if that fails, it is gone again.

        Args:
            name: Of the new device.
            table: Its lines; without any, it has no table yet.
            read_only: Refuse writes.

        Returns:
            The device; it stays the stack's.

        Raises:
            BadDeviceName, DeviceExists, BadTableText, TableRefused: As their names say.
        """
        lines = parse_table(table)
        _check_name(name)
        with self._names.lock:
            if name in self._names.mapped:
                raise DeviceExists(f"{name}: exists already", hint="remove it, or load another table", device=name)
            device = self._names.mapped[name] = MappedDevice(name)
        if lines:
            try:
                self._load(device, lines, read_only=read_only)
                self.resume(name)
            except BaseException:
                self._take_down(device)
                raise
        return device

    def load(self, name: str, table: str, *, read_only: bool = False) -> None:
        """Loads a table, which the next `resume` makes live, in the place of one that was loaded before.

        Raises:
            NoSuchDevice, BadTableText, TableRefused: As their names say; then nothing has changed.
        """
        lines = parse_table(table)
        self._load(self._find(name), lines, read_only=read_only)

    def _load(self, device: MappedDevice, lines: list[TableLine], *, read_only: bool) -> None:
        with device.changing:
            if device.closed:
                raise _no_device(device.name)
            table = DeviceTable(TableContext(self._shared, device, read_only=read_only), lines, _TYPES)
            if not device.checked_before:  # a later one is checked when it is resumed: what is below may change until
                _checked(table)
                device.checked_before = True
            before, device.inactive = device.inactive, table
            if before is not None:
                before.destroy()

    def remove(self, name: str) -> None:
        """Removes a device, once its requests in flight are done; those that wait for a resume fail.

        Raises:
            NoSuchDevice: There is none.
            DeviceBusy: A table, loaded or live, of another device uses it.
            TableRefused: The host has no room for what a snapshot still has to write. The device is suspended and can
                be removed when there is.
            DmsnapError: A target could not end as it should; the device is gone nevertheless.
        """
        device = self._find(name)
        with device.changing:
            if not device.users:  # else it stays as it is
                device.suspend()
                if device.live is not None:
                    device.live.settle()
            self._take_down(device)

    def close(self) -> None:
        """Removes all devices, those on top first, and whatever happens.

        Raises:
            DmsnapError: As `remove`; the first such.
        """
        errors = []
        while devices := self._unused():
            for device in devices:
                try:
                    self._take_down(device)
                except DmsnapError as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def _unused(self) -> list[MappedDevice]:
        with self._names.lock:
            return [device for device in reversed(self._names.mapped.values()) if not device.users]

    def _take_down(self, device: MappedDevice) -> None:
        with device.changing:
            with self._names.lock:
                if device.users:
                    hint = "remove them first"
                    raise DeviceBusy(f"{device.name}: other devices are built on it", hint=hint, device=device.name)
                if self._names.mapped.get(device.name) is not device:
                    raise _no_device(device.name)
                del self._names.mapped[device.name]
            device.suspend()
            device.close()
            tables = [table for table in (device.inactive, device.live) if table is not None]
            device.inactive = device.live = None
            _destroy(tables)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- running ------------------------------------------------------------------------------------------------------

    def suspend(self, name: str) -> None:
        """Waits for the requests in flight; later ones wait until `resume`.

        Raises:
            NoSuchDevice: There is none.
        """
        self._find(name).suspend()

    def resume(self, name: str) -> None:
        """Makes a table that was loaded live, suspending the device for that, and lets requests go on.

        Raises:
            NoSuchDevice, NoTable: As their names say.
            TableRefused: The table does not fit its devices, and is dropped; or a target cannot be started; or the host
                has no room for what the table before has to write, and the table goes on waiting. The device is
                suspended then.
            DmsnapError: A target of the table before could not end as it should; the new one is live nevertheless.
        """
        device = self._find(name)
        with device.changing:
            before = None
            if (table := device.inactive) is not None:
                device.suspend()
                if device.live is not None:
                    device.live.settle()
                table.prepare()
                device.inactive = None
                before = device.swap(_checked(table))
            try:
                device.resume()
            finally:
                if before is not None:
                    before.destroy()

    # -- asking -------------------------------------------------------------------------------------------------------

    def device(self, name: str) -> BlockDevice:
        """Returns a device, to be read and written; it stays the stack's.

        Raises:
            NoSuchDevice: There is none.
        """
        return self._find(name)

    def names(self) -> list[str]:
        """Returns the names of all devices, in the order of their creation."""
        return list(self._names.mapped)

    def status(self, name: str) -> str:
        """Returns the lines of ``dmsetup status``, empty without a table.

        Raises:
            NoSuchDevice: There is none.
        """
        live = self._find(name).live
        return "" if live is None else live.status()

    def table(self, name: str) -> str:
        """Returns the lines of ``dmsetup table``, with the names given where that prints the numbers of devices.

        Raises:
            NoSuchDevice: There is none.
        """
        live = self._find(name).live
        return "" if live is None else live.table()

    def _find(self, name: str) -> MappedDevice:
        device = self._names.mapped_device(name)
        if device is None:
            raise _no_device(name)
        return device


def _no_device(name: str) -> NoSuchDevice:
    return NoSuchDevice(f"no device named {name[:80]!r}", hint="create it", device=name)


def _checked(table: DeviceTable) -> DeviceTable:
    try:
        table.check_areas()
    except BaseException:
        table.destroy()
        raise
    return table


def _destroy(tables: list[DeviceTable]) -> None:
    """Lets go of tables, all of them, and raises the first error."""
    errors = []
    for table in tables:
        try:
            table.destroy()
        except DmsnapError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _check_name(name: str) -> None:
    """Refuses a name that ``dmsetup`` or the kernel does not take."""
    if not name:
        words = "name not supplied when creating device"
    elif "/" in name or "\0" in name:
        words = f'Name "{name[:80]}" invalid. It contains "/".'
    elif len(name.encode(errors="surrogateescape")) > _NAME_BYTES:
        words = f'Name "{name[:80]}…" too long.'
    else:
        return
    raise BadDeviceName(words, hint=f"use 1 to {_NAME_BYTES} bytes without a slash", name=name)
