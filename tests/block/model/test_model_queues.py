"""What waits in the host, and what the buffer of a drive keeps."""

from __future__ import annotations

import pytest

from dmsnap.block.model.drive import Command
from dmsnap.block.model.host_queue import Elevator, Fifo
from dmsnap.block.model.track_buffer import TrackBuffer


def taken(queue: Fifo | Elevator, *offsets: int) -> list[int]:
    for offset in offsets:
        queue.add(Command(offset, 1))
    return [queue.take().offset for _ in range(len(queue))]


def test_first_come_is_first_served() -> None:
    assert taken(Fifo(), 5, 1, 3) == [5, 1, 3]


def test_the_elevator_goes_up_and_begins_again_at_the_lowest() -> None:
    queue = Elevator()
    assert taken(queue, 5, 1, 3) == [1, 3, 5]
    assert taken(queue, 2, 9, 6, 4) == [6, 9, 2, 4]


def test_a_segment_has_what_was_read_and_goes_on_where_reading_does() -> None:
    buffer = TrackBuffer(2, 100)
    buffer.add(10, 20)
    buffer.add(20, 30)
    assert buffer.holds(10, 30)
    assert not buffer.holds(10, 31)
    assert not buffer.holds(9, 12)


def test_of_a_long_segment_the_end_is_kept() -> None:
    buffer = TrackBuffer(2, 100)
    buffer.add(0, 150)
    assert not buffer.holds(0, 60)
    assert buffer.holds(50, 150)


@pytest.mark.parametrize(("used", "gone"), [(0, 200), (200, 0)])
def test_the_segment_not_used_for_longest_makes_room(used: int, gone: int) -> None:
    buffer = TrackBuffer(2, 100)
    buffer.add(0, 10)
    buffer.add(200, 210)
    assert buffer.holds(used, used + 10)
    buffer.add(400, 410)
    assert buffer.holds(used, used + 10)
    assert not buffer.holds(gone, gone + 10)


def test_what_is_written_is_forgotten() -> None:
    buffer = TrackBuffer(2, 100)
    buffer.add(0, 10)
    buffer.add(20, 30)
    buffer.forget(10, 21)
    assert buffer.holds(0, 10)
    assert not buffer.holds(20, 30)
