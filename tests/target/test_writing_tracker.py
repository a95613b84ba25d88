"""I/O under way: who has to be waited for, and that nobody waits for ever."""

import pytest
from writing_devices import Background

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
