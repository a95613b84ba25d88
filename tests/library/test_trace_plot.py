"""Traces as pictures: that there is one for every kind of load, of bounded size, the same each time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from trace_stores import broken_at, store_of, timed

import dmsnap
from dmsnap.library.plotting import NoMatplotlib
from dmsnap.library.tracing.file import check_trace_file
from dmsnap.testing.tools import need

SVG, PNG = b"<?xml", b"\x89PNG"


@pytest.fixture(autouse=True)
def _matplotlib(request: pytest.FixtureRequest) -> None:
    if request.function is not test_without_matplotlib_it_is_refused_beforehand:
        need(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")


def picture(trace: dmsnap.Trace, path: Path) -> bytes:
    """The bytes of a picture."""
    trace.save(path)
    return path.read_bytes()


@pytest.mark.parametrize(("suffix", "begins"), [("svg", SVG), ("SVG", SVG), ("png", PNG)])
@pytest.mark.parametrize("prefetch", [0, "kernel", "auto"])
def test_a_load_becomes_a_picture(prefetch: str | int, suffix: str, begins: bytes, tmp_path) -> None:
    trace = dmsnap.Trace()
    dmsnap.info(timed(store_of(30, room_areas=20)), prefetch=prefetch, trace=trace)
    assert picture(trace, tmp_path / f"load.{suffix}").startswith(begins)


def test_the_same_load_gives_the_same_picture(tmp_path) -> None:
    pictures = []
    for name in ("one.svg", "two.svg"):
        trace = dmsnap.Trace()
        dmsnap.info(timed(store_of(10)), trace=trace)
        pictures.append(picture(trace, tmp_path / name))
    assert pictures[0] == pictures[1]


def test_no_load_and_a_load_without_areas_become_pictures_too(tmp_path) -> None:
    trace = dmsnap.Trace()
    assert picture(trace, tmp_path / "none.svg").startswith(SVG)
    invalid = store_of(2)
    invalid.write_at(0, b"SnAp" + bytes(4) + b"\1\0\0\0\1\0\0\0" + bytes(496))
    dmsnap.info(invalid, trace=trace)
    assert len(trace.loads[0]) == 0
    assert picture(trace, tmp_path / "empty.svg").startswith(SVG)


def test_a_load_that_failed_becomes_a_picture(tmp_path) -> None:
    trace = dmsnap.Trace()
    with pytest.raises(dmsnap.DmsnapError):
        dmsnap.info(broken_at(40, 60), prefetch=4, trace=trace)
    assert picture(trace, tmp_path / "failed.svg").startswith(SVG)


def test_a_trace_that_was_cut_short_becomes_a_picture(tmp_path) -> None:
    trace = dmsnap.Trace(most_events=100)
    dmsnap.info(timed(store_of(300)), trace=trace)
    assert trace.loads[0].left_out
    assert picture(trace, tmp_path / "some.svg").startswith(SVG)


@pytest.mark.parametrize("prefetch", [0, "kernel"])
def test_a_large_store_gives_no_large_picture(prefetch: str | int, tmp_path) -> None:
    trace = dmsnap.Trace()
    dmsnap.info(timed(store_of(3000), "nvme"), prefetch=prefetch, trace=trace)
    assert len(picture(trace, tmp_path / "load.svg")) < 400_000


def test_many_loads_share_a_picture(tmp_path) -> None:
    trace = dmsnap.Trace()
    for _ in range(6):
        dmsnap.info(timed(store_of(3)), trace=trace)
    assert picture(trace, tmp_path / "load.png").startswith(PNG)


def test_a_name_is_no_formula(tmp_path) -> None:
    trace, device = dmsnap.Trace(), timed(store_of(3))
    device.name = "$\\frac{" + "x" * 80 + "\x1b[31m$\udcff"
    dmsnap.info(device, trace=trace)
    assert picture(trace, tmp_path / "load.svg").startswith(SVG)


def test_without_matplotlib_it_is_refused_beforehand(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(NoMatplotlib, match="matplotlib"):
        check_trace_file(str(tmp_path / "load.svg"))
