"""The outcome of a started read."""

from __future__ import annotations

import threading

import pytest

from dmsnap.block import COMPLETED, Completion, IOFailed


def test_what_is_done_need_not_be_waited_for() -> None:
    COMPLETED.wait()
    called: list[Completion] = []
    COMPLETED.add_done_callback(called.append)
    assert called == [COMPLETED]


def test_callbacks_run_in_order_when_the_read_is_done() -> None:
    completion, called = Completion(), []
    completion.add_done_callback(lambda _: called.append(1))
    completion.add_done_callback(lambda _: called.append(2))
    assert called == []
    completion.finish()
    assert called == [1, 2]
    completion.add_done_callback(lambda _: called.append(3))
    assert called == [1, 2, 3]


def test_a_failed_read_raises_for_everyone_who_waits() -> None:
    error = IOFailed("broken")
    late = Completion()
    late.finish(error)
    for completion in (Completion.failed(error), late):
        for _ in range(2):
            with pytest.raises(IOFailed, match="broken"):
                completion.wait()


def test_waiting_threads_all_go_on() -> None:
    completion, begun = Completion(), threading.Barrier(5)
    done: list[bool] = []

    def wait() -> None:
        begun.wait(60)
        completion.wait()
        done.append(completion.done)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait(60)
    completion.finish()
    for thread in threads:
        thread.join()
    assert done == [True] * 4
