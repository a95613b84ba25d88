"""Ctrl-C in the middle of something: what was begun is undone, and nobody waits for it for ever."""

import threading

import pytest

from dmsnap.block import Completion, MemoryDevice
from dmsnap.block.wrap.wrapper import Wrapper
from dmsnap.store import create_store, open_store
from dmsnap.store.writable import PersistentStore
from dmsnap.target.merging import MergeDevice
from dmsnap.target.origin import OriginDevice
from dmsnap.target.stack.io_gate import IOGate
from dmsnap.target.writable_snapshot import WritableSnapshot

CHUNK = 4096
SIZE = 64 * CHUNK


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def in_time(function, *arguments) -> None:
    """Calls a function that must not block."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "still blocked"


def merge_of(chunks: dict[int, bytes], cow: Wrapper) -> MergeDevice:
    """A merge of a snapshot in which these chunks were written."""
    origin = MemoryDevice(SIZE)
    create_store(cow, CHUNK // 512)
    with WritableSnapshot(origin, PersistentStore(open_store(cow))) as snapshot:
        for chunk, data in chunks.items():
            snapshot.write_at(chunk * CHUNK, data * CHUNK)
    return MergeDevice(origin, PersistentStore(open_store(cow)))


def test_a_gate_that_was_not_shut_is_open(monkeypatch):
    gate = IOGate()
    inside = gate.enter()
    with monkeypatch.context() as patch:
        patch.setattr(gate._changed, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            gate.shut()
    gate.leave(inside)
    assert not gate.is_shut


def test_a_merge_that_did_not_begin_keeps_no_writer_waiting(monkeypatch):
    device = merge_of({3: b"s"}, Wrapper(MemoryDevice(SIZE)))
    with monkeypatch.context() as patch:
        patch.setattr(device._writes, "wait_for", interrupt)
        with pytest.raises(KeyboardInterrupt):
            device.step()
    in_time(device.write_at, 3 * CHUNK, b"w" * CHUNK)
    assert device.step().chunks == 1
    assert device.origin.read_at(3 * CHUNK, CHUNK) == b"w" * CHUNK


def test_a_read_that_comes_after_the_merge_was_interrupted_does_no_harm():
    class Interrupted(Completion):
        def wait(self) -> None:
            raise KeyboardInterrupt

    class LateReads(Wrapper):
        """Whose first reads of copies are interrupted while they are waited for; they come with the next."""

        armed = False
        late: tuple[memoryview, ...] = ()

        def _start_reads(self, requests):
            if self.armed and requests[0][0] > CHUNK:  # not of metadata
                self.armed, self.late = False, tuple(view for _, view in requests)
                return [Interrupted() for _ in requests]
            started = super()._start_reads(requests)
            for view in self.late:
                view[:] = b"\xee" * len(view)
            return started

    cow = LateReads(MemoryDevice(SIZE))
    device = merge_of({3: b"s", 9: b"t"}, cow)
    cow.armed = True
    with pytest.raises(KeyboardInterrupt):
        device.step()
    while device.step().chunks:
        pass
    assert device.origin.read_at(3 * CHUNK, CHUNK) == b"s" * CHUNK
    assert device.origin.read_at(9 * CHUNK, CHUNK) == b"t" * CHUNK


PLACES = [
    *[("store", name) for name in ("allocate", "record")],
    *[("_table", name) for name in ("missing", "add")],
    *[("_changed", "notify_all"), (None, "complete"), (None, "_finish"), (None, "_record_in_turn")],
]


@pytest.mark.parametrize("by", ["snapshot", "origin"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("part", "method"), PLACES)
def test_an_exception_that_was_interrupted_is_no_longer_pending(part, method, when, by, monkeypatch):
    cow = MemoryDevice(SIZE)
    create_store(cow, CHUNK // 512)
    snapshot = WritableSnapshot(MemoryDevice(SIZE), PersistentStore(open_store(cow)))
    exceptions = snapshot.exceptions
    device = OriginDevice(snapshot.origin)
    device.snapshots.add(exceptions, SIZE)
    writer = snapshot if by == "snapshot" else device
    owner = exceptions if part is None else getattr(exceptions, part)
    right = getattr(owner, method)

    def interrupted(*arguments):
        monkeypatch.undo()
        if when == "after":
            right(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.write_at(3 * CHUNK, b"1" * CHUNK)
    for chunk in (3, 4):
        in_time(writer.write_at, chunk * CHUNK, b"2" * CHUNK)
    wanted = snapshot.read_at(0, SIZE)
    in_time(snapshot.close)
    store = open_store(cow)
    assert (len(store.table), store.findings) == (2, ())
    with WritableSnapshot(snapshot.origin, PersistentStore(store)) as again:
        assert again.read_at(0, SIZE) == wanted
