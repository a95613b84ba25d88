"""What a client was promised, by what it asked for and what returned."""

from __future__ import annotations

from collections.abc import Callable

from dmsnap.block import MemoryDevice
from dmsnap.store import create_store
from dmsnap.testing.crash import Checker, Client, Expectation, Recorder
from dmsnap.testing.crash.recorder import Mark

SECTOR = 512
A, B, C = (letter * SECTOR for letter in (b"a", b"b", b"c"))


def expected_after(act: Callable[[Client], object]) -> Expectation:
    """What is right after a client said some things about an origin of two sectors."""
    recorder = Recorder()
    act(Client(recorder))
    expected = Expectation(2 * A)
    for number, event in enumerate(recorder.timeline().events, 1):
        assert isinstance(event, Mark)
        expected.note(event.value, number)
    return expected


def test_a_write_may_be_there_from_when_it_was_asked_for() -> None:
    expected = expected_after(lambda client: client.writes("origin", 0, B))
    assert expected.origin.contents(0) == (A, B)


def test_a_write_is_there_once_a_flush_returned_that_came_after_it() -> None:
    def act(client: Client) -> None:
        client.writes("origin", 0, B)
        client.wrote("origin", 0, B)
        begun = client.flushes()
        client.writes("origin", SECTOR, C)
        client.wrote("origin", SECTOR, C)
        client.flushed("origin", begun)

    expected = expected_after(act)
    assert expected.origin.contents(0) == (B,)
    assert expected.origin.contents(1) == (A, C)


def test_a_write_that_failed_may_be_there_whatever_is_flushed() -> None:
    def act(client: Client) -> None:
        client.writes("origin", 0, B)
        client.flushed("origin", client.flushes())

    assert expected_after(act).origin.contents(0) == (A, B)


def test_a_snapshot_holds_what_the_origin_held() -> None:
    def act(client: Client) -> None:
        client.takes("s", 1)
        client.writes("origin", 0, B)
        client.writes("s", SECTOR, C)

    expected = expected_after(act)
    assert expected.snapshots["s"].disk.contents(0) == (A,)
    assert expected.snapshots["s"].disk.contents(1) == (A, C)
    assert expected.origin.contents(1) == (A,)


def test_a_merged_snapshot_is_the_origin() -> None:
    def act(client: Client) -> None:
        client.takes("s", 1)
        client.writes("s", 0, B)
        client.merges("s")
        client.merged("s")

    expected = expected_after(act)
    assert expected.snapshots == {}
    assert expected.origin.contents(0) == (A, B)


def test_a_store_may_be_missing_until_the_snapshot_is_taken() -> None:
    nothing = [bytearray(2 * A), bytearray(8 * SECTOR)]
    taking = expected_after(lambda client: client.takes("s", 1))
    assert Checker().problems(nothing, taking) == []
    taking.snapshots["s"].created = True
    assert "its store is gone" in Checker().problems(nothing, taking)[0]


def test_a_store_may_be_invalid_only_once_that_may_happen() -> None:
    store = MemoryDevice(8 * SECTOR)
    create_store(store, 1)
    content = store.read_at(0, 8 * SECTOR)
    content[4] = 0
    expected = expected_after(lambda client: client.takes("s", 1))
    assert "invalid" in Checker().problems([bytearray(2 * A), content], expected)[0]
    expected.snapshots["s"].may_be_invalid = True
    assert Checker().problems([bytearray(2 * A), content], expected) == []
