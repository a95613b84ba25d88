"""Programs for bufio: streams of instructions that several threads can run against one client.

The instructions are those with which dmtest-python drives the kernel's dm-bufio. A program has registers that hold
buffers; `Op.STAMP` fills the buffer of a register with a pattern that depends on the block and a value, and `Op.VERIFY`
checks it, so that each program knows what it ought to find. Registers that are still full at the end are put back.
"""

from __future__ import annotations

import enum
import struct
import threading
from collections.abc import Sequence
from typing import NamedTuple, Self

from dmsnap.bufio import Buffer, BufioClient
from dmsnap.errors import DmsnapError

__all__ = ["Instruction", "Op", "Program", "ProgramFailed", "pattern", "run", "run_together"]


class Op(enum.Enum):
    """What an instruction does; the words of dmtest-python."""

    NEW = "new"
    READ = "read"
    GET = "get"
    PREFETCH = "prefetch"
    PUT = "put"
    MARK_DIRTY = "mark dirty"
    WRITE_ASYNC = "write async"
    WRITE_SYNC = "write sync"
    FLUSH = "flush"
    FORGET = "forget"
    FORGET_RANGE = "forget range"
    STAMP = "stamp"
    VERIFY = "verify"


class Instruction(NamedTuple):
    """One step.

    Attributes:
        op: What to do.
        block: Which block, for those that name one.
        value: The value of a pattern, or how many blocks.
        register: Which register, for those that fill, use or empty one.
    """

    op: Op
    block: int = 0
    value: int = 0
    register: int = 0


class ProgramFailed(DmsnapError, AssertionError):
    """A program found what it must not find, or did not end in time."""


class Program(list[Instruction]):
    """Instructions in order, with a method to add each kind. Each returns the program."""

    def new(self, block: int, register: int = 0) -> Self:
        """Gets the buffer of a block without reading."""
        return self._add(Op.NEW, block, register=register)

    def read(self, block: int, register: int = 0) -> Self:
        """Gets the buffer of a block, read."""
        return self._add(Op.READ, block, register=register)

    def get(self, block: int, register: int = 0) -> Self:
        """Gets the buffer of a block if it is cached; else the register stays empty, and using it does nothing."""
        return self._add(Op.GET, block, register=register)

    def prefetch(self, block: int, count: int = 1) -> Self:
        """Starts reading blocks."""
        return self._add(Op.PREFETCH, block, count)

    def put(self, register: int = 0) -> Self:
        """Releases the buffer in a register."""
        return self._add(Op.PUT, register=register)

    def stamp(self, value: int, register: int = 0) -> Self:
        """Fills the buffer with the pattern of its block and a value, and marks it dirty."""
        return self._add(Op.STAMP, value=value, register=register)._add(Op.MARK_DIRTY, register=register)

    def verify(self, value: int, register: int = 0) -> Self:
        """Checks that the buffer holds the pattern of its block and a value."""
        return self._add(Op.VERIFY, value=value, register=register)

    def write_async(self) -> Self:
        """Starts writing everything dirty."""
        return self._add(Op.WRITE_ASYNC)

    def write_sync(self) -> Self:
        """Writes everything dirty, and flushes."""
        return self._add(Op.WRITE_SYNC)

    def flush(self) -> Self:
        """Flushes the device."""
        return self._add(Op.FLUSH)

    def forget(self, block: int) -> Self:
        """Forgets a block."""
        return self._add(Op.FORGET, block)

    def forget_range(self, block: int, count: int) -> Self:
        """Forgets blocks."""
        return self._add(Op.FORGET_RANGE, block, count)

    def _add(self, op: Op, block: int = 0, value: int = 0, register: int = 0) -> Self:
        self.append(Instruction(op, block, value, register))
        return self


def pattern(block: int, value: int, size_bytes: int) -> bytes:
    """Returns the content that `Op.STAMP` gives a block: 16 bytes of block and value, over and over."""
    unit = struct.pack("<QQ", block, value)
    return (unit * -(-size_bytes // len(unit)))[:size_bytes]


def run(program: Sequence[Instruction], client: BufioClient) -> None:
    """Runs a program in this thread.

    Raises:
        ProgramFailed: A `verify` found something else. Other errors are those of the client.
    """
    registers: dict[int, Buffer] = {}
    try:
        for step, instruction in enumerate(program):
            try:
                _step(instruction, registers, client)
            except DmsnapError as error:
                error.add_note(f"at step {step}: {instruction}")
                raise
    finally:
        for buffer in registers.values():
            client.release(buffer)


def run_together(
    programs: Sequence[Sequence[Instruction]], client: BufioClient, *, timeout_seconds: float = 60
) -> None:
    """Runs each program in a thread of its own, all starting at once.

    Raises:
        ProgramFailed: One did not end in time; its thread is left behind.
        Exception: The first error of any.
    """
    barrier = threading.Barrier(len(programs))
    errors: list[Exception] = []

    def work(program: Sequence[Instruction]) -> None:
        try:
            barrier.wait(timeout_seconds)
            run(program, client)
        except Exception as error:  # noqa: BLE001  raised again below, in the caller's thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(program,), daemon=True) for program in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_seconds)
    if errors:
        raise errors[0]
    if hung := [number for number, thread in enumerate(threads) if thread.is_alive()]:
        raise ProgramFailed(f"programs {hung} did not end in {timeout_seconds} seconds", programs=hung)


def _step(instruction: Instruction, registers: dict[int, Buffer], client: BufioClient) -> None:
    op, block, value, register = instruction
    match op:
        case Op.NEW:
            registers[register] = client.new(block)
        case Op.READ:
            registers[register] = client.read(block)
        case Op.GET:
            if (found := client.get(block)) is not None:
                registers[register] = found
        case Op.PREFETCH:
            client.prefetch(block, value)
        case Op.WRITE_ASYNC:
            client.write_dirty_async()
        case Op.WRITE_SYNC:
            client.write_dirty()
        case Op.FLUSH:
            client.flush()
        case Op.FORGET:
            client.forget(block)
        case Op.FORGET_RANGE:
            client.forget_buffers(block, value)
        case _:
            if register in registers:
                _use(instruction, registers, client)


def _use(instruction: Instruction, registers: dict[int, Buffer], client: BufioClient) -> None:
    buffer = registers[instruction.register]
    match instruction.op:
        case Op.PUT:
            client.release(registers.pop(instruction.register))
        case Op.MARK_DIRTY:
            client.mark_dirty(buffer)
        case Op.STAMP:
            buffer.data[:] = pattern(buffer.block, instruction.value, len(buffer.data))
        case Op.VERIFY:
            found, expected = bytes(buffer.data), pattern(buffer.block, instruction.value, len(buffer.data))
            if found != expected:
                raise ProgramFailed(
                    f"block {buffer.block} holds {found[:16].hex()}…, not {expected[:16].hex()}…", block=buffer.block
                )
