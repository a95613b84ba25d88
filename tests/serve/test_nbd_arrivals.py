"""What other threads finished for a connection: each is taken once, and the socket is readable while some are."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator

import pytest

from dmsnap.serve.nbd.arrivals import Arrivals

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def arrivals() -> Iterator[Arrivals]:
    made = Arrivals()
    yield made
    made.close()


def readable(arrivals: Arrivals) -> bool:
    return bool(select.select([arrivals], [], [], 0)[0])


def test_what_is_taken_makes_it_quiet(arrivals: Arrivals) -> None:
    taken: list[int] = []
    for number in range(3):
        arrivals.put(lambda number=number: taken.append(number))  # type: ignore[misc]
    assert readable(arrivals)
    arrivals.take()
    assert taken == [0, 1, 2]
    assert not readable(arrivals)


def test_a_call_that_raises_leaves_the_others_to_be_taken(arrivals: Arrivals) -> None:
    taken: list[str] = []
    arrivals.put(lambda: 1 // 0)
    arrivals.put(lambda: taken.append("second"))
    with pytest.raises(ZeroDivisionError):
        arrivals.take()
    assert readable(arrivals), "who polls would never learn of the second"
    arrivals.take()
    assert taken == ["second"]


def test_one_who_tells_late_does_not_keep_it_readable(arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch) -> None:
    late: list[bytes] = []
    with monkeypatch.context() as patch:
        patch.setattr(Arrivals, "_tell", lambda self: (setattr(self, "_told", True), late.append(b"\0")))
        arrivals.put(lambda: None)
    arrivals.take()  # for another reason, before the first has told
    arrivals._wake.send(late[0])
    arrivals.take()
    assert not readable(arrivals)


def test_nothing_is_lost_between_threads(arrivals: Arrivals) -> None:
    putters, each = 3, 2000
    taken: list[int] = []
    threads = [
        threading.Thread(target=lambda: [arrivals.put(lambda: taken.append(1)) for _ in range(each)])
        for _ in range(putters)
    ]
    for thread in threads:
        thread.start()
    while len(taken) < putters * each:
        assert select.select([arrivals], [], [], 20)[0], f"nothing tells of the rest, after {len(taken)}"
        arrivals.take()
    for thread in threads:
        thread.join()
    assert len(taken) == putters * each
