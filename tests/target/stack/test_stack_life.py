"""A stack's devices come, change and go as dmsetup's do; the outcomes are those of Linux 6.1."""

from __future__ import annotations

import errno
import gc
from pathlib import Path

import pytest

from dmsnap.block import BadRequest, CannotOpen, DeviceClosed, FileDevice, IOFailed, MemoryDevice, ReadOnlyDevice
from dmsnap.block.wrap import StatsDevice
from dmsnap.errors import DmsnapError
from dmsnap.target.stack import DeviceBusy, DeviceExists, NoSuchDevice, NoTable, Stack, TableRefused
from dmsnap.target.table import BadDeviceName


def a_stack(**devices: MemoryDevice) -> Stack:
    return Stack((devices or {"base": MemoryDevice(1 << 20)}).__getitem__)


def no_devices(name: str) -> MemoryDevice:
    raise KeyError(name)


def test_a_device_is_made_used_and_removed() -> None:
    base = MemoryDevice(1 << 20)
    stack = a_stack(base=base)
    device = stack.create("it", "0 16 linear base 8\n16 8 zero")
    assert stack.device("it") is stack.device("/dev/mapper/it") is device
    assert (device.name, device.size_bytes, device.read_only) == ("it", 24 * 512, False)
    device.write_at(0, b"\1" * 512)
    assert base.read_at(4096, 512) == b"\1" * 512
    assert stack.status("it") == "0 16 linear \n16 8 zero "
    assert stack.table("it") == "0 16 linear base 8\n16 8 zero "
    assert stack.names() == ["it"]
    stack.remove("it")
    assert stack.names() == []
    with pytest.raises(DeviceClosed):
        device.read_at(0, 512)
    assert base.read_at(4096, 512) == b"\1" * 512


def test_the_words_of_striped() -> None:
    stack = a_stack(a=MemoryDevice(1 << 20), **{"b c": MemoryDevice(1 << 20)})
    stack.create("it", r"0 96 striped 2 012 a 00 b\ c 16")
    assert stack.table("it") == r"0 96 striped 2 12 a 0 b\ c 16"
    assert stack.status("it") == r"0 96 striped 2 a b\ c 1 AA"
    stack.create("again", stack.table("it"))


@pytest.mark.parametrize("act", ["suspend", "resume", "remove", "status", "table", "device"])
def test_a_name_that_is_none(act: str) -> None:
    with pytest.raises(NoSuchDevice) as caught:
        getattr(a_stack(), act)("nobody")
    assert caught.value.errno == errno.ENXIO


def test_loading_a_name_that_is_none() -> None:
    with pytest.raises(NoSuchDevice):
        a_stack().load("nobody", "0 8 zero")


def test_a_name_is_taken_once() -> None:
    stack = a_stack()
    stack.create("it", "0 8 zero")
    with pytest.raises(DeviceExists) as caught:
        stack.create("it", "0 8 zero")
    assert caught.value.errno == errno.EBUSY
    assert stack.device("it").read_at(0, 512) == bytes(512)


@pytest.mark.parametrize("name", ["", "a/b", "x" * 128, "é" * 64, "a\0"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(BadDeviceName):
        a_stack().create(name, "0 8 zero")


def test_odd_names_that_are_some() -> None:
    stack = a_stack()
    for name in ("a b", "..", "x" * 127, "-"):
        stack.create(name, "0 8 zero")
    assert stack.names() == ["a b", "..", "x" * 127, "-"]


def test_a_device_whose_table_is_refused_is_gone() -> None:
    stack = a_stack()
    for table in ("0 8 linear base", "0 9999 linear base 0", "8 8 zero", "0 8 nosuch"):
        with pytest.raises(TableRefused):
            stack.create("it", table)
    assert stack.names() == []


def test_a_device_without_a_table() -> None:
    stack = a_stack()
    device = stack.create("it")
    assert (device.size_bytes, stack.status("it"), stack.table("it")) == (0, "", "")
    device.flush()
    with pytest.raises(BadRequest):
        device.read_at(0, 512)
    stack.resume("it")  # it is not suspended
    with pytest.raises(TableRefused) as caught:
        stack.create("above", "0 8 linear it 0")
    assert caught.value.errno == errno.ENODEV
    stack.suspend("it")
    with pytest.raises(NoTable) as none:
        stack.resume("it")
    assert none.value.errno == errno.EINVAL
    stack.load("it", "0 8 zero")
    stack.resume("it")
    assert device.size_bytes == 4096


def test_a_loaded_table_waits_for_the_resume() -> None:
    stack = a_stack()
    device = stack.create("it", "0 8 zero")
    stack.load("it", "0 16 error")
    assert stack.table("it") == "0 8 zero "
    device.read_at(0, 4096)
    stack.suspend("it")
    stack.suspend("it")
    assert stack.table("it") == "0 8 zero "
    stack.resume("it")
    assert stack.table("it") == "0 16 error "
    assert device.size_bytes == 8192
    with pytest.raises(IOFailed):
        device.read_at(0, 512)


def test_a_table_that_is_refused_leaves_the_loaded_one() -> None:
    stack = a_stack()
    stack.create("it", "0 8 zero")
    stack.load("it", "0 16 zero")
    for table in ("0 100 linear base", ""):
        with pytest.raises(TableRefused):
            stack.load("it", table)
    stack.resume("it")
    assert stack.table("it") == "0 16 zero "


def test_a_first_table_is_checked_when_loaded_and_a_later_one_when_resumed() -> None:
    base = MemoryDevice(4096)
    stack = a_stack(base=base)
    stack.create("it")
    with pytest.raises(TableRefused, match="base too small for target: start=0, len=16, dev_size=8"):
        stack.load("it", "0 16 linear base 0")
    stack.load("it", "0 8 linear base 0")
    stack.resume("it")
    stack.load("it", "0 16 linear base 0")
    base.grow(8192)
    stack.resume("it")
    assert stack.device("it").size_bytes == 8192


def test_a_table_that_does_not_fit_when_resumed_is_dropped() -> None:
    stack = a_stack()
    device = stack.create("it", "0 8 zero")
    stack.load("it", "0 100000 linear base 0")
    with pytest.raises(TableRefused, match="too small for target"):
        stack.resume("it")
    assert stack.table("it") == "0 8 zero "
    stack.resume("it")  # it is left suspended, with the table before
    assert device.read_at(0, 4096) == bytes(4096)


def test_what_others_are_built_on_stays() -> None:
    stack = a_stack()
    stack.create("below", "0 8 zero")
    stack.create("above", "0 8 linear /dev/mapper/below 0")
    stack.suspend("below")
    with pytest.raises(DeviceBusy) as caught:
        stack.remove("below")
    assert caught.value.errno == errno.EBUSY
    stack.resume("below")
    stack.load("above", "0 8 linear below 0")
    stack.resume("above")
    with pytest.raises(DeviceBusy):
        stack.remove("below")
    stack.load("above", "0 8 zero")
    with pytest.raises(DeviceBusy):
        stack.remove("below")
    stack.resume("above")
    stack.remove("below")


def test_a_table_that_only_waits_uses_its_devices_too() -> None:
    stack = a_stack()
    stack.create("below", "0 8 zero")
    stack.create("above", "0 8 zero")
    stack.load("above", "0 8 linear below 0")
    with pytest.raises(DeviceBusy):
        stack.remove("below")
    stack.load("above", "0 8 zero")
    stack.remove("below")


def test_a_refused_table_uses_nothing() -> None:
    stack = a_stack()
    stack.create("below", "0 8 zero")
    with pytest.raises(TableRefused):
        stack.create("above", "0 8 linear below 0\n8 8 linear below x")
    with pytest.raises(TableRefused):
        stack.create("above", "0 9 linear below 0")
    stack.remove("below")


def test_a_device_is_not_built_on_itself() -> None:
    """Linux lets that happen, and the device is never got rid of."""
    stack = a_stack()
    stack.create("one", "0 8 zero")
    stack.create("two", "0 8 linear one 0")
    stack.create("three", "0 8 zero")
    stack.load("three", "0 8 linear two 0")
    for name in ("/dev/mapper/one", "two", "three"):
        with pytest.raises(TableRefused, match="is built on one itself") as caught:
            stack.load("one", f"0 8 linear {name} 0")
        assert caught.value.errno == errno.ELOOP


def test_a_device_may_have_the_name_of_what_it_is_made_of() -> None:
    stack = a_stack()
    stack.create("base", "0 8 linear base 0")
    stack.create("above", "0 8 linear base 0")
    assert stack.table("base") == stack.table("above") == "0 8 linear base 0"
    stack.remove("above")
    with pytest.raises(TableRefused, match="base is built on base itself"):
        stack.load("base", "0 8 linear /dev/mapper/base 0")


def test_a_table_may_become_smaller_under_another() -> None:
    stack = a_stack()
    below = stack.create("below", "0 64 linear base 0")
    above = stack.create("above", "0 64 linear below 0")
    assert above.read_at(0, 32768) == bytes(32768)
    stack.load("below", "0 8 linear base 0")
    stack.resume("below")
    assert below.size_bytes == 4096
    assert above.read_at(0, 4096) == bytes(4096)
    with pytest.raises(IOFailed):
        above.read_at(4096, 512)
    with pytest.raises(IOFailed):
        above.start_read(4096, memoryview(bytearray(512))).wait()
    with pytest.raises(IOFailed):
        above.write_at(0, bytes(8192))
    with pytest.raises(IOFailed):
        list(above.extents(0, 8192))


def test_a_device_over_one_that_became_smaller_is_still_resumed() -> None:
    stack = a_stack()
    stack.create("below", "0 64 linear base 0")
    stack.create("above", "0 64 linear below 0")
    stack.create("striped", "0 64 striped 2 8 below 0 below 32")
    stack.load("below", "0 40 linear base 0")
    stack.resume("below")
    for name in ("above", "striped"):
        stack.suspend(name)
        stack.resume(name)
        assert stack.device(name).read_at(0, 8192) == bytes(8192)
        with pytest.raises(IOFailed):
            stack.device(name).read_at(0, 32768)
        stack.load(name, stack.table(name))
        with pytest.raises(TableRefused, match="below too small for target"):
            stack.resume(name)


def test_a_device_that_was_closed_is_opened_again() -> None:
    given: list[MemoryDevice] = []

    def open_device(name: str) -> MemoryDevice:
        given.append(MemoryDevice(4096))
        return given[-1]

    stack = Stack(open_device)
    stack.create("one", "0 8 linear base 0")
    stack.create("two", "0 8 linear base 0")
    assert len(given) == 1
    stack.close()
    given[0].close()
    stack.create("one", "0 8 linear base 0").read_at(0, 512)
    assert len(given) == 2


def test_a_read_only_device_refuses_writes_until_it_is_not() -> None:
    stack = a_stack()
    device = stack.create("it", "0 8 linear base 0", read_only=True)
    assert device.read_only
    with pytest.raises(ReadOnlyDevice):
        device.write_at(0, bytes(512))
    stack.load("it", "0 8 linear base 0")
    stack.resume("it")
    assert not device.read_only
    device.write_at(0, bytes(512))


def test_what_is_below_may_be_read_only() -> None:
    stack = a_stack(base=MemoryDevice(8192, read_only=True))
    device = stack.create("it", "0 8 linear base 0")
    assert device.read_only
    mixed = stack.create("mixed", "0 8 linear base 0\n8 8 zero")
    assert not mixed.read_only
    mixed.write_at(4096, bytes(512))


def test_flushes_go_once_to_each_device_and_to_all() -> None:
    disks = {name: StatsDevice(MemoryDevice(1 << 20)) for name in ("one", "two")}
    stack = Stack(disks.__getitem__)
    lines = [f"{n * 8} 8 linear {'one' if n % 2 else 'two'} {n * 8}" for n in range(8)]
    device = stack.create("it", "\n".join([*lines, "64 16 striped 2 8 one 100 two 100", "80 8 error"]))
    device.flush()
    assert [disk.flushes.requests for disk in disks.values()] == [1, 1]


def test_a_flush_that_fails_on_one_device_reaches_the_others() -> None:
    from dmsnap.block.wrap import FaultDevice, fail_nth

    last = StatsDevice(MemoryDevice(4096))
    stack = Stack({"bad": FaultDevice(MemoryDevice(4096), fail_nth("flush")), "good": last}.__getitem__)
    device = stack.create("it", "0 8 linear bad 0\n8 8 linear good 0")
    with pytest.raises(IOFailed):
        device.flush()
    assert last.flushes.requests == 1


def test_two_names_of_one_file_are_one_device(tmp_path: Path) -> None:
    path, link = tmp_path / "disk", tmp_path / "link"
    path.write_bytes(bytes(8192))
    link.symlink_to(path)
    opened: list[FileDevice] = []

    def open_device(name: str) -> FileDevice:
        opened.append(FileDevice(name, writable=True))
        return opened[-1]

    stack = Stack(open_device)
    stack.create("it", f"0 8 linear {path} 0\n8 8 linear {link} 8")
    assert stack.device("it").live.targets[0].areas()[0].device is stack.device("it").live.targets[1].areas()[0].device  # type: ignore[attr-defined]
    stack.create("again", f"0 8 linear {path} 0")
    assert len(opened) == 2
    stack.close()
    for device in opened:
        assert not device.closed  # they are the caller's
        device.close()


def test_a_device_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    def open_device(name: str) -> FileDevice:
        return FileDevice(name)

    stack = Stack(open_device)
    for name, number in ((tmp_path / "none", errno.ENODEV), (tmp_path, errno.EISDIR)):
        with pytest.raises(TableRefused, match="linear: Device lookup failed: ") as caught:
            stack.create("it", f"0 8 linear {name} 0")
        assert caught.value.errno == number
        assert isinstance(caught.value.__cause__.__cause__, CannotOpen)  # type: ignore[union-attr]


def test_a_device_that_is_none() -> None:
    with pytest.raises(TableRefused, match="t: linear: Device lookup failed: nothing: no such device") as caught:
        Stack(no_devices).create("t", "0 8 linear nothing 0")
    assert (caught.value.errno, caught.value.words) == (errno.ENODEV, "linear: Device lookup failed")


def test_closing_removes_all_from_the_top() -> None:
    with a_stack() as stack:
        stack.create("c", "0 8 linear base 0")
        stack.create("a", "0 8 linear c 0")
        stack.create("b", "0 8 linear a 0")
        stack.load("c", "0 8 zero")
    assert stack.names() == []


def test_every_refusal_is_an_error_of_ours() -> None:
    for kind in (DeviceBusy, DeviceExists, NoSuchDevice, NoTable, TableRefused):
        assert issubclass(kind, DmsnapError)


def test_a_removed_device_leaves_no_cycle_that_holds_its_devices() -> None:
    import weakref

    base = MemoryDevice(4096)
    gone = weakref.ref(base)
    stack = Stack({"base": base}.pop)
    stack.create("it", "0 8 linear base 0")
    stack.close()
    del base, stack
    gc.collect()
    assert gone() is None
