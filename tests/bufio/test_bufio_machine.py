"""A state machine against a model: contents, holds, dirty ranges, what is on the device and what is durable."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dmsnap.block import IOFailed
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import FaultDevice
from dmsnap.bufio import BufioClient
from dmsnap.bufio.writeback import write_range

BLOCK = 3 * 4096 + 512
BLOCKS = 8
CACHE = 3
RESERVED = 2

blocks = st.integers(0, BLOCKS - 1)
ranges = st.tuples(st.integers(0, BLOCK - 1), st.integers(1, BLOCK)).map(lambda r: (r[0], min(r[0] + r[1], BLOCK)))


class Durable(MemoryDevice):
    """Memory that knows what it held when it was last flushed."""

    durable = bytes(BLOCKS * BLOCK)

    def _flush(self):
        self.durable = self.content()

    def content(self):
        return bytes(self.read_at(0, self.size_bytes))


class BufioMachine(RuleBasedStateMachine):
    """Everything a caller changed is marked dirty at once, so that the model always knows what a block must hold."""

    writers = 0

    @initialize(no_sleep=st.booleans())
    def start(self, no_sleep):
        self.bad = set()  # blocks whose reads fail
        self.doubtful = set()  # blocks that may have kept an error since
        self.device = Durable(BLOCKS * BLOCK)
        self.faulty = FaultDevice(self.device, lambda r: r.op == "read" and r.offset // BLOCK in self.bad)
        self.no_sleep = no_sleep
        self.client = BufioClient(
            self.faulty,
            BLOCK,
            max_buffers=CACHE,
            reserved_buffers=RESERVED,
            writers=self.writers,
            no_sleep=no_sleep,
        )
        self.content = [bytearray(BLOCK) for _ in range(BLOCKS)]
        self.dirtied = [[] for _ in range(BLOCKS)]  # ranges since all was last written
        self.held = []

    def teardown(self):
        if hasattr(self, "client"):
            while self.held:
                self.client.release(self.held.pop())
            self.client.close()
            assert self.device.content() == b"".join(self.content)

    def room(self):
        return len({buffer.block for buffer in self.held}) < CACHE + RESERVED - 1

    def hand_out(self, buffer):
        assert buffer.data == self.content[buffer.block]
        self.held.append(buffer)

    # -- getting and giving back --------------------------------------------------------------------------------------

    @precondition(room)
    @rule(block=blocks)
    def read(self, block):
        try:
            self.hand_out(self.client.read(block))
        except IOFailed:
            assert block in self.bad | self.doubtful
            assert all(buffer.block != block for buffer in self.held)
            self.doubtful -= {block} - self.bad

    @precondition(room)
    @rule(block=blocks)
    def get(self, block):
        try:
            buffer = self.client.get(block)
        except IOFailed:
            assert block in self.bad | self.doubtful
            return
        if buffer is None:
            assert all(held.block != block for held in self.held)
        else:
            self.hand_out(buffer)

    @precondition(room)
    @rule(block=blocks, fill=st.integers(1, 255))
    def overwrite(self, block, fill):
        try:
            buffer = self.client.new(block)
        except IOFailed:
            assert block in self.bad | self.doubtful
            return
        self.held.append(buffer)
        self.change(buffer, (0, BLOCK), fill)

    @rule(block=blocks, count=st.integers(0, BLOCKS))
    def prefetch(self, block, count):
        self.client.prefetch(block, count)
        self.doubtful |= self.bad & set(range(block, block + count))

    @rule(wanted=st.lists(st.integers(-2, BLOCKS + 1), max_size=5))
    def prefetch_blocks(self, wanted):
        self.client.prefetch_blocks(wanted)
        self.doubtful |= self.bad & set(wanted)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        self.client.release(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))

    # -- changing and writing -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.held)
    @rule(data=st.data(), where=ranges, fill=st.integers(1, 255))
    def change_part(self, data, where, fill):
        self.change(data.draw(st.sampled_from(self.held)), where, fill)

    def change(self, buffer, where, fill):
        start, end = where
        self.dirtied[buffer.block].append(where)
        self.content[buffer.block][start:end] = bytes([fill]) * (end - start)
        buffer.data[start:end] = bytes([fill]) * (end - start)
        if where == (0, BLOCK):
            self.client.mark_dirty(buffer)
        else:
            self.client.mark_partial_dirty(buffer, start, end)

    @rule()
    def write_dirty_async(self):
        self.client.write_dirty_async()

    @rule()
    def write_dirty(self):
        self.client.write_dirty()
        self.dirtied = [[] for _ in range(BLOCKS)]
        assert self.device.durable == self.device.content() == b"".join(self.content)

    @rule()
    def flush(self):
        self.client.flush()

    # -- dropping -----------------------------------------------------------------------------------------------------

    @rule(block=blocks)
    def forget(self, block):
        self.client.forget(block)

    @precondition(lambda self: not self.no_sleep)
    @rule(block=blocks, count=st.integers(0, BLOCKS))
    def forget_buffers(self, block, count):
        self.client.forget_buffers(block, count)

    @precondition(lambda self: not self.held)
    @rule()
    def reset(self):
        self.client.reset()
        self.doubtful.clear()
        assert self.client.counters.memory_blocks == 0
        assert self.device.content() == b"".join(self.content)

    @rule(count=st.integers(0, 2 * CACHE))
    def set_minimum_buffers(self, count):
        self.client.set_minimum_buffers(count)

    @rule(block=blocks)
    def break_or_mend(self, block):
        self.bad ^= {block}

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def counts_are_consistent(self):
        if not hasattr(self, "client"):
            return
        counters = self.client.counters
        assert counters.held == len({buffer.block for buffer in self.held})
        assert counters.clean + counters.dirty == counters.memory_blocks <= CACHE + RESERVED
        assert counters.in_flight == 0

    @invariant()
    def held_buffers_hold_the_content(self):
        for buffer in getattr(self, "held", ()):
            assert buffer.data == self.content[buffer.block]

    @invariant()
    def only_what_was_dirtied_may_differ_on_the_device(self):
        for block, dirtied in enumerate(getattr(self, "dirtied", ())):
            found, expected = self.device.read_at(block * BLOCK, BLOCK), bytearray(self.content[block])
            if dirtied:
                start, end = write_range(min(low for low, _ in dirtied), max(high for _, high in dirtied), 4096, BLOCK)
                found[start:end] = expected[start:end]
            assert found == expected


class BackgroundBufioMachine(BufioMachine):
    """The same with a writer thread."""

    writers = 1


runs = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
TestBufioInline = pytest.mark.timeout(300)(BufioMachine.TestCase)
TestBufioInline.settings = runs
TestBufioBackground = pytest.mark.timeout(300)(BackgroundBufioMachine.TestCase)
TestBufioBackground.settings = runs
