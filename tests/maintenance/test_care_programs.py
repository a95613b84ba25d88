"""Whatever stores random programs make: nothing is found in them, and care changes nothing that it should not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dmsnap.testing.care_programs import judging
from dmsnap.testing.care_programs.__main__ import judged, main
from dmsnap.testing.care_programs.made_stores import MadeStore, made_stores

SEEDS = range(150)
PER_TEST = 30


@pytest.mark.parametrize("first", SEEDS[::PER_TEST])
def test_checked_dumped_restored_repaired_and_compacted(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        assert judged(seed).problems == [], f"seed {seed}"


@pytest.mark.parametrize("seed", [272, 5917, 7107], ids=["made larger since", "zeros left", "all zeros"])
def test_a_store_that_overflowed_may_look_as_if_it_had_not(seed: int) -> None:
    assert judged(seed).problems == []


def test_many_stores_are_made_of_all_kinds() -> None:
    made = [store for seed in range(1, 60, 2) for store in made_stores(seed)]
    assert len(made) > 40
    assert {store.valid for store in made} == {True, False}
    assert len({store.chunk_bytes for store in made}) > 3


# -- the judge sees what is wrong -------------------------------------------------------------------------------------

SOUND = next(store for store in made_stores(11) if store.valid)


def with_another_byte(cow: bytes, at: int) -> bytes:
    return cow[:at] + bytes([cow[at] ^ 1]) + cow[at + 1 :]


@pytest.mark.parametrize("place", ["header", "area", "copy"])
def test_a_byte_of_a_restored_store_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    at = {"header": 100, "area": SOUND.chunk_bytes + 500, "copy": 2 * SOUND.chunk_bytes + 7}[place]
    written: Callable[..., bytes] = judging._written
    monkeypatch.setattr(judging, "_written", lambda events: with_another_byte(written(events), at))
    assert any(": json data: chunk" in problem for problem in judging.cared(SOUND, 1).problems)


def test_a_byte_of_a_compacted_store_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    compact: Callable[..., bytes] = judging.compact_bytes
    at = 2 * SOUND.chunk_bytes + 7
    monkeypatch.setattr(judging, "compact_bytes", lambda *given: with_another_byte(compact(*given), at))
    assert any("compacted: another content" in problem for problem in judging.cared(SOUND, 1).problems)


def test_a_store_with_a_finding_is_seen() -> None:
    twice = bytearray(SOUND.cow)
    record = SOUND.chunk_bytes
    twice[record : record + 8] = twice[record + 16 : record + 24]  # two records for one chunk of the origin
    made = MadeStore("twice", SOUND.origin, bytes(twice), roomy=False)
    assert any("finds duplicate, not" in problem for problem in judging._check(made, judging.model_store(made.cow)))


def test_the_runner_tells_how_much_was_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "3", "--seed", "1", "--workers", "1"]) == 0
    assert "3 programs" in capsys.readouterr().out


def test_the_runner_tells_the_seed_of_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(judging, "_room", lambda *_: set(judging.Kind))  # the worker is made of this process
    assert main(["--count", "1", "--seed", "1", "--workers", "1"]) == 1
    assert "again: python -m dmsnap.testing.care_programs --seed 1" in capsys.readouterr().out
