"""Laws of what is pure in the client: pieces of a reply, and extents, against a row of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmsnap.block import Completion, Extent, ExtentKind
from dmsnap.block.nbd.block_status import extents_of, whole_blocks
from dmsnap.block.nbd.handshake import ALLOCATION, DEPTH
from dmsnap.block.nbd.request import Broken, Request
from dmsnap.block.nbd.wire import BLOCK_STATUS_ENTRY, Command
from dmsnap.testing.device_contract import covering

LENGTH = 24


@given(st.lists(st.tuples(st.integers(-2, LENGTH + 2), st.integers(0, LENGTH + 2)), max_size=30))
def test_a_piece_is_taken_once_and_only_inside_and_the_whole_is_known(pieces: list[tuple[int, int]]) -> None:
    memory = bytearray(LENGTH)
    request = Request(Command.READ, 1000, LENGTH, Completion(), memoryview(memory))
    model = bytearray(LENGTH)
    for start, length in pieces:
        fits = length > 0 and start >= 0 and start + length <= LENGTH and not any(model[start : start + length])
        if fits:
            request.place(1000 + start, length)[:] = b"\1" * length
            model[start : start + length] = b"\1" * length
        else:
            with pytest.raises(Broken):
                request.place(1000 + start, length)
        assert memory == model
        assert request.whole() == all(model)


@given(st.permutations([(at, at + 3) for at in range(0, LENGTH, 3)]))
def test_pieces_in_any_order_make_a_whole(pieces: list[tuple[int, int]]) -> None:
    request = Request(Command.READ, 0, LENGTH, Completion(), memoryview(bytearray(LENGTH)))
    for start, end in pieces:
        assert not request.whole()
        request.place(start, end - start)
    assert request.whole()


row = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=12)


@given(row, row, st.integers(1, 4), st.sampled_from([1, 4]))
def test_extents_say_of_each_block_what_the_server_says_of_its_bytes(
    flags: list[tuple[int, int]], depths: list[tuple[int, int]], told: int, block: int
) -> None:
    def stretched(entries: list[tuple[int, int]], length: int) -> list[int]:
        values = [value for count, value in entries for _ in range(count)]
        return (values * length)[:length]

    length = 32
    flag_of, depth_of = stretched(flags, length), stretched(depths, length)

    def ask(offset: int, wanted: int) -> dict[str, tuple]:
        """The first few extents of each context, the last perhaps too long."""
        status = {}
        for name, values in ((ALLOCATION, flag_of), (DEPTH, depth_of)):
            entries: list[list[int]] = []
            for value in values[offset : offset + wanted]:
                if entries and entries[-1][1] == value:
                    entries[-1][0] += 1
                elif len(entries) == told:
                    break
                else:
                    entries.append([1, value])
            if sum(count for count, _ in entries) == wanted:
                entries[-1][0] += 100
            status[name] = (BLOCK_STATUS_ENTRY, b"".join(BLOCK_STATUS_ENTRY.pack(*entry) for entry in entries))
        return status

    found = list(whole_blocks(extents_of(0, length, ask), block))
    for extent in found:
        assert extent.offset % block == extent.length % block == 0
    kinds = {at: extent for extent in found for at in range(extent.offset, extent.offset + extent.length)}
    assert sorted(kinds) == list(range(length)) == [at for e in found for at in range(e.offset, e.offset + e.length)]
    for start in range(0, length, block):
        inside = range(start, start + block)
        data = [at for at in inside if not flag_of[at] & 2]
        depth = min((depth_of[at] or 2) for at in (data or inside))
        expected = (ExtentKind.DATA if data else ExtentKind.HOLE, depth)
        assert all((kinds[at].kind, kinds[at].depth) == expected for at in inside)


def test_extents_in_a_row_that_are_alike_are_one() -> None:
    from dmsnap.block import joined

    halves = [Extent(0, 3, ExtentKind.HOLE), Extent(3, 5, ExtentKind.HOLE), Extent(8, 8, ExtentKind.DATA)]
    assert covering(joined(whole_blocks(iter(halves), 4)), 0, 16) == [
        Extent(0, 8, ExtentKind.HOLE),
        Extent(8, 8, ExtentKind.DATA),
    ]
