"""The table of a mapped device: its targets, in the order of their sectors, built with the kernel's checks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.target.stack.context import TableContext
from dmsnap.target.stack.refusals import TableRefused, TargetRefused
from dmsnap.target.stack.table_text import TableLine
from dmsnap.target.stack.target import Area, Target

__all__ = ["DeviceTable", "TargetType"]

TargetType = Callable[[TableContext, int, int, Sequence[str]], Target]

_MAX_SECTORS = (1 << 63) - 1 >> 9  # what a signed 64-bit offset in bytes reaches


class DeviceTable:
    """Targets from sector 0 on, without gaps.

    Args:
        context: What they are built in.
        lines: At least one.
        types: What the lines may name.

    Attributes:
        context: As given.
        targets: In order.
        single: The target, where there is but one.
        size_bytes: Of all of them.
        logical_block_size_bytes: The largest of all devices below.

    Raises:
        TableRefused: With the kernel's words; what was built so far is gone.
    """

    def __init__(self, context: TableContext, lines: Sequence[TableLine], types: Mapping[str, TargetType]) -> None:
        self.context = context
        self.targets: list[Target] = []
        self.size_bytes = 0
        self.logical_block_size_bytes = SECTOR_BYTES
        try:
            if not lines:
                raise self._refused(TargetRefused("no targets specified"))
            for line in lines:
                self._add(line, types)
        except BaseException:
            self.destroy()
            raise
        self._starts = [target.start * SECTOR_BYTES for target in self.targets]
        self._stops = [*self._starts[1:], self.size_bytes]
        self.single = self.targets[0] if len(self.targets) == 1 else None
        self.flushed: list[BlockDevice] = []

    def _add(self, line: TableLine, types: Mapping[str, TargetType]) -> None:
        if not line.length:
            raise self._refused(TargetRefused("zero-length target"))
        if line.start + line.length > _MAX_SECTORS:
            raise self._refused(TargetRefused("too large device"))
        make = types.get(line.type)
        if make is None:
            hint = f"use {', '.join(sorted(types))}"
            raise self._refused(TargetRefused(f"{line.type[:80]}: unknown target type", hint=hint))
        try:
            if line.start * SECTOR_BYTES != self.size_bytes:
                hint = f"after the line before, the next sector is {self.size_bytes // SECTOR_BYTES}"
                raise TargetRefused("Gap in table", hint=hint)
            self.targets.append(make(self.context, line.start, line.length, line.arguments))
        except TargetRefused as refused:
            raise self._refused(refused, line.type) from refused
        self.size_bytes += line.length * SECTOR_BYTES

    def _refused(self, refused: TargetRefused, kind: str = "") -> TableRefused:
        words = f"{kind}{kind and ': '}{refused.message}"
        name = self.context.mapped.name
        return TableRefused(name, words, refused.errno, reason=refused.reason, hint=refused.hint)

    # -- checks -------------------------------------------------------------------------------------------------------

    def check_areas(self) -> None:
        """Checks that what the targets need is there, as the kernel does before a table can be used.

        Raises:
            TableRefused: A device is too small, or something is not in whole logical blocks.
        """
        blocks = []
        for target in self.targets:
            areas = target.areas()
            blocks.append(max((area.device.logical_block_size_bytes for area in areas), default=SECTOR_BYTES))
            for area in areas:
                self._check_area(area, blocks[-1])
        self.logical_block_size_bytes = max(blocks)
        self._check_alignment(blocks)

    def _check_area(self, area: Area, block_bytes: int) -> None:
        size = area.device.size_bytes // SECTOR_BYTES
        if area.start + area.length > size:
            words = f"{area.name} too small for target: start={area.start}, len={area.length}, dev_size={size}"
            raise self._refused(TargetRefused(words, hint="in sectors of 512 bytes"))
        for word, sectors in (("start", area.start), ("len", area.length)):
            if sectors * SECTOR_BYTES % block_bytes:
                words = f"{word}={sectors} not aligned to h/w logical block size {block_bytes} of {area.name}"
                raise self._refused(TargetRefused(words))

    def _check_alignment(self, blocks_bytes: Sequence[int]) -> None:
        """Checks that a logical block across targets, one of the mapped device's, can be addressed in each of them."""
        left_sectors = 0  # of a block that began in a target before
        whole = self.logical_block_size_bytes // SECTOR_BYTES
        number = 0
        for target, block in zip(self.targets, blocks_bytes, strict=True):
            if left_sectors < target.length and left_sectors * SECTOR_BYTES % block:
                break
            left_sectors = -(target.start + target.length) % whole
            number += 1
        if left_sectors:
            words = f"table line {number} (start sect {target.start} len {target.length})"
            words = f"{words} not aligned to h/w logical block size {self.logical_block_size_bytes}"
            raise self._refused(TargetRefused(words))

    # -- life ---------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Makes sure that the targets can follow those of the table before.

        Raises:
            TableRefused: One cannot now.
        """
        self._each(lambda target: target.prepare())

    def resume(self) -> None:
        """Starts the targets.

        Raises:
            TableRefused: One cannot be started; none was.
        """
        self._each(lambda target: target.preresume())
        for target in self.targets:
            target.resume()
        below = {id(device): device for target in self.targets for device in target.flushed()}
        self.flushed = list(below.values())

    def settle(self) -> None:
        """Has the targets make durable what they keep in memory.

        Raises:
            TableRefused: The host has no room for it; it can be tried again.
        """
        self._each(lambda target: target.settle())

    def _each(self, act: Callable[[Target], None]) -> None:
        for target in self.targets:
            try:
                act(target)
            except TargetRefused as refused:
                raise self._refused(refused, target.type) from refused

    def presuspend(self) -> None:
        """Tells the targets that they are about to be suspended."""
        for target in self.targets:
            target.presuspend()

    def postsuspend(self) -> None:
        """Tells the targets that no request is left."""
        for target in self.targets:
            target.postsuspend()

    def destroy(self) -> None:
        """Lets go of the targets, and of the devices they use.

        Raises:
            DmsnapError: One could not end as it should, the first such; all of them are gone nevertheless.
        """
        errors = []
        for target in self.targets:
            try:
                target.destroy()
            except DmsnapError as error:
                errors.append(error)
        self.targets = []
        self.context.release()
        if errors:
            raise errors[0]

    # -- requests and words -------------------------------------------------------------------------------------------

    def pieces(self, offset: int, length: int) -> Iterator[tuple[Target, int, int]]:
        """Yields what targets a range lies in, with its first byte in each and the byte after its last."""
        return ((self.targets[number], begin, end) for number, begin, end in self.numbered_pieces(offset, length))

    def numbered_pieces(self, offset: int, length: int) -> Sequence[tuple[int, int, int]]:
        """Returns the same with the numbers of the targets."""
        number = bisect_right(self._starts, offset) - 1
        end = offset + length
        if end <= self._stops[number]:
            return ((number, offset, end),)
        pieces = []
        while offset < end:
            stop = min(end, self._stops[number])
            pieces.append((number, offset, stop))
            offset = stop
            number += 1
        return pieces

    def status(self) -> str:
        """Returns the lines of ``dmsetup status``."""
        return "\n".join(f"{target.start} {target.length} {target.type} {target.status()}" for target in self.targets)

    def table(self) -> str:
        """Returns the lines of ``dmsetup table``, with names where the kernel has numbers of devices."""
        return "\n".join(f"{target.start} {target.length} {target.type} {target.table()}" for target in self.targets)
