"""Lines of numbers in bulk: as a plain format gives them, and parsed only if they are just so."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dmsnap.maintenance.number_lines import NumberLines

LINES = NumberLines((b'<s a="', b'" b="', b'">\n'), (b'<run a="', b'" b="', b'" n="', b'">\n'), mark=1)


def plainly(runs: list[tuple[int, int, int]]) -> bytes:
    return "".join(
        f'<s a="{a}" b="{b}">\n' if n == 1 else f'<run a="{a}" b="{b}" n="{n}">\n' for a, b, n in runs
    ).encode()


def some(seed: int) -> list[tuple[int, int, int]]:
    rng = random.Random(seed)
    edges = [0, 1, 9, 10, 9999, 10000, 99999999, 10**8, 10**16 - 1, 10**16, 2**63, 2**64 - 1]
    top = 2 ** rng.randrange(1, 65)

    def number() -> int:
        return rng.choice(edges) if rng.random() < 0.2 else rng.randrange(top)

    kinds = rng.choice([(1,), (2, 30), (1, 2, 2**64 - 1), (0, 1)])
    return [(number(), number(), rng.choice(kinds)) for _ in range(rng.choice([1, 2, 50]))]


@pytest.mark.parametrize("seed", range(200))
def test_lines_are_as_a_plain_format_gives_them_and_mean_the_same_again(seed: int) -> None:
    runs = some(seed)
    lines = LINES.format(np.array(runs, np.uint64))
    assert lines == plainly(runs)
    parsed = LINES.parse(lines)
    assert parsed is not None
    assert parsed.tolist() == [list(run) for run in runs]


def test_one_changed_byte_is_never_taken_for_something_else() -> None:
    rng = random.Random(3)
    good = plainly([(5, 17, 1), (120, 3, 40), (0, 2**64 - 1, 1)])
    for _ in range(5000):
        place = rng.randrange(len(good))
        bad = good[:place] + rng.choice([b"", bytes([rng.randrange(256)]), b"0", b"\n", b'"']) + good[place + 1 :]
        parsed = LINES.parse(bad)
        assert parsed is None or plainly([tuple(run) for run in parsed.tolist()]) == bad


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\n",
        b"   \n",
        b'<s a="',
        b'<s a="" b="">\n',
        b'<s a="1" b="18446744073709551616">\n',
        b'<s a="07" b="1">\n',
    ],
)
def test_what_is_no_line_is_not_parsed(block: bytes) -> None:
    assert LINES.parse(block) is None


def test_no_runs_are_no_lines() -> None:
    assert LINES.format(np.empty((0, 3), np.uint64)) == b""
