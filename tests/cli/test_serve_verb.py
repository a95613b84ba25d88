"""``dmsnap serve``: says where it is, serves, and ends with everything committed, whatever ends it."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from served import Served, client

import dmsnap
from dmsnap.testing import need, need_tool

ENDINGS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def write(uri: str, *commands: str) -> subprocess.CompletedProcess[str]:
    """Runs qemu-io's commands on an export."""
    return client("qemu-io", "-f", "raw", *[word for command in commands for word in ("-c", command)], uri)


def content(files) -> bytes:
    """What the snapshot holds."""
    with dmsnap.open_snapshot(files.store, files.origin) as snapshot:
        assert not snapshot.store.findings
        return snapshot.read_at(0, snapshot.size_bytes)


# -- where it is ------------------------------------------------------------------------------------------------------


def test_it_says_where_each_export_is_when_it_is_ready(serve, files) -> None:
    served = serve("--unix", "here.sock")
    path = files.folder / "here.sock"
    assert served.lines == [f"nbd+unix:///{name}?socket={path}" for name in ("monday", "origin")]
    copied = client("nbdcopy", served.lines[0], files.folder / "copy.img")
    assert copied.returncode == 0, copied.stderr
    assert (files.folder / "copy.img").read_bytes() == content(files)
    assert served.end() == (0, "", "")
    assert not path.exists()


def test_json_is_one_object_on_one_line(serve, files) -> None:
    served = serve("--tcp", "0", "--json", lines=1)
    said = json.loads(served.lines[0])
    assert said["metrics"] is None
    assert [(each["name"], each["size_bytes"], each["read_only"]) for each in said["exports"]] == [
        (name, files.origin.stat().st_size, False) for name in ("monday", "origin")
    ]
    (uri,) = said["exports"][0]["uris"]
    assert uri.startswith("nbd://127.0.0.1:")
    assert client("nbdinfo", "--size", uri).stdout == f"{files.origin.stat().st_size}\n"
    assert served.end() == (0, "", "")


def test_a_name_may_be_given(serve, files) -> None:
    words = [f"tuesday={files.store.name}", "--origin", files.origin, "--unix", "s"]
    with Served(*words, lines=2, cwd=files.folder) as served:
        assert served.lines[0].startswith("nbd+unix:///tuesday?")
        assert served.end()[0] == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_an_address_that_others_reach_is_warned_of(serve, host: str) -> None:
    need(host != "[::]" or socket.has_ipv6, "no IPv6 here")
    served = serve("--tcp", f"{host}:0")
    status, _, err = served.end()
    assert status == 0
    assert err.startswith("dmsnap: warning: ")
    assert err.count("\n") == 1


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ENDINGS, ids=lambda number: number.name)
def test_a_signal_ends_it_with_everything_committed(serve, files, number: int) -> None:
    served = serve("--unix", "s")
    assert write(served.lines[0], "write -P 7 0 12288").returncode == 0
    assert served.end(number) == (0, "", "")
    assert content(files)[:12288] == b"\7" * 12288


def test_under_nohup_a_hangup_is_nothing(serve) -> None:
    served = serve("--unix", "s", wrapper=["sh", "-c", 'trap "" HUP; exec "$@"', "sh"])
    served.process.send_signal(signal.SIGHUP)
    assert client("nbdinfo", "--size", served.lines[0]).returncode == 0
    assert served.end() == (0, "", "")


@pytest.mark.parametrize("seed", range(3))
def test_what_was_answered_before_the_end_is_there_after_it(serve, files, seed: int) -> None:
    """SIGTERM in the middle of writes: those that were answered are in the store, though nobody flushed."""
    served = serve("--unix", "s")
    blocks = files.origin.stat().st_size // 4096
    order = random.Random(seed).sample(range(blocks), blocks)
    before = content_blocks(content(files))
    program = need_tool("qemu-io")
    words = [word for block in order for word in ("-c", f"write -P {1 + block % 250} {block * 4096} 4096")]
    writer = subprocess.Popen(
        ["stdbuf", "-oL", program, "-f", "raw", "-t", "none", *words, served.lines[0]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    answered = set()
    with writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if match := re.fullmatch(r"wrote 4096/4096 bytes at offset (\d+)\n", line):
                answered.add(int(match[1]) // 4096)
                if len(answered) == blocks // 4:
                    served.process.send_signal(signal.SIGTERM)
    assert len(answered) >= blocks // 4
    assert served.wait()[::2] == (0, "")
    after = content_blocks(content(files))
    for block in order:
        written = bytes([1 + block % 250]) * 4096
        if block in answered:
            assert after[block] == written, f"seed {seed}: block {block} was answered"
        else:
            assert after[block] in (written, before[block])


def content_blocks(data: bytes) -> list[bytes]:
    """A content in blocks of 4 KiB."""
    return [data[at : at + 4096] for at in range(0, len(data), 4096)]


def test_it_ends_with_the_last_client_where_asked(serve, files) -> None:
    served = serve("--unix", "s", "--exit-with-last-client")
    assert write(served.lines[0], "write -P 7 0 4096").returncode == 0
    assert served.wait() == (0, "", "")
    assert content(files)[:4096] == b"\7" * 4096


def test_a_signal_while_it_loads_is_an_interrupt(files) -> None:
    code = (
        "import dmsnap, os, signal, sys\n"
        "import dmsnap.library.serving as library\n"
        "def load(*_, **__): os.kill(os.getpid(), signal.SIGTERM); raise AssertionError('goes on')\n"
        "library.serve = load\n"
        "from dmsnap.cli import main\n"
        "sys.exit(main(['serve', 'x', '--origin', 'y', '--unix', 's']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "dmsnap: interrupted\n")


def test_a_snapshot_that_was_lost_is_a_failure_in_the_end(serve, files) -> None:
    dmsnap.create(files.folder / "small.cow", 5 << 12, chunk_size_bytes=4096)
    words = ["small.cow", "--origin", files.origin, "--unix", "s", "--when-full", "invalidate"]
    with Served(*words, lines=2, cwd=files.folder) as served:
        assert write(served.lines[0], "write -P 7 0 65536").returncode != 0
        status, _, err = served.end()
    assert status == 1
    assert err.splitlines()[0].startswith("dmsnap: warning: small: this snapshot is lost")
    assert err.splitlines()[-1].startswith("dmsnap: small: this snapshot is lost")
    assert "Traceback" not in err


# -- wrong usage and failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "--unix PATH, or --tcp PORT"),
        (["--tcp", "nowhere"], 2, "not an address"),
        (["--unix", "s", "--when-full", "explode"], 2, "explode"),
        (["--unix", "s", "--sync", "never"], 2, "never"),
        (["--unix", "s", "--max-connections", "0"], 2, "max-connections"),
        (["--unix", "s", "--metrics", "nowhere"], 2, "not an address"),
        (["--unix", "s", "--metrics", "unix:"], 2, "needs a path"),
        (["--unix", "s", "--tls-cert", "cert.pem"], 2, "--tls-key"),
        (["--unix", "s", "--tls-client-ca", "ca.pem"], 2, "--tls-key"),
        (["--unix", "s", "--trace", "load.txt"], 2, ".json"),
        (["--unix", ""], 1, "is empty"),
        (["--unix", "missing/s"], 1, "hint: make the directory"),
        (["--tcp", "0.0.0.0:0", "--tls-cert", "cert.pem", "--tls-key", "key.pem"], 1, "cert.pem: no such file"),
        (["--tcp", "192.0.2.1:0"], 1, "192.0.2.1 port 0: cannot listen there: [a-z ]+ .hint: name an address"),
        (["--unix", "s", "--tls-cert", "cert.pem", "--tls-key", "key.pem"], 1, "cert.pem"),
        (["--unix", "."], 1, "cannot listen|no socket"),
        (["--unix", "x" * 200], 1, "too long"),
        (["monday.cow", "--unix", "s"], 1, "monday.cow: named twice"),
        (["other/monday.cow", "--unix", "s"], 1, "both be 'monday'"),
        (["=monday.cow", "--unix", "s"], 1, "no name to be exported by"),
        (["missing.cow", "--unix", "s"], 1, "missing.cow"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], status: int, message: str, program, files) -> None:
    process = program("serve", files.store.name, "--origin", files.origin.name, *arguments)
    assert process.returncode == status, process.stderr
    assert process.stdout == ""
    assert re.fullmatch(rf"dmsnap: .*(?:{message}).*\n", process.stderr), process.stderr
    assert not (files.folder / "s").exists()


def test_a_store_in_use_is_all_that_is_said(serve, program, files) -> None:
    serve("--unix", "s")
    process = program("serve", files.store.name, "--origin", files.origin.name, "--unix", "t")
    assert process.returncode == 1
    assert re.fullmatch(r"dmsnap: monday.cow: in use by another writer \(hint: .*\)\n", process.stderr)


def test_a_working_directory_that_is_gone_is_said(files) -> None:
    gone = files.folder / "gone"
    gone.mkdir()
    dmsnap_serve = f"exec {sys.executable} -m dmsnap serve {files.store} --origin {files.origin} --unix s"
    process = subprocess.run(
        ["/bin/sh", "-c", f"rmdir {gone}; {dmsnap_serve}"], cwd=gone, capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert re.fullmatch(r"dmsnap: s: the working directory is gone \(hint: .*\)\n", process.stderr)


def test_names_that_are_no_text_are_served(files) -> None:
    odd = os.fsdecode(b"bad\xff\n.cow")
    files.store.rename(files.folder / odd)
    with Served(odd, "--origin", files.origin, "--unix", os.fsdecode(b"s\xff"), lines=2, cwd=files.folder) as served:
        assert "%FF" in served.lines[0]
        assert client("qemu-io", "-f", "raw", "-c", "read 0 4096", served.lines[0]).returncode == 0
        assert served.end() == (0, "", "")


def test_loading_is_traced(serve, files) -> None:
    served = serve("--unix", "s", "--trace", "load.json", "--prefetch", "kernel")
    (load,) = json.loads((files.folder / "load.json").read_text())["loads"]
    assert (load["device"], load["prefetch"]) == (str(files.store), "kernel")
    assert served.end() == (0, "", "")


def test_a_socket_in_use_is_not_taken_and_one_left_behind_is(serve, program, files) -> None:
    first = serve("--unix", "s", "--read-only")
    process = program("serve", files.store, "--origin", files.origin, "--unix", "s", "--read-only")
    assert (process.returncode, process.stdout) == (1, "")
    first.process.kill()
    first.wait()
    assert (files.folder / "s").is_socket()
    assert serve("--unix", "s").end() == (0, "", "")


def test_only_looking_changes_nothing(serve, files) -> None:
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in (files.store, files.origin)]
    served = serve("--unix", "s", "--read-only")
    assert client("qemu-io", "-r", "-f", "raw", "-c", "read 0 4096", served.lines[0]).returncode == 0
    assert write(served.lines[1], "write 0 4096").returncode != 0
    assert served.end() == (0, "", "")
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in (files.store, files.origin)] == before


def test_a_read_only_origin_is_enough(files) -> None:
    wrapper = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    files.origin.chmod(0o444)
    words = [files.store, "--origin", files.origin, "--unix", "s"]
    with Served(*words, lines=2, cwd=files.folder, wrapper=wrapper) as served:
        assert write(served.lines[0], "write -P 7 0 4096").returncode == 0
        status, _, err = served.end()
    assert status == 0
    assert re.fullmatch(r"dmsnap: warning: .*'origin' is read-only\n", err)


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_stats_are_a_summary_at_the_end(serve) -> None:
    served = serve("--unix", "s", "--stats")
    write(served.lines[0], "write -P 7 0 4096", "flush", "read 0 512")
    status, out, err = served.end()
    assert (status, out) == (0, "")
    assert re.search(r"^written 4 KiB in 1 requests$", err, re.MULTILINE)
    assert re.search(r"^monday \d+\.\d % full$", err, re.MULTILINE)


def test_metrics_are_served_beside(serve) -> None:
    served = serve("--unix", "s", "--metrics", "0", lines=3)
    assert served.lines[2].startswith("http://127.0.0.1:")
    write(served.lines[0], "write -P 7 0 4096", "read 0 512")
    with urllib.request.urlopen(served.lines[2], timeout=20) as reply:
        text = reply.read().decode()
    assert 'dmsnap_requests_total{kind="write"} 1\n' in text
    assert 'dmsnap_store_size_bytes{export="monday"} ' in text
    assert served.end() == (0, "", "")


def test_metrics_may_be_at_a_unix_socket(serve, files) -> None:
    served = serve("--unix", "s", "--metrics", "unix:m", lines=3)
    with socket.socket(socket.AF_UNIX) as scraper:
        scraper.settimeout(20)
        scraper.connect(str(files.folder / "m"))
        scraper.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert scraper.recv(15) == b"HTTP/1.1 200 OK"
    assert served.end() == (0, "", "")
    assert not (files.folder / "m").exists()


def test_a_terminal_shows_what_happens(terminal, files) -> None:
    script = files.folder / "client.py"
    script.write_text(
        "import pathlib, subprocess, sys, time\n"
        "while not pathlib.Path('s').is_socket(): time.sleep(0.01)\n"
        "subprocess.run(['qemu-io', '-f', 'raw', '-c', 'sleep 1500', 'nbd+unix:///monday?socket=s'], check=True)\n"
    )
    need_tool("qemu-io")
    with subprocess.Popen([sys.executable, str(script)], cwd=files.folder, stdout=subprocess.DEVNULL):
        status, shown = terminal(
            "serve", files.store, "--origin", files.origin, "--unix", "s", "--exit-with-last-client"
        )
    assert status == 0
    assert b"1 client | " in shown
    assert b"monday " in shown
    assert shown.endswith(b"\x1b[K")
