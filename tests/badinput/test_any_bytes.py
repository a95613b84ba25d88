"""Laws of opening: any bytes are a store or one of dmsnap's own errors, and which of them a slow model says, too."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmsnap.block.memory import MemoryDevice
from dmsnap.errors import DmsnapError
from dmsnap.store import open_store
from dmsnap.target import DamagedException, SnapshotDevice, SnapshotInvalid, status_words
from dmsnap.testing.damage import DAMAGES, sound_store
from dmsnap.testing.store_model import counted, model_store
from dmsnap.testing.strategies import any_bytes, damaged_stores, mutated, stores

settings.register_profile("badinput", deadline=None, derandomize=True)
lawful = settings(settings.get_profile("badinput"), max_examples=60)

SLOW = {"a-million-duplicates", *(name for name, damage in DAMAGES.items() if damage.huge)}


def opened(data, **options):
    return open_store(MemoryDevice(data[: len(data) // 512 * 512], read_only=True), **options)


def agrees_with_the_model(data, origin_size_bytes=None):
    model = model_store(data, origin_size_bytes=origin_size_bytes)
    if model.refusal:
        with pytest.raises(DmsnapError) as raised:
            opened(data, origin_size_bytes=origin_size_bytes)
        assert type(raised.value).__name__ == model.refusal
        return
    store = opened(data, origin_size_bytes=origin_size_bytes)
    copies = {
        origin + step: cow + step if cow else 0
        for runs in store.table.batches()
        for origin, cow, length in zip(*(column.tolist() for column in runs), strict=True)
        for step in range(length)
    }
    assert copies == model.copies
    assert (store.valid, len(store.table)) == (model.valid, len(model.copies))
    assert (store.areas, store.committed, store.next_free) == (model.areas, model.committed, model.next_free)
    assert counted(store.findings) == model.findings
    assert status_words(store) == model.status


@lawful
@given(any_bytes())
def test_any_bytes(data):
    agrees_with_the_model(data)


@lawful
@given(stores(), st.none() | st.integers(0, 100).map(lambda sectors: sectors * 512))
def test_any_records(data, origin_size_bytes):
    agrees_with_the_model(data, origin_size_bytes)


@lawful
@given(mutated(sound_store()))
def test_any_accident_to_a_sound_store(data):
    agrees_with_the_model(data)


@lawful
@given(damaged_stores())
def test_any_accident_to_an_odd_store(data):
    agrees_with_the_model(data)


@pytest.mark.parametrize("length", [*range(20), 511, 512, 513, 1023, 1024, 1040, 34 * 512, 35 * 512 - 1, 35 * 512])
def test_any_length_of_a_sound_store(length):
    agrees_with_the_model(sound_store()[:length])


@pytest.mark.parametrize("bit", range(128))
def test_any_bit_of_the_header(bit):
    data = bytearray(sound_store(3))
    data[bit // 8] ^= 1 << bit % 8
    agrees_with_the_model(bytes(data))


@pytest.mark.parametrize("name", [name for name, damage in DAMAGES.items() if name not in SLOW])
def test_every_named_damage(name):
    agrees_with_the_model(DAMAGES[name].content())


@lawful
@given(damaged_stores(), st.integers(0, 130))
def test_a_snapshot_reads_what_can_be_had_and_its_extents_cover_it(data, sectors):
    origin = b"".join(bytes([number, 1]) * 256 for number in range(sectors))
    model = model_store(data)
    if model.refusal:
        return
    snapshot = SnapshotDevice(MemoryDevice(origin), opened(data))
    if not model.valid:
        if sectors:
            with pytest.raises(SnapshotInvalid):
                snapshot.read_at(0, 512)
        return
    for number in range(sectors):
        chunk, into = divmod(number * 512, model.chunk_bytes)
        copy = model.copies.get(chunk)
        if copy == 0:
            with pytest.raises(DamagedException):
                snapshot.read_at(number * 512, 512)
            continue
        layer, at = (origin, number * 512) if copy is None else (data, copy * model.chunk_bytes + into)
        assert snapshot.read_at(number * 512, 512) == layer[at : at + 512]
    extents = list(snapshot.extents(0, len(origin)))
    assert sum(extent.length for extent in extents) == len(origin)
    position = 0
    for extent in extents:
        assert extent.offset == position
        position += extent.length
