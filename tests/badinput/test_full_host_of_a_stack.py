"""A host without room beneath a stack: what a snapshot has in memory is not lost, and a merge says that it stopped."""

import pytest

from dmsnap.block import MemoryDevice, OutOfRoom
from dmsnap.block.wrap import FaultDevice
from dmsnap.target.stack import Stack, TableRefused

CHUNK = 4096
SIZE = 1 << 20


class FullDevice(FaultDevice):
    def _refused(self, op, offset, length):
        return super()._refused(op, offset, length) and OutOfRoom("no room", device=self.name)

    def fill(self):
        self.faults.append(lambda request: request.op == "write")

    def make_room(self):
        self.faults.clear()


@pytest.fixture
def disks():
    return {"origin": MemoryDevice(SIZE), "cow": MemoryDevice(SIZE), "full": FullDevice(MemoryDevice(SIZE))}


@pytest.fixture
def stack(disks):
    with Stack(disks.__getitem__) as stack:
        yield stack


@pytest.mark.parametrize("table", ["0 2048 zero", "0 2048 snapshot origin full P 8"])
def test_a_snapshot_gives_way_to_another_table_only_when_its_exceptions_are_durable(table, stack, disks):
    stack.create("snap", "0 2048 snapshot origin full P 8")
    stack.device("snap").write_at(0, b"s" * CHUNK)
    stack.load("snap", table)
    disks["full"].fill()
    with pytest.raises(TableRefused, match="no room"):
        stack.resume("snap")
    disks["full"].make_room()
    stack.resume("snap")
    stack.remove("snap")
    stack.create("snap", "0 2048 snapshot origin full P 8")
    assert stack.device("snap").read_at(0, CHUNK) == b"s" * CHUNK


def test_a_merge_that_another_snapshot_has_no_room_for_has_failed_and_goes_on_when_resumed(stack, disks):
    with Stack(disks.__getitem__) as before:
        before.create("snap", "0 2048 snapshot origin cow P 8")
        before.device("snap").write_at(0, b"s" * CHUNK)
    stack.create("other", "0 2048 snapshot origin full P 8")
    disks["full"].fill()
    stack.create("merge", "0 2048 snapshot-merge origin cow P 8")
    ended(stack, "merge")
    assert stack.status("merge") == "0 2048 snapshot-merge Merge failed"
    disks["full"].make_room()
    stack.suspend("merge")
    stack.resume("merge")
    ended(stack, "merge")
    assert disks["origin"].read_at(0, CHUNK) == b"s" * CHUNK
    assert stack.device("other").read_at(0, CHUNK) == bytes(CHUNK)


def ended(stack, name):
    """Returns when the merge of a device has come to its end."""
    (target,) = stack.device(name).live.targets
    target._thread.join(20)
    assert not target._thread.is_alive(), "still merging"
