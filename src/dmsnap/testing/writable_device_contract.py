"""What every writable block device must do, as tests to inherit; see `dmsnap.testing.device_contract`."""

# ruff: noqa: S311 - random data of a fixed seed is the point

from __future__ import annotations

import random
from array import array

from dmsnap.block import BadRequest, ExtentKind
from dmsnap.testing.device_contract import CONTENT, SEED, SIZE, DeviceContract, covering, in_threads, refused
from dmsnap.testing.device_model import check_against_model

__all__ = ["WritableDeviceContract"]


class WritableDeviceContract(DeviceContract):
    """Reading and writing."""

    def test_what_was_written_is_read_and_the_rest_is_kept(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            model = bytearray(CONTENT)
            for offset, length in ((block, block), (SIZE - block, block), (SIZE // 4, SIZE // 2), (0, 3 * block)):
                data = random.Random(offset).randbytes(length)
                device.write_at(offset, data)
                model[offset : offset + length] = data
                assert device.read_at(0, SIZE) == model, offset

    def test_a_durable_write_is_a_write(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            model = bytearray(CONTENT)
            for offset, length in ((block, block), (SIZE - block, block), (0, 20 * block), (3 * block, 0)):
                data = random.Random(offset).randbytes(length)
                device.write_at(offset, data, fua=True)
                model[offset : offset + length] = data
                assert device.read_at(0, SIZE) == model, offset

    def test_many_writes_at_once_take_effect_in_their_order(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            data = memoryview(random.Random(SEED).randbytes(3 * block))
            first, second, third = (data[at * block : (at + 1) * block] for at in range(3))
            device.write_many([(2 * block, first), (0, second), (2 * block, third), (block, data[:0])])
            device.write_many([])
            assert device.read_at(0, 4 * block) == b"".join(
                (second, CONTENT[block : 2 * block], third, CONTENT[3 * block : 4 * block])
            )

    def test_of_many_writes_none_is_made_if_one_is_refused(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            data = memoryview(bytes(block))
            bad = [(SIZE, data), (-block, data)] + ([(1, data), (0, data[1:])] if block > 1 else [])
            for request in bad:
                with refused(BadRequest):
                    device.write_many([(0, data), request])
            assert device.read_at(0, SIZE) == CONTENT

    def test_writes_any_contiguous_memory_and_keeps_no_hold_on_it(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            data = random.Random(SEED).randbytes(8 * block)
            memory = bytearray(data)
            square = memoryview(data).cast("B", (4, len(data) // 4))
            for source in (data, memory, memoryview(memory), memoryview(array("Q", data)), square):
                device.zero(0, len(data))
                device.write_at(0, source)
                assert device.read_at(0, len(data)) == data, type(source)
            memory[:] = bytes(len(data))
            assert device.read_at(0, len(data)) == data

    def test_a_change_outside_is_refused_and_changes_nothing(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            for offset, length in ((SIZE, block), (SIZE - block, 2 * block), (-block, block)):
                for fua in (False, True):
                    with refused(BadRequest):
                        device.write_at(offset, bytes(length), fua=fua)
                with refused(BadRequest):
                    device.zero(offset, length)
                with refused(BadRequest):
                    device.discard(offset, length)
            assert device.size_bytes == SIZE
            assert device.read_at(0, SIZE) == CONTENT

    def test_a_misaligned_change_is_refused_and_changes_nothing(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            if block == 1:
                return
            for offset, length in ((1, block), (0, block - 1), (block // 2, block // 2)):
                with refused(BadRequest):
                    device.write_at(offset, bytes(length))
                with refused(BadRequest):
                    device.zero(offset, length)
                with refused(BadRequest):
                    device.discard(offset, length)
            assert device.read_at(0, SIZE) == CONTENT

    def test_empty_changes_change_nothing(self) -> None:
        with self.make(CONTENT) as device:
            device.write_at(SIZE, b"")
            device.zero(0, 0)
            device.discard(SIZE, 0)
            assert device.read_at(0, SIZE) == CONTENT

    def test_a_zeroed_range_reads_as_zeros_and_the_rest_is_kept(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            model = bytearray(CONTENT)
            for offset, length in ((block, block), (3 * block, 20 * block), (SIZE - block, block), (0, SIZE)):
                device.zero(offset, length)
                model[offset : offset + length] = bytes(length)
                assert device.read_at(0, SIZE) == model, (offset, length)

    def test_a_discard_keeps_what_is_around_it(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            device.discard(3 * block, 20 * block)
            assert device.read_at(0, 3 * block) == CONTENT[: 3 * block]
            assert device.read_at(23 * block, SIZE - 23 * block) == CONTENT[23 * block :]

    def test_a_flush_changes_nothing(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            device.write_at(0, CONTENT[-block:])
            device.flush()
            assert device.read_at(0, SIZE) == CONTENT[-block:] + CONTENT[block:]

    def test_what_is_written_into_a_zeroed_range_is_data(self) -> None:
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            device.zero(0, SIZE)
            device.write_at(SIZE // 2, b"\x01" * block)
            row = covering(device.extents(0, SIZE), 0, SIZE)
            [written] = [extent for extent in row if extent.offset <= SIZE // 2 < extent.offset + extent.length]
            assert written.kind is ExtentKind.DATA
            assert written.offset + written.length >= SIZE // 2 + block

    def test_many_threads_write_and_read_their_own_blocks_at_once(self) -> None:
        workers = 6
        with self.make(CONTENT) as device:
            block = device.logical_block_size_bytes
            final: dict[int, bytes] = {}

            def change(number: int) -> None:
                rng = random.Random(number)
                for _ in range(40):
                    offset = rng.randrange(number * block, SIZE, workers * block)
                    data = final[offset] = rng.randbytes(block)
                    device.write_at(offset, data)
                    assert device.read_at(offset, block) == data

            in_threads(workers, change)
            model = bytearray(CONTENT)
            for offset, data in final.items():
                model[offset : offset + block] = data
            assert device.read_at(0, SIZE) == model

    def test_random_requests_behave_as_on_a_row_of_bytes(self) -> None:
        check_against_model(self.make)
