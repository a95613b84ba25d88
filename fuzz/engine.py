"""What every target shares: instrumenting dmsnap alone, and handing the loop to libFuzzer.

A target runs by itself too: ``python fuzz/store_target.py FILE`` replays one input, ``-help=1`` lists libFuzzer's
options.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import atheris
from store_mutator import mutate_store

# NumPy's Python code is not ours, and slow when instrumented.
instrumented = atheris.instrument_imports


def fuzz(test_one: Callable[[bytes], None], *, of_stores: bool) -> None:
    """Feeds inputs to ``test_one`` until the options on the command line say stop, or it raises."""
    if of_stores:
        atheris.Setup(sys.argv, test_one, custom_mutator=_mutate)
    else:
        atheris.Setup(sys.argv, test_one)
    atheris.Fuzz()


def _mutate(data: bytes, max_size: int, seed: int) -> bytes:
    return mutate_store(data, max_size, seed, atheris.Mutate)
