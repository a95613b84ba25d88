"""How a file makes a write durable: in one call where the system has it, else by a write and a sync."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dmsnap.block import FileDevice, positioned
from dmsnap.block import file as file_module
from dmsnap.testing import need


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The system calls of writes and syncs, as they come."""
    calls: list[str] = []

    def noting(name, call):
        def note(*args):
            calls.append(name)
            return call(*args)

        return note

    monkeypatch.setattr(file_module, "pwrite", noting("write", file_module.pwrite))
    monkeypatch.setattr(file_module, "_datasync", noting("sync", file_module._datasync))
    if hasattr(os, "pwritev"):
        monkeypatch.setattr(positioned.os, "pwritev", noting("write durably", os.pwritev))
    return calls


def test_one_call_does_it(path: Path, calls: list[str]) -> None:
    need(hasattr(os, "RWF_DSYNC"), "this system has no RWF_DSYNC")
    with FileDevice(path, writable=True) as device:
        device.write_at(512, b"a" * 1024, fua=True)
        assert calls == ["write durably"]
        assert (
            device.read_at(0, 2048)
            == path.read_bytes()[:2048]
            == bytes(range(256)) * 2 + b"a" * 1024 + bytes(range(256)) * 2
        )


def test_the_call_asks_for_data_sync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need(hasattr(os, "RWF_DSYNC"), "this system has no RWF_DSYNC")
    asked = []
    monkeypatch.setattr(positioned.os, "pwritev", lambda fd, views, offset, flags: asked.append(flags) or len(views[0]))
    with FileDevice(path, writable=True) as device:
        device.write_at(0, bytes(512), fua=True)
    assert asked == [os.RWF_DSYNC]


def test_a_short_call_is_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_call = file_module.pwrite_durably
    monkeypatch.setattr(file_module, "pwrite_durably", lambda fd, data, offset: true_call(fd, data[:700], offset))
    content = os.urandom(4096)
    with FileDevice(path, writable=True) as device:
        device.write_at(512, content, fua=True)
        assert device.read_at(512, 4096) == content


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS], ids=errno.errorcode.get)
def test_where_the_call_is_refused_a_write_and_a_sync_do_it(path, calls, monkeypatch, number) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(positioned.os, "pwritev", refuse, raising=False)
    with FileDevice(path, writable=True) as device:
        device.write_at(512, b"a" * 512, fua=True)
        assert calls == ["write", "sync"]
        assert device.read_at(512, 512) == b"a" * 512


def test_where_there_is_no_such_call_a_write_and_a_sync_do_it(path, calls, monkeypatch) -> None:
    monkeypatch.setattr(positioned, "_RWF_DSYNC", 0)
    with FileDevice(path, writable=True) as device:
        device.write_at(512, b"a" * 512, fua=True)
    assert calls == ["write", "sync"]
    assert path.read_bytes()[512:1024] == b"a" * 512


@pytest.mark.parametrize("most", [1, 511, 512, 513, 1024, 1500])
def test_writes_together_that_the_system_cuts_short_are_all_made(path, monkeypatch, most: int) -> None:
    def short(fd: int, views: list[memoryview], offset: int) -> int:
        return os.pwrite(fd, b"".join(views)[:most], offset)

    monkeypatch.setattr(file_module, "pwritev", short)
    with FileDevice(path, writable=True) as device:
        device.write_many([(at, memoryview(letter * 512)) for at, letter in ((512, b"1"), (1024, b"2"), (1536, b"3"))])
        assert device.read_at(512, 1536) == b"1" * 512 + b"2" * 512 + b"3" * 512
