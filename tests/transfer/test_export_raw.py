"""Export to a raw image: content, holes, and what a failure leaves."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dmsnap.block import FileDevice, IOFailed
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import FaultDevice, LogDevice, SliceDevice, fail_nth, fail_range
from dmsnap.transfer import CannotWrite, OutputInTheWay, OutputIsInput, OutputIsStore, ReaderGone, export_raw

MIB = 1 << 20


def random_content(seed: int) -> bytes:
    """Some MiB of data and zeros, changing at odd places, not in whole MiB."""
    rng = random.Random(seed)
    size = 512 * rng.randrange(1, 6 * MIB // 512)
    content = bytearray(size)
    for _ in range(rng.randrange(12)):
        at = rng.randrange(size)
        piece = rng.randbytes(rng.choice([1, 512, 4096, 70_000, MIB]))[: size - at]
        content[at : at + len(piece)] = piece
    return bytes(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("seed", range(25))
def test_the_image_is_the_content(seed: int, tmp_path: Path) -> None:
    content = random_content(seed)
    result = export_raw(MemoryDevice(content), tmp_path / "out.img", sync=False)
    assert (tmp_path / "out.img").read_bytes() == content
    assert result.size_bytes == len(content)
    nonzero = sum(len(content[at : at + 4096]) for at in range(0, len(content), 4096) if any(content[at : at + 4096]))
    assert result.written_bytes == nonzero


def test_holes_are_not_read_and_neither_holes_nor_zeros_take_up_space(tmp_path: Path) -> None:
    source = LogDevice(MemoryDevice(64 * MIB))
    source.write_at(20 * MIB, b"x" * 4096 + bytes(MIB) + b"y" * 4096)
    source.device.write_at(40 * MIB, bytes(MIB))  # data in the source, yet zeros
    source.events.clear()
    export_raw(source, tmp_path / "out.img")
    status = (tmp_path / "out.img").stat()
    assert status.st_size == 64 * MIB
    assert 0 < status.st_blocks * 512 <= 64 * 1024
    assert sum(length for _, length in source.ranges("read")) <= 3 * MIB


def test_a_device_of_holes_is_a_file_of_one(tmp_path: Path) -> None:
    export_raw(MemoryDevice(1 << 40), tmp_path / "out.img")
    status = (tmp_path / "out.img").stat()
    assert (status.st_size, status.st_blocks) == (1 << 40, 0)


def test_an_empty_device_is_an_empty_file(tmp_path: Path) -> None:
    assert export_raw(MemoryDevice(0), tmp_path / "out.img") == (0, 0)
    assert (tmp_path / "out.img").read_bytes() == b""


# -- names ------------------------------------------------------------------------------------------------------------


def test_the_name_appears_only_when_the_image_is_whole(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    export_raw(
        MemoryDevice(b"x" * MIB),
        tmp_path / "out.img",
        progress=lambda *_: seen.append(names(tmp_path)),
        sync=False,
    )
    assert seen
    assert all(found != ["out.img"] and len(found) == 1 for found in seen)
    assert names(tmp_path) == ["out.img"]


def test_a_file_is_replaced_in_one_step_and_keeps_its_permissions(tmp_path: Path) -> None:
    out = tmp_path / "out.img"
    out.write_bytes(b"before")
    out.chmod(0o600)
    with out.open("rb") as before:
        export_raw(MemoryDevice(b"x" * 512), out, overwrite=True)
        assert before.read() == b"before"
    assert out.read_bytes() == b"x" * 512
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_symbolic_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/out.img")
    export_raw(MemoryDevice(b"x" * 512), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "out.img").read_bytes() == b"x" * 512


@pytest.mark.parametrize("fault", [fail_range(3 * MIB, 512), fail_nth("read", 1)], ids=["late", "early"])
def test_a_failed_read_leaves_what_was_there(fault: object, tmp_path: Path) -> None:
    (tmp_path / "out.img").write_bytes(b"before")
    source = FaultDevice(MemoryDevice(b"x" * 4 * MIB), fault)  # type: ignore[arg-type]
    with pytest.raises(IOFailed):
        export_raw(source, tmp_path / "out.img", overwrite=True)
    assert names(tmp_path) == ["out.img"]
    assert (tmp_path / "out.img").read_bytes() == b"before"


def test_a_file_in_the_way_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out.img").write_bytes(b"before")
    with pytest.raises(OutputInTheWay, match="exists"):
        export_raw(MemoryDevice(512), tmp_path / "out.img")
    assert (tmp_path / "out.img").read_bytes() == b"before"


def test_a_store_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "other.cow").write_bytes(b"SnAp and more")
    with pytest.raises(OutputIsStore, match="is itself a COW store"):
        export_raw(MemoryDevice(512), tmp_path / "other.cow", overwrite=True)
    assert (tmp_path / "other.cow").read_bytes() == b"SnAp and more"


def test_a_full_filesystem_is_told_of_the_final_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dmsnap.block.file.pwrite", full)
    with pytest.raises(IOFailed, match=r"out\.img: cannot write at byte 0: no space left") as caught:
        export_raw(MemoryDevice(b"x" * 512), tmp_path / "out.img")
    assert ".part" not in str(caught.value)


def test_an_interrupted_export_leaves_nothing_and_no_thread(tmp_path: Path) -> None:
    threads = threading.active_count()

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_raw(MemoryDevice(b"x" * 4 * MIB), tmp_path / "out.img", progress=interrupt)
    assert names(tmp_path) == []
    assert threading.active_count() == threads


@pytest.mark.parametrize(("kill", "read_seconds"), [(signal.SIGINT, 0.3), (signal.SIGKILL, 3600)])
def test_a_killed_export_never_has_the_final_name(kill: signal.Signals, read_seconds: float, tmp_path: Path) -> None:
    code = f"""
import sys
from dmsnap.block import MemoryDevice
from dmsnap.block.wrap import DelayDevice
from dmsnap.transfer import export_raw
source = DelayDevice(MemoryDevice(b"x" * (4 << 20)), {read_seconds})
export_raw(source, {str(tmp_path / "out.img")!r}, progress=lambda *_: print("going", flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"going\n"
            process.send_signal(kill)
            process.wait(60)
        finally:
            process.kill()
    assert process.returncode == -kill
    left = names(tmp_path)
    assert "out.img" not in left
    assert len(left) == (kill == signal.SIGKILL)  # nobody can clean up after that one


@pytest.mark.parametrize("name", ["origin.img", "hard.img", "soft.img", "./sub/../origin.img"])
def test_an_input_is_never_overwritten_by_whatever_name(name: str, tmp_path: Path) -> None:
    origin = tmp_path / "origin.img"
    origin.write_bytes(b"o" * 4096)
    (tmp_path / "sub").mkdir()
    (tmp_path / "hard.img").hardlink_to(origin)
    (tmp_path / "soft.img").symlink_to(origin)
    with FileDevice(origin) as device, pytest.raises(OutputIsInput, match="would overwrite"):
        export_raw(SliceDevice(device, 512, 512), f"{tmp_path}/{name}", overwrite=True)
    assert origin.read_bytes() == b"o" * 4096


def test_places_that_cannot_be_written_are_one_error(tmp_path: Path) -> None:
    source = MemoryDevice(b"x" * 512)
    (tmp_path / "file").write_bytes(b"")
    for out in (tmp_path, tmp_path / "missing/out.img", tmp_path / "file/out.img", "/dev/full", "a\0b"):
        with pytest.raises(CannotWrite, match="cannot be written"):
            export_raw(source, out)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["out.img/", "folder/.", "folder/.."])
def test_the_name_of_a_folder_makes_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="cannot be written"):
        export_raw(MemoryDevice(512), f"{tmp_path}/{name}")
    assert names(tmp_path) == []


def test_a_mistyped_device_makes_no_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/no-such-device")
    for out in ("/dev/no-such-device", tmp_path / "link"):
        with pytest.raises(CannotWrite, match="no such device"):
            export_raw(MemoryDevice(512), out)
    assert not Path("/dev/no-such-device").exists()


# -- progress ---------------------------------------------------------------------------------------------------------


def test_progress_rises_to_the_whole_in_the_calling_thread(tmp_path: Path) -> None:
    calls: list[tuple[int, int, int]] = []
    export_raw(
        MemoryDevice(b"x" * 3 * MIB),
        tmp_path / "out.img",
        progress=lambda done, total: calls.append((done, total, threading.get_ident())),
    )
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
    assert calls[-1] == (3 * MIB, 3 * MIB, threading.get_ident())
    assert {thread for _, _, thread in calls} == {threading.get_ident()}


# -- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_stream_gets_everything_in_order(seed: int) -> None:
    content = random_content(seed)
    out = io.BytesIO()
    assert export_raw(MemoryDevice(content), out) == (len(content), len(content))
    assert out.getvalue() == content


def test_a_stream_that_takes_little_at_a_time_gets_everything() -> None:
    class Reluctant(io.BytesIO):
        def write(self, data: object) -> int:
            return super().write(memoryview(data)[:100_000])  # type: ignore[arg-type]

    out = Reluctant()
    export_raw(MemoryDevice(random_content(3)), out)
    assert out.getvalue() == random_content(3)


def test_a_fifo_is_a_stream(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    content = random_content(5)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE) as reader:
        thread = threading.Thread(target=export_raw, args=(MemoryDevice(content), fifo))
        thread.start()
        assert reader.stdout is not None
        assert reader.stdout.read() == content
        thread.join()
    assert fifo.is_fifo()


def test_a_reader_that_goes_is_one_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb", buffering=0) as out, pytest.raises(ReaderGone, match="nobody reads"):
        export_raw(MemoryDevice(b"x" * MIB), out)


def test_a_stream_ends_at_the_first_byte_that_cannot_be_read() -> None:
    out = io.BytesIO()
    with pytest.raises(IOFailed):
        export_raw(FaultDevice(MemoryDevice(b"x" * 4 * MIB), fail_range(2 * MIB, 512)), out)
    assert out.getvalue() == b"x" * 2 * MIB
