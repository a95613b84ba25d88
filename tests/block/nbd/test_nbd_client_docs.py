"""The examples on the page about NBD addresses run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dmsnap.block.nbd.uri import parse_nbd_uri

PAGE = (Path(__file__).parents[3] / "docs/nbd-client.md").read_text("utf-8")


def test_the_example_runs(nbdkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = nbdkit("memory", "1M")
    socket_path = parse_nbd_uri(address).unix
    assert socket_path is not None
    (tmp_path / "disk.sock").symlink_to(socket_path.decode())
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(block, "docs/nbd-client.md", "exec"), {})


def test_every_parameter_that_is_understood_is_on_the_page() -> None:
    told = set(re.findall(r"^\| `([a-z-]+)=", PAGE, re.MULTILINE))
    assert told == {"socket", "tls-certificates", "tls-hostname", "tls-verify-peer", "tls-type"}
