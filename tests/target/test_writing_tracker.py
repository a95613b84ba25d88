"""I/O under way: who has to be waited for, and that nobody waits for ever."""

import pytest
from writing_devices import Background

from dmsnap.block import Completion
from dmsnap.target.tracking import ChunkTracker
from dmsnap.testing.device_contract import in_threads

pytestmark = pytest.mark.timeout(60)


def test_a_tracker_waits_for_what_began_before_and_overlaps():
    tracker = ChunkTracker()
    before = tracker.begin(3, 6)
    tracker.begin(6, 9)
    wait = Background(tracker.wait_for, 5, 6)
    assert wait.running
    tracker.begin(5, 6)
    tracker.end(before)
    wait.result()


def test_no_end_is_missed():
    tracker = ChunkTracker()
    rounds = 3000

    def work(number: int) -> None:
        for _ in range(rounds):
            mine = tracker.begin(number, number + 2)
            if number % 2:
                tracker.end(mine)
                tracker.wait_for(0, 8)
            else:
                tracker.end(mine)

    in_threads(4, work)
    assert not tracker._under_way


def test_who_changed_something_collects_the_reads_that_began_before():
    tracker = ChunkTracker()
    read, other = Completion(), Completion()
    tracker.started(3, 6, read)
    tracker.started(6, 9, other)
    wait = Background(tracker.wait_for, 5, 6)
    assert wait.running
    read.finish()
    wait.result()
    assert not other.done


def test_reads_that_are_over_are_forgotten():
    tracker = ChunkTracker()
    for _ in range(1000):
        read = Completion()
        tracker.started(0, 1, read)
        read.finish()
    assert len(tracker._started) <= 64


def test_a_read_that_ends_when_it_is_looked_at_may_call_one_who_starts_another():
    tracker = ChunkTracker()

    class Ending(Completion):
        def poll(self) -> bool:
            if not self.done:
                self.finish()
            return True

        def wait(self) -> None:
            self.poll()

    def start_another(_: Completion) -> None:
        tracker.started(0, 1, Ending())

    def start_many() -> None:
        for _ in range(200):
            read = Ending()
            read.add_done_callback(start_another)
            tracker.started(0, 1, read)

    Background(start_many).result()
    tracker.wait_for(0, 1)
    assert len(tracker._started) <= 64 + 2
