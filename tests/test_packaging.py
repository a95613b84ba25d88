"""What is packaged, and that the project's own files agree with each other."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

from dmsnap.testing.kernelvm import APT_PACKAGES

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_command_is_installed() -> None:
    (script,) = entry_points(group="console_scripts", name="dmsnap")
    assert callable(script.load())


def test_the_installed_version_is_the_projects() -> None:
    assert version("dmsnap") == PROJECT["project"]["version"]


def test_plain_installation_needs_three_packages() -> None:
    names = [re.split(r"[<>=]", requirement)[0] for requirement in PROJECT["project"]["dependencies"]]
    assert names == ["click", "numpy", "rich"]


def test_what_the_source_distribution_takes_is_there() -> None:
    taken = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in taken if not (ROOT / name.lstrip("/")).exists()] == []


def test_integration_installs_what_the_kernel_machine_needs() -> None:
    script = (ROOT / ".ci/run").read_text("utf-8")
    match = re.search(r"packages=\((.*?)\)", script, re.DOTALL)
    assert match is not None
    assert set(APT_PACKAGES) <= set(match.group(1).split())


def test_integration_demands_every_tool() -> None:
    assert "DMSNAP_REQUIRE_TOOLS=1" in (ROOT / ".ci/run").read_text("utf-8")


def test_every_documented_make_verb_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    verbs = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        documented = set(re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        assert documented
        assert documented <= verbs
