"""Moving a buffer to another block, as Linux dm-bufio could up to 4.16 (``dm_bufio_release_move``)."""

from __future__ import annotations

from dmsnap.block.contract import BadRequest
from dmsnap.bufio.buffer import DIRTY, READING, WRITING, Buffer
from dmsnap.bufio.misuse import BufioMisuse, refuse_in_callback
from dmsnap.bufio.state import ClientState
from dmsnap.bufio.writeback import Writeback

__all__ = ["release_move"]


def release_move(state: ClientState, writeback: Writeback, buffer: Buffer, new_block: int) -> None:
    """Ends the hold of a buffer whose content is from now on that of another block. Lock: not taken.

    What is cached of the new block goes, once nobody holds it. What is dirty of either is written first, each to its
    own place. A sole holder's buffer gets the new number and is all dirty; else the content is written to the new
    block at once, and the buffer stays with the others at the old one. A write's error is kept for ``write_dirty``.

    Raises:
        BadRequest: The new block is outside the device.
        BufioMisuse: The buffer is not held, or still being read; called inside a callback, or after ``close``.
    """
    refuse_in_callback("release_move")
    if not 0 <= new_block < state.device_size_blocks:
        raise BadRequest(f"bufio move to block {new_block}, of {state.device_size_blocks}", block=new_block)
    with state.lock:
        state.check_open()
        if buffer.holds < 1 or buffer.state & READING:
            raise BufioMisuse(f"bufio move of {buffer!r}", hint="hold it, and read it to the end first")
        while _still_to_settle(state, writeback, buffer, new_block):
            pass
        if new_block == buffer.block:
            state.unhold(buffer)
            return
        if buffer.holds == 1:
            del state.cache.clean[buffer.block]
            buffer.block = new_block
            state.cache.clean[new_block] = buffer
            state.cache.mark_dirty(buffer, 0, state.block_size_bytes)
            state.unhold(buffer)
            return
        content = bytes(buffer.data)
        state.unhold(buffer)
    try:
        state.device.write_at(state.start_bytes + new_block * state.block_size_bytes, content)
    except Exception as error:  # noqa: BLE001  as with any write, the error is for `write_dirty`
        with state.lock:
            writeback.keep(error)


def _still_to_settle(state: ClientState, writeback: Writeback, buffer: Buffer, new_block: int) -> bool:
    """Takes one step towards two clean blocks of which only ``buffer`` is cached; says whether there was one to take.

    Lock: taken, maybe given up meanwhile, which is why everything is looked at anew after each step.
    """
    occupant = state.cache.find(new_block)
    for one in (buffer, occupant):
        if one is None:
            continue
        if one.state & (READING | WRITING):
            one.wait_while(READING | WRITING, state)
            return True
        if one.state & DIRTY:
            writeback.write_now(one)
            return True
    state.cache.settle()
    if occupant is None or occupant is buffer:
        return False
    if occupant.holds:
        state.sleep()
    else:
        state.drop(occupant, "evict")
    return True
