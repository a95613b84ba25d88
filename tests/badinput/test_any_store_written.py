"""Laws of writing: any bytes are refused and left alone, or written to and merged as any other store."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

import dmsnap
from dmsnap.block.memory import MemoryDevice
from dmsnap.errors import DmsnapError
from dmsnap.target.merging import MergeFailed
from dmsnap.testing.damage import sound_store
from dmsnap.testing.store_builder import build_store, fill_chunk, in_allocation_order
from dmsnap.testing.strategies import any_bytes, damaged_stores, mutated, stores

settings.register_profile("badwriting", deadline=None, derandomize=True)
lawful = settings(settings.get_profile("badwriting"), max_examples=80)


@st.composite
def kept_stores(draw):
    """Stores as a kernel leaves them, some with room, of one area of 32 records or more."""
    order = draw(st.lists(st.integers(0, 120), unique=True, max_size=100))
    out = io.BytesIO()
    records = in_allocation_order(order, 1)
    room = draw(st.integers(0, 40))
    built = build_store(out, records, chunk_size_sectors=1, data=fill_chunk(1))
    out.truncate((built.size_chunks + room) * 512)
    return out.getvalue().ljust((built.size_chunks + room) * 512, b"\0")


pairs = st.one_of(
    st.tuples(st.one_of(any_bytes(), stores(), mutated(sound_store()), damaged_stores()), st.integers(0, 130)),
    st.tuples(kept_stores(), st.integers(121, 125)),
)
"""A store, and how many sectors its origin has."""


def devices(data, count):
    origin = b"".join(bytes([number, 1]) * 256 for number in range(count))
    return MemoryDevice(data[: len(data) // 512 * 512]), MemoryDevice(origin)


def content(device):
    return bytes(device.read_at(0, device.size_bytes))


def snapshot_content(cow, origin):
    with dmsnap.open_snapshot(cow, origin) as snapshot:
        return snapshot.read()


@lawful
@given(pairs)
def test_a_merge_refuses_or_makes_the_origin_the_snapshot(pair):
    cow, origin = devices(*pair)
    before = content(cow), content(origin)
    try:
        planned = dmsnap.merge(cow, origin, dry_run=True)
    except DmsnapError as refusal:
        try:
            dmsnap.merge(cow, origin)
        except DmsnapError as error:
            assert type(error) is type(refusal)  # noqa: PT017 - neither error is the subject
        else:
            raise AssertionError("the dry run refused it")
        assert (content(cow), content(origin)) == before
        return
    assert (content(cow), content(origin)) == before
    wanted = snapshot_content(cow, origin)
    try:
        result = dmsnap.merge(cow, origin)
    except MergeFailed:
        assert snapshot_content(cow, origin) == wanted
        return
    assert content(origin) == wanted
    assert dmsnap.info(cow).exceptions == 0
    assert result.chunks == planned.chunks
    assert dmsnap.merge(cow, origin).chunks == 0


@lawful
@given(pairs, st.lists(st.tuples(st.integers(0, 130 * 512), st.integers(1, 5000)), max_size=5))
def test_writes_are_refused_or_read_again(pair, writes):
    cow, origin = devices(*pair)
    before = content(cow), content(origin)
    try:
        snapshot = dmsnap.open_snapshot(cow, origin, "r+")
    except DmsnapError:
        assert content(cow) == before[0]
        return
    with snapshot:
        model = bytearray(snapshot.read())
        for number, (offset, length) in enumerate(writes):
            offset = min(offset, len(model))
            length = min(length, len(model) - offset)
            snapshot.seek(offset)
            try:
                snapshot.write(bytes([number + 100]) * length)
            except DmsnapError:
                model = None  # full: any part may have been written
                break
            model[offset : offset + length] = bytes([number + 100]) * length
        valid = snapshot.exceptions.valid
    assert content(origin) == before[1]
    if valid and model is not None:
        assert snapshot_content(cow, origin) == model
