"""Programs of bufio instructions, alone and together: workloads of dmtest-python's tests of the kernel's own."""

import random
import sys

import pytest

from dmsnap.block.file import FileDevice
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import FaultDevice, fail_nth
from dmsnap.bufio import BufioClient
from dmsnap.testing.bufio_program import Op, Program, ProgramFailed, pattern, run, run_together

BLOCK = 4096
BLOCKS = 256
CACHE = 32
THREADS = 4


@pytest.fixture(autouse=True)
def nervous_threads():
    """Switches threads far more often than usual, which brings races out."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture(params=["memory", "file"])
def device(request, tmp_path):
    if request.param == "memory":
        yield MemoryDevice(BLOCKS * BLOCK)
        return
    path = tmp_path / "device"
    path.write_bytes(bytes(BLOCKS * BLOCK))
    with FileDevice(path, writable=True) as device:
        yield device


@pytest.fixture(params=[0, 1, 3], ids=["inline", "one-writer", "three-writers"])
def client(request, device):
    with BufioClient(device, BLOCK, max_buffers=CACHE, writers=request.param) as client:
        yield client


def stamper(blocks, value):
    program = Program()
    for block in blocks:
        program.new(block).stamp(value).put()
    return program


def verifier(blocks, value):
    program = Program()
    for block in blocks:
        program.read(block).verify(value).put()
    return program


def shares(parts=THREADS):
    """Splits the blocks so that neighbours belong to different threads."""
    return [range(part, BLOCKS, parts) for part in range(parts)]


def assert_on_device(device, value):
    for block in range(BLOCKS):
        assert device.read_at(block * BLOCK, BLOCK) == pattern(block, value, BLOCK), block


# -- the interpreter ---------------------------------------------------------------------------------------------------


def test_a_failed_verify_tells_the_block_and_the_step():
    with BufioClient(MemoryDevice(BLOCKS * BLOCK), BLOCK) as client:
        program = Program().new(5).stamp(1).verify(2)
        with pytest.raises(ProgramFailed, match="block 5 holds") as caught:
            run(program, client)
        assert "step 3" in caught.value.__notes__[0]
        assert client.counters.held == 0


def test_a_failure_in_any_of_the_threads_is_raised():
    with BufioClient(MemoryDevice(BLOCKS * BLOCK), BLOCK) as client, pytest.raises(ProgramFailed):
        run_together([Program().read(0).put(), Program().read(1).verify(77)], client)


def test_a_program_that_hangs_is_told_of():
    client = BufioClient(MemoryDevice(BLOCKS * BLOCK), BLOCK, max_buffers=1, reserved_buffers=0)
    held = client.read(0)
    with pytest.raises(ProgramFailed, match="did not end"):
        run_together([Program().read(1)], client, timeout_seconds=0.2)
    client.release(held)


def test_an_empty_register_is_left_alone():
    with BufioClient(MemoryDevice(BLOCKS * BLOCK), BLOCK) as client:
        run(Program().get(3).stamp(1).verify(2).put(), client)


# -- one thread --------------------------------------------------------------------------------------------------------


def test_clean_reads_far_beyond_the_cache(client):
    run(stamper(range(BLOCKS), 1).write_sync(), client)
    for _ in range(3):
        run(verifier(range(BLOCKS), 1), client)
    assert client.counters.memory_blocks <= CACHE + 1


def test_dirty_blocks_far_beyond_the_cache(client, device):
    run(stamper(range(BLOCKS), 1), client)
    run(verifier(range(BLOCKS), 1), client)
    run(stamper(range(BLOCKS), 2).write_sync(), client)
    assert_on_device(device, 2)


def test_a_hot_block_survives_a_scan(client):
    program = Program()
    for block in range(1, BLOCKS):
        program.read(0).put().read(block).put()
    run(program, client)
    assert client.counters.misses == BLOCKS


def test_blocks_written_asynchronously_over_and_over(client, device):
    program = Program()
    for value in range(40):
        program += stamper(range(CACHE // 2), value)
        program.write_async()
    run(program.write_sync().flush(), client)
    for block in range(CACHE // 2):
        assert device.read_at(block * BLOCK, BLOCK) == pattern(block, 39, BLOCK)


def test_forgotten_blocks_are_read_again(client):
    run(stamper(range(CACHE // 2), 1).write_sync().forget_range(0, CACHE // 2), client)
    run(verifier(range(CACHE // 2), 1), client)
    assert client.counters.misses == CACHE


def test_forgetting_loses_nothing_that_is_dirty(client):
    program = Program()
    for block in range(BLOCKS):
        program.new(block).stamp(1).put().forget(block)
    run(program.forget_range(0, BLOCKS) + verifier(range(BLOCKS), 1), client)


# -- several threads ---------------------------------------------------------------------------------------------------


def test_threads_that_stamp_their_own_blocks(client, device):
    run_together([stamper(blocks, 1) + verifier(blocks, 1) + stamper(blocks, 2) for blocks in shares()], client)
    client.write_dirty()
    assert_on_device(device, 2)


def test_threads_that_verify_the_same_blocks(client):
    run(stamper(range(BLOCKS), 1), client)
    orders = [random.Random(seed).sample(range(BLOCKS), BLOCKS) for seed in range(THREADS)]
    run_together([verifier(order, 1) for order in orders], client)


def test_a_storm_of_writes_beside_stampers(client, device):
    storm = Program()
    for _ in range(60):
        storm.write_async().write_sync()
    run_together([*(stamper(blocks, 1) + stamper(blocks, 2) for blocks in shares()), storm, storm], client)
    client.write_dirty()
    assert_on_device(device, 2)


def test_forgetting_races_with_stampers_and_verifiers(client):
    forget = Program()
    for block in range(BLOCKS):
        forget.forget(block).forget_range(block, 8)
    run_together([*(stamper(blocks, 1) + verifier(blocks, 1) for blocks in shares()), forget, forget], client)
    run(verifier(range(BLOCKS), 1), client)


def test_prefetch_races_with_readers(client):
    run(stamper(range(BLOCKS), 1).write_sync(), client)
    ahead = Program()
    for block in range(0, BLOCKS, 4):
        ahead.prefetch(block, 8).get(block + 1).verify(1).put()
    run_together([*(verifier(blocks, 1) for blocks in shares()), ahead, ahead], client)
    assert client.counters.in_flight == 0


def test_everything_at_once(client):
    run(stamper(range(BLOCKS), 0), client)
    run_together([random_program(seed, shares(6)[seed]) for seed in range(6)], client)
    assert client.counters.held == 0


def random_program(seed, blocks):
    """Returns a program that stamps and verifies its own blocks and disturbs everybody."""
    print(f"random program {seed}")
    choose = random.Random(seed)
    values = dict.fromkeys(blocks, 0)
    program = Program()
    for step in range(400):
        block = choose.choice(blocks)
        match choose.choice([Op.STAMP, Op.STAMP, Op.VERIFY, Op.VERIFY, Op.GET, Op.PREFETCH, Op.FORGET, Op.WRITE_ASYNC]):
            case Op.STAMP:
                values[block] = step + 1
                getattr(program, choose.choice(["new", "read"]))(block).stamp(step + 1).put()
            case Op.VERIFY:
                program.read(block).verify(values[block]).put()
            case Op.GET:
                program.get(block).verify(values[block]).put()
            case Op.PREFETCH:
                program.prefetch(choose.randrange(BLOCKS), choose.randrange(1, 20))
            case Op.FORGET:
                program.forget_range(choose.randrange(BLOCKS), choose.randrange(1, 20))
            case _ if step % 8 == 0:
                program.write_sync()
            case _:
                program.write_async()
    return program


@pytest.mark.parametrize("holds", [1, 2, 3])
def test_one_thread_may_hold_the_reserve_while_each_other_holds_one(holds):
    """The contract against deadlock: the cache itself has room for nothing but the holds of the others."""
    device = MemoryDevice(BLOCKS * BLOCK)
    with BufioClient(device, BLOCK, max_buffers=THREADS, reserved_buffers=holds, writers=0) as client:
        greedy = Program()
        for block in range(0, 60, holds):
            for register in range(holds):
                greedy.new(block + register, register).stamp(1, register)
            for register in range(holds):
                greedy.put(register)
        others = [stamper(range(64 + part, BLOCKS, THREADS), 1) for part in range(THREADS)]
        run_together([greedy, *others], client)


def test_errors_reach_programs_and_leave_the_client_usable():
    device = FaultDevice(MemoryDevice(BLOCKS * BLOCK), lambda request: request.op == "read" and request.number % 3 == 0)
    with BufioClient(device, BLOCK, max_buffers=8) as client:
        failures = 0
        for block in range(BLOCKS):
            try:
                run(Program().prefetch(block, 2).read(block).put(), client)
            except OSError:
                failures += 1
        assert failures > BLOCKS // 8
        assert client.counters.held == 0
        device.faults[:] = [fail_nth("write")]
        run(stamper(range(BLOCKS), 1), client)
        with pytest.raises(OSError, match="write 1 "):
            run(Program().write_sync(), client)
        device.faults.clear()
        run(stamper(range(BLOCKS), 2).write_sync(), client)
    assert_on_device(device, 2)
