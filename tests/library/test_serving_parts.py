"""What `dmsnap.serve` opens, and what it refuses to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from library_files import CHUNK, open_descriptors, snapshot_files
from nbd_clients import client, exports_at, qemu_io

import dmsnap
from dmsnap.block import CannotOpen, FileDevice, InUse, IOFailed, MemoryDevice
from dmsnap.block.wrap.wrapper import Wrapper
from dmsnap.library.opening import SameDevice
from dmsnap.library.origin_doubts import OriginTooSmall
from dmsnap.library.serving.parts import BadName, export_names
from dmsnap.library.serving.tcp_address import BadAddress, is_loopback, tcp_address
from dmsnap.serve.nbd import CannotListen
from dmsnap.target.snapshot import SnapshotInvalid
from dmsnap.testing.tools import need_tool


@pytest.fixture
def files(tmp_path: Path):
    """A store with a few exceptions and its origin."""
    return snapshot_files(tmp_path)


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_snapshot_has_the_name_of_its_file_without_the_ending() -> None:
    assert list(export_names(["/x/monday.cow", Path("tuesday"), ("wed", "y.cow")])) == ["monday", "tuesday", "wed"]


@pytest.mark.parametrize(
    ("snaps", "hint"),
    [
        (["x/a.cow", "y/a.cow"], "NAME=y/a.cow"),
        (["x/origin.cow"], "NAME=x/origin.cow"),
        ([("a", "x.cow"), ("a", "y.cow")], "NAME=y.cow"),
        ([("", "x.cow")], "NAME=x.cow"),
        ([("n" * 5000, "x.cow")], "NAME=x.cow"),
        ([("\x1b[31m", "x.cow")], "NAME=x.cow"),
        ([], "at least one"),
    ],
)
def test_names_that_cannot_be_are_refused_with_a_way_out(snaps, hint: str) -> None:
    with pytest.raises(BadName) as caught:
        export_names(snaps)
    assert hint in caught.value.hint
    assert caught.value.message.isprintable()


def test_a_name_that_is_no_text_is_exported_escaped() -> None:
    (name,) = export_names(["x/\udcff\x1b.cow"])
    assert name == "\\udcff\\x1b"


def test_a_store_behind_nbd_has_the_name_of_its_export() -> None:
    assert list(export_names(["nbd://host/monday.cow", "nbd+unix:///?socket=x.sock"])) == ["monday", "snapshot"]


# -- what is opened ---------------------------------------------------------------------------------------------------


def test_stores_and_origin_are_kept_from_other_writers(files) -> None:
    with dmsnap.serve([files.cow], files.origin):
        for path in (files.cow, files.origin):
            with pytest.raises(InUse):
                FileDevice(path, writable=True, exclusive=True)


def test_only_looking_locks_and_writes_nothing(files) -> None:
    def state() -> list[tuple[str, int]]:
        return [(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files[:2]]

    before = state()
    with dmsnap.serve([files.cow], files.origin, read_only=True) as serving:
        assert all(export["is_read_only"] for export in exports_at(serving.addresses[0]).values())
        for path in files[:2]:
            FileDevice(path, writable=True, exclusive=True).close()
        refused = client("qemu-io", "-f", "raw", "-c", "write 0 512", serving.uri("snap"))
        assert refused.returncode != 0
    assert state() == before


def test_an_origin_that_another_uses_is_read_only(files) -> None:
    told: list[str] = []
    with (
        FileDevice(files.origin, writable=True, exclusive=True),
        dmsnap.serve([files.cow], files.origin, warn=told.append) as serving,
    ):
        exports = exports_at(serving.addresses[0])
        qemu_io(serving.uri("snap"), "write -P 1 0 512")
    assert {name: export["is_read_only"] for name, export in exports.items()} == {"snap": False, "origin": True}
    assert len(told) == 1
    assert "'origin' is read-only" in told[0]


def test_devices_that_the_caller_has_stay_open(files) -> None:
    need_tool("qemu-io")
    with FileDevice(files.cow, writable=True) as cow, MemoryDevice(files.content) as origin:
        with dmsnap.serve([("x", cow)], origin) as serving:
            qemu_io(serving.uri("origin"), "write -P 1 0 512")
            qemu_io(serving.uri("x"), "write -P 2 512 512")
        assert not cow.closed
        assert origin.read_at(0, 512) == b"\1" * 512
        with dmsnap.open_snapshot(cow, origin) as snapshot:
            assert snapshot.read_at(0, 1024) == files.content[:512] + b"\2" * 512


# -- what is refused --------------------------------------------------------------------------------------------------


def refused(kind: type[Exception], *arguments, **options) -> dmsnap.DmsnapError:
    """Fails unless serving raises an error of a kind, and lets go of everything."""
    before = open_descriptors()
    with pytest.raises(kind) as caught:
        dmsnap.serve(*arguments, **options)
    assert open_descriptors() == before
    assert isinstance(caught.value, dmsnap.DmsnapError)
    return caught.value


@pytest.mark.parametrize("read_only", [False, True])
class TestRefused:
    def test_a_store_that_is_the_origin(self, files, read_only: bool) -> None:
        refused(SameDevice, [files.cow], files.cow, read_only=read_only)

    def test_a_store_twice(self, files, read_only: bool) -> None:
        again = files.cow.with_name("again.cow")
        again.hardlink_to(files.cow)
        error = refused(SameDevice, [files.cow, again], files.origin, read_only=read_only)
        assert "named twice" in error.message

    def test_an_invalid_store(self, files, read_only: bool) -> None:
        data = bytearray(files.cow.read_bytes())
        data[4] = 0
        files.cow.write_bytes(data)
        refused(SnapshotInvalid, [files.cow], files.origin, read_only=read_only)

    def test_an_origin_that_is_too_small(self, files, read_only: bool) -> None:
        files.origin.write_bytes(files.content[: 10 * CHUNK])
        refused(OriginTooSmall, [files.cow], files.origin, read_only=read_only)

    def test_a_missing_store(self, files, read_only: bool) -> None:
        refused(CannotOpen, ["no.cow"], files.origin, read_only=read_only)

    def test_an_address_in_use(self, files, read_only: bool) -> None:
        with dmsnap.serve([files.cow], files.origin, read_only=True, tcp=0) as serving:
            port = int(serving.addresses[0].rpartition(":")[2])
            refused(CannotListen, [files.cow], files.origin, read_only=True, tcp=port)

    def test_no_address(self, files, read_only: bool) -> None:
        refused(BadAddress, [files.cow], files.origin, read_only=read_only, tcp="nowhere")


def test_a_store_that_another_writes_to(files) -> None:
    with FileDevice(files.cow, writable=True, exclusive=True):
        refused(InUse, [files.cow], files.origin)


# -- the end ----------------------------------------------------------------------------------------------------------


class LosesFlushes(Wrapper):
    """A device whose flushes fail once it is told to."""

    failing = False

    def _flush(self) -> None:
        if self.failing:
            raise IOFailed(f"{self.name}: flush failed")
        super()._flush()


def test_what_cannot_be_made_durable_at_the_end_is_told_and_the_rest_is_committed(files, tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "sound.cow", 1 << 20)
    with FileDevice(files.cow, writable=True) as file:
        cow = LosesFlushes(file)
        serving = dmsnap.serve([("x", cow), tmp_path / "sound.cow"], files.origin)
        qemu_io(serving.uri("x"), "write -P 1 0 512")
        qemu_io(serving.uri("sound"), "write -P 2 0 512")
        cow.failing = True
        with pytest.raises(IOFailed, match="flush failed"):
            serving.close()
        serving.close()
    with dmsnap.open_snapshot(tmp_path / "sound.cow", files.origin) as snapshot:
        assert snapshot.read_at(0, 512) == b"\2" * 512


def test_nothing_stays_open(files) -> None:
    before = open_descriptors()
    with dmsnap.serve([files.cow], files.origin) as serving:
        qemu_io(serving.uri("snap"), "read 0 512")
    assert open_descriptors() == before


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":10809", ("127.0.0.1", 10809)),
        ("10809", ("127.0.0.1", 10809)),
        (0, ("127.0.0.1", 0)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("example.org:7", ("example.org", 7)),
    ],
)
def test_an_address_is_host_and_port_or_a_port_of_this_machine(text, address) -> None:
    assert tcp_address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":", "host", "host:", "1:2:3", "::1:5", "host:65536", "a b:1", -1, "h:1/x", "\u0661"]
)
def test_anything_else_is_no_address(text) -> None:
    with pytest.raises(BadAddress):
        tcp_address(text)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_known(host: str, local: bool) -> None:
    assert is_loopback(host) == local
