"""A block device compared with a row of bytes, under random requests."""

# ruff: noqa: S311 - random data of a fixed seed is the point

from __future__ import annotations

import random
from collections.abc import Callable

from dmsnap.block import BlockDevice, Completion, ExtentKind

__all__ = ["check_against_model"]

BLOCKS = 24


def check_against_model(make: Callable[[bytes], BlockDevice], *, examples: int = 15, steps: int = 30) -> None:
    """Runs random requests against devices and a model, always the same ones. Needs hypothesis.

    Args:
        make: Returns a new writable device with a content.
        examples: How many devices are tried.
        steps: Requests for each at most.

    Raises:
        AssertionError: A device did not behave as a row of bytes; hypothesis prints the shortest way there.
    """
    from hypothesis import HealthCheck, settings
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

    ranges = st.tuples(st.integers(0, BLOCKS), st.integers(0, BLOCKS)).map(sorted)

    class DeviceAndModel(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.model = bytearray(random.Random(BLOCKS).randbytes(BLOCKS * 4096))
            self.device = make(bytes(self.model))
            self.block = max(1024, self.device.logical_block_size_bytes)  # ranges within and across pages of 4 KiB
            self.started: list[tuple[Completion, memoryview, bytes]] = []

        def span(self, blocks: list[int]) -> tuple[int, int]:
            return blocks[0] * self.block, (blocks[1] - blocks[0]) * self.block

        @rule(blocks=ranges)
        def read(self, blocks: list[int]) -> None:
            offset, length = self.span(blocks)
            assert self.device.read_at(offset, length) == self.model[offset : offset + length]

        @rule(batch=st.lists(ranges, max_size=8))
        def start_reads(self, batch: list[list[int]]) -> None:
            spans = [self.span(blocks) for blocks in batch]
            views = [memoryview(bytearray(length)) for _, length in spans]
            requests = [(offset, view) for (offset, _), view in zip(spans, views, strict=True)]
            completions = self.device.start_reads(requests)
            expected = [bytes(self.model[offset : offset + length]) for offset, length in spans]
            self.started += zip(completions, views, expected, strict=True)

        @rule(blocks=ranges)
        def lend(self, blocks: list[int]) -> None:
            offset, length = self.span(blocks)
            loan = self.device.lend([(offset, length)])
            if loan is not None:
                assert b"".join(loan.views[0]) == self.model[offset : offset + length]
                loan.end()

        @rule()
        def settle(self) -> None:
            """Started reads race with later changes of the same bytes, so every change settles them first."""
            for completion, view, expected in self.started:
                completion.wait()
                assert view == expected
            self.started.clear()

        @rule(blocks=ranges, seed=st.integers(1, 255))
        def write(self, blocks: list[int], seed: int) -> None:
            self.settle()
            offset, length = self.span(blocks)
            data = bytes((seed + index // 16) & 0xFF for index in range(length))
            self.device.write_at(offset, data)
            self.model[offset : offset + length] = data

        @rule(blocks=ranges)
        def zero(self, blocks: list[int]) -> None:
            self.settle()
            offset, length = self.span(blocks)
            self.device.zero(offset, length)
            self.model[offset : offset + length] = bytes(length)

        @rule(blocks=ranges)
        def discard(self, blocks: list[int]) -> None:
            self.settle()
            offset, length = self.span(blocks)
            self.device.discard(offset, length)
            self.model[offset : offset + length] = self.device.read_at(offset, length)  # undefined, but only there

        @rule()
        def flush(self) -> None:
            self.device.flush()

        @rule(blocks=ranges)
        def extents(self, blocks: list[int]) -> None:
            offset, length = self.span(blocks)
            end = offset + length
            for extent in self.device.extents(offset, length):
                assert extent.offset == offset
                offset += extent.length
                if extent.kind is ExtentKind.HOLE:
                    assert not any(self.model[extent.offset : offset])
            assert offset == end

        def teardown(self) -> None:
            self.settle()
            assert self.device.read_at(0, len(self.model)) == self.model
            self.device.close()

    run_state_machine_as_test(
        DeviceAndModel,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
