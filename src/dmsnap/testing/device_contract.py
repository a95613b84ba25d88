"""What every block device must do, as tests to inherit.

A device's tests subclass one of these for pytest to collect, and say how a device is made::

    class TestMemoryDevice(DeviceContract):
        def make(self, content: bytes) -> BlockDevice:
            return MemoryDevice(content)

`DeviceContract` is about reading, `GrowingDevice` is mixed in by devices whose medium can grow, and
`dmsnap.testing.writable_device_contract` adds writing. The module itself needs neither pytest nor hypothesis.
"""

# ruff: noqa: S311 - random data of a fixed seed is the point

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dmsnap.block import (
    BadRequest,
    BlockDevice,
    DeviceClosed,
    Extent,
    ExtentKind,
    ReadOnlyDevice,
    ReadRequest,
)
from dmsnap.block.wrap import ReadOnlyWrapper

__all__ = ["CONTENT", "SEED", "SIZE", "DeviceContract", "GrowingDevice", "covering", "in_threads", "refused"]

SEED = 20140317

CONTENT = random.Random(SEED).randbytes(48 << 10) + bytes(32 << 10) + random.Random(SEED + 1).randbytes(48 << 10)
"""128 KiB with a stretch of zeros in the middle, which a sparse medium may hold as a hole."""

SIZE = len(CONTENT)
UNTOUCHED = 0xA5


@contextmanager
def refused(*errors: type[Exception]) -> Iterator[None]:
    """Expects the block to raise exactly one of the given classes."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - any other class is what this looks for
        assert type(error) in errors, f"expected {errors}, got {error!r}"  # noqa: PT017 - pytest is not at hand here
    else:
        raise AssertionError(f"expected {errors}, nothing was raised")


def covering(extents: Iterator[Extent], offset: int, length: int) -> list[Extent]:
    """Returns extents as a list, after checking that they are a row without gaps whose neighbours differ."""
    row = list(extents)
    position = offset
    for number, extent in enumerate(row):
        assert extent.offset == position, f"gap or overlap before {extent}"
        assert extent.length > 0, f"{extent} is empty"
        assert extent.depth >= 1, f"{extent} has no depth"
        if number:
            assert (extent.kind, extent.depth) != (row[number - 1].kind, row[number - 1].depth), f"{extent} not joined"
        position += extent.length
    assert position == offset + length, f"extents end at {position}, not at {offset + length}"
    return row


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Runs ``work(0)`` … ``work(count - 1)`` at once and raises the first error."""
    errors: list[BaseException] = []
    together = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            together.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class DeviceContract(ABC):
    """Reading: what holds for every device."""

    @abstractmethod
    def make(self, content: bytes) -> BlockDevice:
        """Returns a new open device that holds ``content`` (whole blocks, 8 KiB at least)."""

    def make_read_only(self, content: bytes) -> BlockDevice:
        """Returns a device that refuses writes; by default the wrapper around `make`."""
        return ReadOnlyWrapper(self.make(content))

    def test_describes_itself(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            assert device.size_bytes == SIZE
            assert device.name
            assert block >= 1, block
            assert block & (block - 1) == 0, block

    def test_reads_its_whole_content(self) -> None:
        with self.make(CONTENT) as device:
            assert device.read_at(0, SIZE) == CONTENT

    def test_reads_each_block_where_it_is(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            for offset in (0, block, SIZE // 2, SIZE - 2 * block, SIZE - block):
                assert device.read_at(offset, block) == CONTENT[offset : offset + block], offset

    def test_reads_random_ranges(self) -> None:
        rng = random.Random(SEED)
        with self.make(CONTENT) as device:
            for _ in range(50):
                first, last = sorted(rng.choices(range(0, SIZE + 1, device.logical_block_size_bytes), k=2))
                assert device.read_at(first, last - first) == CONTENT[first:last], (first, last)

    def test_a_read_fills_its_buffer_and_nothing_around_it(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            memory = bytearray([UNTOUCHED]) * (4 * block)
            device.read_into(block, memoryview(memory)[block : 3 * block])
            assert memory[block : 3 * block] == CONTENT[block : 3 * block]
            assert set(memory[:block] + memory[3 * block :]) == {UNTOUCHED}

    def test_reads_into_any_contiguous_memory(self) -> None:
        with self.make(CONTENT) as device:
            for memory in (bytearray(SIZE), array("Q", bytes(SIZE))):
                device.read_into(0, memoryview(memory))
                assert bytes(memory) == CONTENT, type(memory)
            square = memoryview(bytearray(SIZE)).cast("B", (4, SIZE // 4))
            device.read_into(0, square)
            assert square.tobytes() == CONTENT
            plain = bytearray(SIZE)
            device.read_into(0, plain)
            assert plain == CONTENT

    def test_started_reads_take_only_rows_of_bytes(self) -> None:
        with self.make(CONTENT) as device:
            for memory in (memoryview(array("Q", bytes(SIZE))), memoryview(bytearray(SIZE)).cast("B", (4, SIZE // 4))):
                with refused(BadRequest):
                    device.start_reads([(0, memory)])
                assert not any(memory.tobytes())

    def test_an_empty_started_read_is_done_at_once(self) -> None:
        with self.make(CONTENT) as device:
            memory = bytearray(SIZE)
            for completion in device.start_reads(
                [(0, memoryview(b"")), (0, memoryview(memory)), (SIZE, memoryview(b""))]
            ):
                completion.wait()
            assert memory == CONTENT

    def test_an_empty_read_is_allowed_up_to_the_end(self) -> None:
        with self.make(CONTENT) as device:
            assert device.read_at(0, 0) == b""
            assert device.read_at(SIZE, 0) == b""
            device.read_into(SIZE, bytearray())
            device.start_read(SIZE, memoryview(bytearray())).wait()

    def test_a_read_outside_is_refused_and_leaves_the_buffer(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            for offset in (SIZE, SIZE - block, SIZE + block, -block, 1 << 63, 1 << 80):
                memory = bytearray([UNTOUCHED]) * (2 * block)
                with refused(BadRequest):
                    device.read_into(offset, memory)
                with refused(BadRequest):
                    device.start_read(offset, memoryview(memory))
                assert set(memory) == {UNTOUCHED}, offset
            for offset, length in ((0, -block), (SIZE + block, 0), (-block, 0), (0, 1 << 80)):
                with refused(BadRequest):
                    device.read_at(offset, length)

    def test_a_misaligned_read_is_refused(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            if block == 1:
                return
            for offset, length in (
                (1, block),
                (0, 1),
                (0, block - 1),
                (block // 2, block // 2),
                (block - 1, block + 1),
            ):
                with refused(BadRequest):
                    device.read_at(offset, length)
                with refused(BadRequest):
                    device.start_read(offset, memoryview(bytearray(length)))

    def test_many_overlapping_started_reads_each_get_their_bytes(self) -> None:
        rng = random.Random(SEED)
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            asked = [(rng.randrange(0, SIZE, block), rng.choice((1, 2, 7)) * block) for _ in range(300)]
            asked = [(offset, min(length, SIZE - offset)) for offset, length in asked]
            requests = [(offset, memoryview(bytearray(length))) for offset, length in asked]
            completions = device.start_reads(requests[:250]) + device.start_reads(requests[250:])
            assert len(completions) == len(requests)
            for (offset, view), completion in zip(requests, completions, strict=True):
                completion.wait()
                assert completion.done
                assert completion.error is None
                assert view == CONTENT[offset : offset + len(view)], offset

    def test_a_started_read_fills_its_buffer_and_nothing_around_it(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            memory = bytearray([UNTOUCHED]) * (3 * block)
            device.start_read(SIZE - block, memoryview(memory)[block : 2 * block]).wait()
            assert memory[block : 2 * block] == CONTENT[-block:]
            assert set(memory[:block] + memory[2 * block :]) == {UNTOUCHED}

    def test_a_batch_with_one_bad_request_starts_nothing(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            for bad in (SIZE, -block):
                views = [memoryview(bytearray([UNTOUCHED]) * block) for _ in range(5)]
                with refused(BadRequest):
                    device.start_reads([*((0, view) for view in views[:4]), (bad, views[4])])
                assert all(set(view) == {UNTOUCHED} for view in views)

    def test_an_empty_batch_starts_nothing(self) -> None:
        with self.make(CONTENT) as device:
            assert device.start_reads([]) == []

    def test_each_callback_of_a_started_read_runs_once(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            called: list[int] = []
            requests: list[ReadRequest] = [(n * block, memoryview(bytearray(block))) for n in range(8)]
            completions = device.start_reads(requests)
            for number, completion in enumerate(completions):
                completion.add_done_callback(lambda _, number=number: called.append(number))  # type: ignore[misc]
            for completion in completions:
                completion.wait()
        assert sorted(called) == list(range(8))

    def test_extents_cover_any_range_and_holes_read_as_zeros(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            for offset, end in ((0, SIZE), (block, SIZE - block), (SIZE // 2, SIZE // 2 + block), (0, block)):
                for extent in covering(device.extents(offset, end - offset), offset, end - offset):
                    if extent.kind is ExtentKind.HOLE:
                        assert not any(device.read_at(extent.offset, extent.length)), extent

    def test_a_prefetch_changes_nothing_and_what_is_outside_is_refused(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            for offset, length in ((0, SIZE), (block, 3 * block), (SIZE, 0)):
                device.prefetch(offset, length)
            assert device.read_at(0, SIZE) == CONTENT
            for offset, length in ((SIZE, block), (0, SIZE + block), (-block, block), (0, -block)):
                with refused(BadRequest):
                    device.prefetch(offset, length)

    def test_an_empty_range_has_no_extents(self) -> None:
        with self.make(CONTENT) as device:
            assert list(device.extents(SIZE, 0)) == []

    def test_extents_outside_are_refused_by_the_call_itself(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            for offset, length in ((SIZE, block), (-block, block), (0, SIZE + block)):
                with refused(BadRequest):
                    device.extents(offset, length)

    def test_many_threads_read_at_once(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes

            def read(number: int) -> None:
                rng = random.Random(number)
                for _ in range(40):
                    offset = rng.randrange(0, SIZE, block)
                    view = memoryview(bytearray(block))
                    completion = device.start_read(offset, view)
                    assert device.read_at(offset, block) == CONTENT[offset : offset + block]
                    completion.wait()
                    assert view == CONTENT[offset : offset + block]

            in_threads(6, read)

    def test_a_read_only_device_refuses_changes(self) -> None:
        with self.make_read_only(CONTENT) as device:
            block = device.logical_block_size_bytes
            assert device.read_only
            with refused(ReadOnlyDevice):
                device.write_at(0, bytes(block))
            with refused(ReadOnlyDevice):
                device.zero(0, block)
            with refused(ReadOnlyDevice):
                device.discard(0, block)
            device.flush()
            assert device.read_at(0, SIZE) == CONTENT

    def test_close_waits_for_started_reads(self) -> None:
        device = self.make(CONTENT)
        block = device.logical_block_size_bytes
        requests = [(offset, memoryview(bytearray(block))) for offset in range(0, SIZE, block)]
        completions = device.start_reads(requests)
        device.close()
        assert all(completion.done for completion in completions)
        assert b"".join(view for _, view in requests) == CONTENT

    def test_a_second_close_does_nothing(self) -> None:
        device = self.make(CONTENT)
        assert not device.closed
        device.close()
        assert device.closed
        device.close()

    def test_a_closed_device_refuses_every_request(self) -> None:
        device = self.make(CONTENT)
        block = device.logical_block_size_bytes
        device.read_at(0, block)
        device.close()
        requests: list[Callable[[], object]] = [
            lambda: device.read_at(0, block),
            lambda: device.read_into(0, bytearray(block)),
            lambda: device.start_reads([(0, memoryview(bytearray(block)))]),
            lambda: device.extents(0, block),
            lambda: device.prefetch(0, block),
            device.flush,
        ]
        if not device.read_only:
            requests += [lambda: device.write_at(0, bytes(block)), lambda: device.zero(0, block)]
        for request in requests:
            with refused(DeviceClosed):
                request()
        assert device.size_bytes == SIZE  # what it was stays readable, for messages


class GrowingDevice(DeviceContract):
    """To be mixed in by devices whose medium can grow while they are open."""

    @abstractmethod
    def grow(self, device: BlockDevice, size_bytes: int) -> None:
        """Makes the medium of an open device larger; the new part is zeros."""

    def test_a_grown_medium_can_be_read_to_its_new_end(self) -> None:
        with self.make(CONTENT) as device:
            with refused(BadRequest):
                device.read_at(SIZE, 4096)
            self.grow(device, SIZE + 8192)
            assert device.read_at(SIZE, 8192) == bytes(8192)
            assert device.size_bytes == SIZE + 8192
            view = memoryview(bytearray([UNTOUCHED]) * 4096)
            device.start_read(SIZE + 4096, view).wait()
            assert not any(view)
