"""Pictures: valid files, the same bytes each time, whole or not there at all, readable."""

from __future__ import annotations

import os
import struct
import sys
import xml.etree.ElementTree as ET
import zlib
from itertools import pairwise
from pathlib import Path

import pytest

import dmsnap
from dmsnap.library import output_file
from dmsnap.library.output_file import BadOutputFile
from dmsnap.library.plotting import (
    BadPlotFile,
    EndLabel,
    NoMatplotlib,
    check_plot_file,
    enclosing_ticks,
    label_ends,
    picture,
)
from dmsnap.library.simulation.plot import plot_simulation
from dmsnap.transfer.raw import OutputIsStore
from dmsnap.transfer.whole_file import CannotWrite


@pytest.fixture(scope="module")
def result() -> dmsnap.Simulation:
    return dmsnap.simulate(areas=60, depths=[0, 1, 4, 12, 64, 256])


def png_pixels(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG whose every chunk has its checksum and whose pixels unpack to the right number."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, packed, size = 8, b"", (0, 0)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        assert struct.unpack_from(">I", data, position + 8 + length) == (zlib.crc32(kind + body),)
        if kind == b"IHDR":
            width, height, depth, colours = struct.unpack_from(">IIBB", body)
            assert (depth, colours) == (8, 6)
            size = width, height
        packed += body if kind == b"IDAT" else b""
        position += 12 + length
    assert len(zlib.decompress(packed)) == size[1] * (1 + 4 * size[0])
    return size


def svg_texts(path: Path) -> list[str]:
    """Every text of a picture; drawn as outlines, each is named by a comment."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    root = ET.parse(path, parser).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return [(node.text or "").strip() for node in root.iter() if node.tag is ET.Comment]


def test_a_png_decodes_and_has_a_size_for_reading(result: dmsnap.Simulation, tmp_path: Path) -> None:
    plot_simulation(result, tmp_path / "loads.png")
    data = (tmp_path / "loads.png").read_bytes()
    assert png_pixels(data) == (1350, 840)
    assert len(data) < 400_000


def test_an_svg_says_what_it_shows(result: dmsnap.Simulation, tmp_path: Path) -> None:
    plot_simulation(result, tmp_path / "loads.svg")
    texts = svg_texts(tmp_path / "loads.svg")
    assert "Load time by prefetch depth" in texts
    assert "Linux: 12" in texts
    assert {"load time, logarithmic", "auto", "0", "1", "256"} <= set(texts)
    for model in result.models:
        assert any(text.startswith(f"{model.model} (auto: ") for text in texts)
    assert any(text.endswith((" s", " ms")) for text in texts), "a time without its unit"
    assert (tmp_path / "loads.svg").stat().st_size < 400_000


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_result_gives_the_same_bytes(kind: str, result: dmsnap.Simulation, tmp_path: Path) -> None:
    one, two = tmp_path / f"one.{kind}", tmp_path / f"two.{kind}"
    plot_simulation(result, one)
    plot_simulation(result, two)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("depths", [[0], [12], [65536], [0, 1], [0, 65536], list(range(100))])
def test_any_depths_can_be_drawn(depths: list[int], tmp_path: Path) -> None:
    result = dmsnap.simulate(areas=2, room_areas=1, depths=depths, models=["nvme"])
    plot_simulation(result, tmp_path / "loads.svg")
    svg_texts(tmp_path / "loads.svg")


def test_one_drive_is_one_and_what_was_asked_for_is_named(tmp_path: Path) -> None:
    result = dmsnap.simulate(areas=2, room_areas=7, start_bytes=1 << 30, depths=[0, 1], models=["nvme"])
    plot_simulation(result, tmp_path / "loads.svg")
    texts = svg_texts(tmp_path / "loads.svg")
    assert (
        "a store of 2 metadata areas of 4 KiB, on a simulated drive (seed 0, room for 7 more, from 1 GiB on)" in texts
    )


@pytest.mark.parametrize(
    ("low", "high"), [(1, 1), (0.5, 0.5000001), (0.99, 1.01), (1e-7, 2e-7), (0.003, 900), (1e-6, 1e6), (9.5, 10)]
)
def test_ticks_enclose_the_data(low: float, high: float) -> None:
    ticks = enclosing_ticks(low, high)
    assert 2 <= len(ticks) <= 14
    assert ticks[0] <= low
    assert high <= ticks[-1]
    assert ticks == sorted(set(ticks))


def test_names_are_only_names(result: dmsnap.Simulation, tmp_path: Path) -> None:
    name = "$x^2$ \x1b[31m 磁盘 \udcff <b>&"
    named = type(result)(**{field: getattr(result, field) for field in result.__slots__} | {"name": name})
    plot_simulation(named, tmp_path / "loads.svg")
    assert any("$x^2$" in text for text in svg_texts(tmp_path / "loads.svg"))


def test_a_users_own_settings_neither_matter_nor_change(result: dmsnap.Simulation, tmp_path: Path) -> None:
    import matplotlib as mpl

    plot_simulation(result, tmp_path / "one.svg")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        before = mpl.rcParams.copy()
        plot_simulation(result, tmp_path / "two.svg")
        assert mpl.rcParams.copy() == before
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_what_opens_windows_is_not_needed(
    result: dmsnap.Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    plot_simulation(result, tmp_path / "loads.png")


def test_labels_at_one_place_are_moved_apart(tmp_path: Path) -> None:
    from matplotlib.text import Text

    with picture(tmp_path / "labels.png", "labels") as (axes,):
        axes.plot([0, 1], [0, 1])
        label_ends(axes, [EndLabel(0.5 + number / 1000, f"line {number}", "black") for number in range(5)])
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.draw_without_rendering()
        boxes = [
            Text.get_window_extent(text)
            for text in axes.texts  # without the line that leads there
            if text.get_text().startswith("line")
        ]
    assert len(boxes) == 5
    assert all(upper.y0 >= lower.y1 - 1 for lower, upper in pairwise(boxes))
    assert all(box.x0 >= 0 and box.x1 <= 1350 for box in boxes), "runs out of the picture"


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loads", "loads.jpg", "svg", ".svg", "loads.svg.gz", ""])
def test_a_name_without_a_kind_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadPlotFile):
        check_plot_file(tmp_path / name if name else "")


def test_kinds_are_known_in_capitals_too(tmp_path: Path) -> None:
    with picture(tmp_path / "LOADS.PNG", "capitals"):
        pass
    png_pixels((tmp_path / "LOADS.PNG").read_bytes())


def test_a_picture_is_replaced_in_one_step_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "loads.svg"
    path.write_text("before")
    with pytest.raises(RuntimeError), picture(path, "fails"):
        raise RuntimeError
    assert path.read_text() == "before"
    with picture(path, "works"):
        pass
    assert path.read_text() != "before"
    assert list(tmp_path.iterdir()) == [path]


def test_something_other_than_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.svg")
    with pytest.raises(BadOutputFile, match="regular"):
        check_plot_file(tmp_path / "fifo.svg")


def test_a_store_is_never_overwritten(tmp_path: Path) -> None:
    store = tmp_path / "store.svg"
    dmsnap.create(store, 1 << 20)
    before = store.read_bytes()
    with pytest.raises(OutputIsStore), picture(store, "over a store"):
        pass
    assert store.read_bytes() == before


def test_a_missing_folder_is_found_before_and_after(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="no such"):
        check_plot_file(tmp_path / "none" / "loads.svg")
    with pytest.raises(CannotWrite, match="no such"), picture(tmp_path / "none" / "loads.svg", "nowhere"):
        pass


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output_file.os, "replace", full)
    with pytest.raises(CannotWrite, match="no space"), picture(tmp_path / "loads.svg", "full"):
        pass
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_way_to_get_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for attempt in (check_plot_file, lambda path: picture(path, "title").__enter__()):
        with pytest.raises(NoMatplotlib) as caught:
            attempt(tmp_path / "loads.svg")
        assert caught.value.hint == "pip install 'dmsnap[plot]'"
