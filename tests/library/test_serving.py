"""`dmsnap.serve`: what clients read and write is what `open_snapshot` sees before and after."""

from __future__ import annotations

import random
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest
from nbd_clients import client, copy_of, exports_at, extents_of, qemu_io

import dmsnap

CHUNK = 4096
SIZE = 64 * CHUNK + 512


class Files(NamedTuple):
    """Two stores of one origin, and the bytes of all three."""

    folder: Path
    a: Path
    b: Path
    origin: Path
    content: dict[str, bytes]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An origin that ends within a chunk, a snapshot in chunks of 4 KiB and one in chunks of 16 KiB."""
    origin = tmp_path / "o.img"
    bytes_now = random.Random(11).randbytes(SIZE)
    origin.write_bytes(bytes_now)
    content = {"origin": bytes_now}
    for name, chunk in (("a", CHUNK), ("b", 4 * CHUNK)):
        dmsnap.create(tmp_path / f"{name}.cow", 1 << 20, chunk_size_bytes=chunk)
        with dmsnap.open_snapshot(tmp_path / f"{name}.cow", origin, "r+") as snapshot:
            snapshot.write_at(5 * CHUNK, name.encode() * 3 * CHUNK)
            content[name] = snapshot.read_at(0, SIZE)
    return Files(tmp_path, tmp_path / "a.cow", tmp_path / "b.cow", origin, content)


def content_of(files: Files) -> dict[str, bytes]:
    """What `open_snapshot` sees of the snapshots now, and the origin's bytes."""
    content = {"origin": files.origin.read_bytes()}
    for name in ("a", "b"):
        with dmsnap.open_snapshot(files.folder / f"{name}.cow", files.origin) as snapshot:
            content[name] = snapshot.read_at(0, SIZE)
            assert not snapshot.store.findings
    return content


# -- reading ----------------------------------------------------------------------------------------------------------


def test_every_snapshot_and_the_origin_is_an_export(files: Files) -> None:
    with dmsnap.serve([files.a, files.b], files.origin) as serving:
        exports = exports_at(serving.addresses[0])
        assert list(serving.exports) == ["a", "b", "origin"]
    assert set(exports) == {"a", "b", "origin"}
    assert {name: export["block_size_preferred"] for name, export in exports.items()} == {
        "a": CHUNK, "b": 4 * CHUNK, "origin": 4096,
    }  # fmt: skip
    assert {export["export-size"] for export in exports.values()} == {SIZE}
    assert not any(export["is_read_only"] for export in exports.values())


def test_clients_read_what_open_snapshot_reads(files: Files, tmp_path: Path) -> None:
    with dmsnap.serve([files.a, files.b], origin=files.origin) as serving:
        copies = {name: copy_of(serving.uri(name), tmp_path / "copy.img") for name in ("a", "b", "origin")}
        compared = client("qemu-img", "compare", "-f", "raw", "-F", "raw", serving.uri("a"), tmp_path / "copy.img")
    assert copies == files.content
    assert compared.returncode == 1, "qemu-img sees that a snapshot and the origin differ"


def test_the_dirty_bitmap_is_what_changed(files: Files) -> None:
    with dmsnap.serve([files.a, files.b], files.origin) as serving:
        for name, path in (("a", files.a), ("b", files.b)):
            dirty = [
                (offset, length)
                for offset, length, kind in extents_of(serving.uri(name), "qemu:dirty-bitmap:snapshot")
                if kind
            ]
            assert dirty == [(change.offset, change.length) for change in dmsnap.map_changes(path)]


def test_a_single_store_needs_no_list(files: Files) -> None:
    with dmsnap.serve(files.a, files.origin) as serving:
        assert list(serving.exports) == ["a", "origin"]


# -- writing ----------------------------------------------------------------------------------------------------------


def test_what_is_written_to_a_snapshot_is_in_its_store_and_nowhere_else(files: Files) -> None:
    with dmsnap.serve([files.a, files.b], files.origin) as serving:
        qemu_io(serving.uri("a"), "write -P 1 1024 512", "write -f -P 2 65536 32768", "write -z 131072 8192")
    expected = bytearray(files.content["a"])
    expected[1024:1536] = b"\1" * 512
    expected[65536 : 65536 + 32768] = b"\2" * 32768
    expected[131072 : 131072 + 8192] = bytes(8192)
    assert content_of(files) == {**files.content, "a": bytes(expected)}


def test_writing_the_origin_keeps_every_snapshot(files: Files, tmp_path: Path) -> None:
    fresh = random.Random(12).randbytes(SIZE)
    (tmp_path / "fresh.img").write_bytes(fresh)
    with dmsnap.serve([files.a, files.b], files.origin) as serving:
        assert client("nbdcopy", "--flush", tmp_path / "fresh.img", serving.uri("origin")).returncode == 0
        assert copy_of(serving.uri("b"), tmp_path / "copy.img") == files.content["b"]
    assert content_of(files) == {**files.content, "origin": fresh}


def test_all_written_at_once_stay_right(files: Files) -> None:
    seed = 13
    rng = random.Random(seed)
    expected = {name: bytearray(content) for name, content in files.content.items()}
    commands: dict[str, list[str]] = {name: [] for name in expected}
    for number in range(300):
        name = rng.choice(list(expected))
        length = 512 * rng.randint(1, 40)
        offset = 512 * rng.randrange((SIZE - length) // 512 + 1)
        expected[name][offset : offset + length] = bytes([number % 256]) * length
        commands[name].append(f"write -P {number % 256} {offset} {length}")
    said: dict[str, str] = {}
    with dmsnap.serve([files.a, files.b], files.origin) as serving:

        def write(name: str) -> None:
            said[name] = qemu_io(serving.uri(name), *commands[name], "flush")

        threads = [threading.Thread(target=write, args=(name,)) for name in expected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(said) == set(expected)
        assert not serving.lost
    assert content_of(files) == {name: bytes(content) for name, content in expected.items()}, f"seed {seed}"


def test_a_full_store_is_an_error_of_the_write_alone(files: Files, tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "small.cow", 8 * CHUNK, chunk_size_bytes=CHUNK)
    with dmsnap.serve([tmp_path / "small.cow"], files.origin) as serving:
        qemu_io(serving.uri("small"), "write -P 1 0 4096")
        failed = client("qemu-io", "-f", "raw", "-c", "write -P 2 0 262144", serving.uri("small"))
        assert "No space left on device" in failed.stdout + failed.stderr
        qemu_io(serving.uri("small"), "write -P 3 0 512", "flush", "read -P 3 0 512", "read 0 262144")
        assert not serving.lost
    with dmsnap.open_snapshot(tmp_path / "small.cow", files.origin) as snapshot:
        assert snapshot.read_at(0, 512) == b"\3" * 512


def test_a_full_store_is_an_error_of_the_write_to_the_origin_too(files: Files, tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "small.cow", 8 * CHUNK, chunk_size_bytes=CHUNK)
    with dmsnap.serve([tmp_path / "small.cow", files.a], files.origin) as serving:
        failed = client("qemu-io", "-f", "raw", "-c", "write -P 2 0 262144", serving.uri("origin"))
        assert "No space left on device" in failed.stdout + failed.stderr
        qemu_io(serving.uri("small"), "read 0 262144")
        assert not serving.lost
    assert content_of(files) == files.content


def test_a_snapshot_that_is_lost_is_told_of_at_once(files: Files, tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "small.cow", 8 * CHUNK, chunk_size_bytes=CHUNK)
    told: list[str] = []
    with dmsnap.serve([tmp_path / "small.cow", files.a], files.origin, full="invalidate", warn=told.append) as serving:
        qemu_io(serving.uri("origin"), "write -P 2 0 262144")
        assert set(serving.lost) == {"small"}
        assert str(serving.usage()["small"]) == "Invalid"
        qemu_io(serving.uri("a"), "read 0 4096")
    assert len(told) == 1
    assert "small: this snapshot is lost" in told[0]
    assert dmsnap.status(tmp_path / "small.cow") == "Invalid"
    assert files.origin.read_bytes()[:262144] == b"\2" * 262144


# -- where it listens -------------------------------------------------------------------------------------------------


def test_without_an_address_it_is_a_socket_that_only_this_user_reaches(files: Files) -> None:
    with dmsnap.serve([files.a], files.origin) as serving:
        path = Path(unquote(serving.addresses[0].partition("socket=")[2]))
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()


def test_a_unix_socket_goes_with_the_server(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "a socket&more"
    with dmsnap.serve([files.a], files.origin, unix=path) as serving:
        assert path.is_socket()
        assert set(exports_at(serving.addresses[0])) == {"a", "origin"}
    assert not path.exists()


def test_a_port_alone_is_this_machines(files: Files, tmp_path: Path) -> None:
    with dmsnap.serve([files.a], files.origin, tcp=0) as serving:
        assert serving.uri("a").startswith("nbd://127.0.0.1:")
        assert copy_of(serving.uri("a"), tmp_path / "copy.img") == files.content["a"]


def test_both_kinds_at_once(files: Files, tmp_path: Path) -> None:
    with dmsnap.serve([files.a], files.origin, tcp=":0", unix=tmp_path / "s") as serving:
        assert len(serving.uris("a")) == 2
        for uri in serving.uris("a"):
            assert copy_of(uri, tmp_path / "copy.img") == files.content["a"]


def test_a_name_of_any_characters_is_reached_by_its_uri(files: Files, tmp_path: Path) -> None:
    name = "ä/b ?&#%41"
    with dmsnap.serve([(name, files.a)], files.origin) as serving:
        assert copy_of(serving.uri(name), tmp_path / "copy.img") == files.content["a"]


# -- the name is also a package ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        "import dmsnap",
        "import dmsnap.serve",
        "import dmsnap.serve.nbd",
        "import dmsnap; dmsnap.Serving",
        "from dmsnap import serve; from dmsnap.serve.nbd import Server",
        "import dmsnap; dmsnap.serve; import dmsnap.serve.nbd as nbd; nbd.Server",
    ],
)
def test_it_can_be_called_whatever_was_imported_first(files: Files, first: str) -> None:
    code = (
        f"{first}\nimport dmsnap, sys\n"
        "with dmsnap.serve(sys.argv[1:2], origin=sys.argv[2]) as serving: print(*serving.exports)\n"
        "import dmsnap.serve.nbd\n"
        "assert dmsnap.serve.nbd.Export is not None and callable(dmsnap.serve)"
    )
    words = [sys.executable, "-c", code, str(files.a), str(files.origin)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("a origin\n", "")
