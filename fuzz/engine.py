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


Mutator = Callable[[bytes, int, int, Callable[[bytes, int], bytes]], bytes]
"""Takes an input, the largest size, a seed, and a mutation that knows nothing of the format; returns another input."""


def fuzz(test_one: Callable[[bytes], None], *, of_stores: bool, mutate: Mutator | None = None) -> None:
    """Feeds inputs to ``test_one`` until the options on the command line say stop, or it raises."""
    mutator = mutate_store if of_stores else mutate
    if mutator is not None:

        def custom(data: bytes, max_size: int, seed: int) -> bytes:
            return mutator(data, max_size, seed, atheris.Mutate)

        atheris.Setup(sys.argv, test_one, custom_mutator=custom)
    else:
        atheris.Setup(sys.argv, test_one)
    atheris.Fuzz()
