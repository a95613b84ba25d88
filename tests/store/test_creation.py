"""Creating a store: the kernel's bytes, and refusals before anything is written."""

import pytest

from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import LogDevice
from dmsnap.store import BadChunkSize, EmptyStore, NotAStore, StoreTooSmall, create_store, open_store


def test_a_new_store_is_the_header_chunk_and_an_area_of_zeros():
    device = MemoryDevice(b"\xff" * 5 * 4096)
    create_store(device, 8)
    header = bytes.fromhex("53 6e 41 70 01 00 00 00 01 00 00 00 08 00 00 00")
    assert bytes(device.read_at(0, 8192)) == header.ljust(8192, b"\0")
    assert bytes(device.read_at(8192, 4096)) == b"\xff" * 4096


def test_it_is_flushed_and_loads_as_the_kernel_shows_a_fresh_one():
    log = LogDevice(MemoryDevice(1 << 20))
    create_store(log)
    assert [event.op for event in log.events][-1] == "flush"
    store = open_store(log)
    assert (store.allocated_sectors, store.total_sectors, store.metadata_sectors) == (64, 2048, 64)


@pytest.mark.parametrize(("size", "sectors", "error"), [(2 * 4096, 8, StoreTooSmall), (1 << 20, 3, BadChunkSize)])
def test_what_cannot_be_is_refused_before_a_byte_is_written(size, sectors, error):
    log = LogDevice(MemoryDevice(size))
    with pytest.raises(error):
        create_store(log, sectors)
    assert not log.events


def test_a_device_of_zeros_is_an_empty_store_and_stays_one():
    log = LogDevice(MemoryDevice(1 << 20))
    with pytest.raises(EmptyStore):
        open_store(log)
    assert [event.op for event in log.events] == ["read"]


@pytest.mark.parametrize("content", [b"", b"\0" * 512, b"SnAP".ljust(512, b"\0"), b"\x53" * 1024])
def test_other_content_is_not_a_store(content):
    with pytest.raises(NotAStore):
        open_store(MemoryDevice(content))


@pytest.mark.parametrize(
    ("at", "magic", "says"),
    [
        (512, b"LABELONE", "an LVM physical volume"),
        (0x438, b"\x53\xef", "an ext2, ext3 or ext4 filesystem"),
        (510, b"\x55\xaa", "a disk with a partition table"),
        (3000, b"?", "other data"),
    ],
)
def test_something_else_behind_zeros_is_not_called_empty_without_a_word(at, magic, says):
    content = bytearray(8192)
    content[at : at + len(magic)] = magic
    with pytest.raises(EmptyStore, match=f"no store.*{says}.*do not activate"):
        open_store(MemoryDevice(content))


@pytest.mark.parametrize(
    ("magic", "says"),
    [(b"QFI\xfb", "a qcow2 image"), (b"\x1f\x8b\x08\0", "a gzip file"), (b"abcd", "does not begin with")],
)
def test_something_else_is_named_where_it_is_well_known(magic, says):
    with pytest.raises(NotAStore, match=f"not an exception store.*{says}"):
        open_store(MemoryDevice(magic.ljust(1024, b"\1")))
