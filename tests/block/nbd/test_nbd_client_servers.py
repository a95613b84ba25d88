"""What real servers offer, each in its way: extents, errors, delays, sizes, names, encryption."""

from __future__ import annotations

import errno
import socket
import subprocess
import time
from pathlib import Path

import pytest

from dmsnap.block import (
    BadRequest,
    CannotOpen,
    Extent,
    ExtentKind,
    FileDevice,
    IOFailed,
    OutOfRoom,
    open_device,
)
from dmsnap.block.nbd.device import NbdDevice
from dmsnap.testing import need, need_tool

DATA, HOLE = ExtentKind.DATA, ExtentKind.HOLE
MIB = 1 << 20


def test_an_address_is_opened_to_look_unless_asked_otherwise(nbdkit) -> None:
    address = nbdkit("memory", "1M")
    with open_device(address) as device:
        assert device.read_only
    with open_device(address, writable=True, exclusive=True) as device:
        device.write_at(512, b"x" * 512)
        assert device.read_at(512, 512) == b"x" * 512


def test_a_read_only_export_cannot_be_opened_for_writing(nbdkit) -> None:
    address = nbdkit("--readonly", "memory", "1M")
    with pytest.raises(CannotOpen, match="read-only") as caught:
        open_device(address, writable=True)
    assert caught.value.errno == errno.EROFS
    with open_device(address) as device:
        assert device.read_at(0, 512) == bytes(512)


def test_a_size_is_cut_to_whole_sectors(nbdkit) -> None:
    with NbdDevice(nbdkit("memory", "1234567")) as device:
        assert device.size_bytes == 1234567 // 512 * 512
        assert device.logical_block_size_bytes == 512
        with pytest.raises(BadRequest):
            device.read_at(device.size_bytes, 512)


def test_names_choose_among_exports(nbdkit) -> None:
    names = ("exportname=wanted one", "exportname-strict=true")
    address = nbdkit("--filter=exportname", "memory", "1M", *names)
    with NbdDevice(address.replace("///", "///wanted%20one")) as device:
        assert device.size_bytes == MIB
    with pytest.raises(CannotOpen) as caught:
        NbdDevice(address.replace("///", "///other"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp(nbdkit, host: str) -> None:
    if host == "::1":
        try:
            socket.create_server((host, 0), family=socket.AF_INET6).close()
        except OSError:
            need(False, "there is no IPv6 here")
    with NbdDevice(nbdkit("pattern", "1M", tcp=host)) as device:
        assert device.read_at(512, 512)[:8] == (512).to_bytes(8)


@pytest.mark.parametrize("address", ["nbd://127.0.0.1:1/", "nbd+unix:///?socket=/nowhere/socket"])
def test_where_no_server_is(address: str) -> None:
    with pytest.raises(CannotOpen) as caught:
        NbdDevice(address)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_large_requests_are_cut_to_what_the_server_takes(nbdkit) -> None:
    policy = ("blocksize-minimum=512", "blocksize-maximum=65536", "blocksize-error-policy=error")
    with NbdDevice(nbdkit("--filter=blocksize-policy", "memory", "4M", *policy), writable=True) as device:
        data = bytes(range(256)) * (3 * MIB // 256)
        device.write_at(MIB // 2, data)
        assert device.read_at(MIB // 2, len(data)) == data
        device.write_at(0, data, fua=True)
        device.prefetch(0, 4 * MIB)
        assert device.read_at(0, len(data)) == data


def test_more_reads_than_may_be_under_way(nbdkit) -> None:
    with NbdDevice(nbdkit("pattern", "64M")) as device:
        requests = [(number * 4096, memoryview(bytearray(4096))) for number in range(5000)]
        requests += [(number * MIB, memoryview(bytearray(8 * MIB))) for number in range(12)]
        completions = device.start_reads(requests)
        for completion in completions:
            completion.wait()
        assert all(view[:8] == offset.to_bytes(8) for offset, view in requests)
        assert all(view[-8:] == (offset + len(view) - 8).to_bytes(8) for offset, view in requests)


def test_a_callback_may_start_the_next_read(nbdkit) -> None:
    with NbdDevice(nbdkit("pattern", "1M")) as device:
        views = [memoryview(bytearray(512)) for _ in range(100)]
        started = []

        def next_one(_: object) -> None:
            if len(started) < len(views):
                number = len(started)
                started.append(device.start_read(number * 512, views[number]))
                started[-1].add_done_callback(next_one)

        next_one(None)
        while len(started) < len(views):
            started[-1].wait()
        started[-1].wait()
        assert [int.from_bytes(view[:8]) for view in views] == [512 * number for number in range(100)]


# -- extents ----------------------------------------------------------------------------------------------------------


def qcow2_chain(folder: Path) -> Path:
    """An overlay with 64 KiB of its own at 0, over a disk of 1 MiB that holds 128 KiB at 256 KiB."""
    below, above = folder / "below.qcow2", folder / "above.qcow2"
    qemu_img, qemu_io = need_tool("qemu-img"), need_tool("qemu-io")
    subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", below, "1M"], check=True)
    subprocess.run([qemu_io, "-f", "qcow2", "-c", "write -q 256k 128k", below], check=True)
    subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below, above], check=True)
    subprocess.run([qemu_io, "-f", "qcow2", "-c", "write -q 0 64k", above], check=True)
    return above


def test_extents_tell_holes_and_the_layer_that_answers(qemu_nbd, tmp_path: Path) -> None:
    with NbdDevice(qemu_nbd("--format=qcow2", "--allocation-depth", qcow2_chain(tmp_path))) as device:
        kib = 1024
        assert list(device.extents(0, MIB)) == [
            Extent(0, 64 * kib, DATA, 1),
            Extent(64 * kib, 192 * kib, HOLE, 2),
            Extent(256 * kib, 128 * kib, DATA, 2),
            Extent(384 * kib, 640 * kib, HOLE, 2),
        ]
        assert list(device.extents(32 * kib, 64 * kib)) == [
            Extent(32 * kib, 32 * kib, DATA, 1),
            Extent(64 * kib, 32 * kib, HOLE, 2),
        ]


def test_extents_of_a_sparse_file_are_those_of_the_file(nbdkit, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        for offset in range(0, 64 * MIB, 3 * MIB):
            file.seek(offset)
            file.write(b"x" * 4096)
        file.truncate(64 * MIB)
    with NbdDevice(nbdkit("file", path)) as device, FileDevice(path) as file_device:
        assert list(device.extents(0, 64 * MIB)) == list(file_device.extents(0, 64 * MIB))


def test_extents_beyond_32_bits(nbdkit) -> None:
    with NbdDevice(nbdkit("memory", "1T"), writable=True) as device:
        device.write_at(3 << 37, b"x" * 65536)
        row = list(device.extents(0, device.size_bytes))
        assert [extent.kind for extent in row] == [HOLE, DATA, HOLE]
        assert sum(extent.length for extent in row) == 1 << 40


def test_a_server_that_does_not_know_says_data(nbdkit) -> None:
    for arguments in (("--no-sr", "memory"), ("--filter=noextents", "memory")):
        with NbdDevice(nbdkit(*arguments, "1M")) as device:
            assert list(device.extents(0, MIB)) == [Extent(0, MIB, DATA)]


# -- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_says_where_and_the_connection_goes_on(nbdkit) -> None:
    faulty = ("--filter=error", "memory", "1M", "error-pread=EIO", "error-pread-rate=50%")
    with NbdDevice(nbdkit(*faulty)) as device:
        errors = {}
        for offset in range(0, MIB, 4096):
            try:
                device.read_at(offset, 4096)
            except IOFailed as error:
                errors[offset] = error
        assert 0 < len(errors) < MIB // 4096
        assert all((error.errno, error.offset_bytes) == (errno.EIO, offset) for offset, error in errors.items())


def test_a_full_server_is_out_of_room_and_what_was_there_can_be_read(nbdkit) -> None:
    full = ("--filter=error", "memory", "1M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%")
    with NbdDevice(nbdkit(*full), writable=True) as device:
        with pytest.raises(OutOfRoom) as caught:
            device.write_at(4096, bytes(4096))
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OutOfRoom):
            device.write_many([(0, memoryview(bytes(512))), (1024, memoryview(bytes(512)))])
        assert device.read_at(0, MIB) == bytes(MIB)


def test_a_failed_flush_is_counted(nbdkit) -> None:
    script = ("get_size=echo 1048576", "can_write=exit 0", "can_flush=exit 0", "flush=echo EIO no >&2; exit 1")
    with NbdDevice(nbdkit("eval", *script, "pread=exit 1", "pwrite=cat >/dev/null"), writable=True) as device:
        device.write_at(0, bytes(512))
        for count in (1, 2):
            with pytest.raises(IOFailed):
                device.flush()
            assert device.failed_flushes == count


# -- time -------------------------------------------------------------------------------------------------------------


def test_started_reads_are_with_the_server_all_at_once(nbdkit) -> None:
    with NbdDevice(nbdkit("--threads=64", "--filter=delay", "memory", "1M", "rdelay=20ms")) as device:
        requests = [(number * 4096, memoryview(bytearray(4096))) for number in range(64)]
        started = time.monotonic()
        for completion in device.start_reads(requests):
            completion.wait()
        assert 0.02 <= time.monotonic() - started < 64 * 0.02 / 4


def test_silence_is_an_error_in_time(nbdkit) -> None:
    address = nbdkit("--filter=delay", "memory", "1M", "rdelay=60")
    device = NbdDevice(address, timeout_seconds=0.3)
    started = time.monotonic()
    completions = device.start_reads([(offset, memoryview(bytearray(512))) for offset in (0, 512)])
    for completion in completions:
        with pytest.raises(IOFailed, match="did not answer within"):
            completion.wait()
    with pytest.raises(IOFailed):
        device.read_at(0, 512)
    device.close()
    assert time.monotonic() - started < 5
