"""What tests need around them: skipped where it is missing, a failure where the run demands it."""

from __future__ import annotations

import os
import shutil

__all__ = ["need", "need_tool"]


def need(condition: object, missing: str) -> None:
    """Skips the running pytest test unless ``condition`` is true.

    With ``DMSNAP_REQUIRE_TOOLS=1`` in the environment (continuous integration) the test fails instead.

    Args:
        condition: Whether what the test needs is there.
        missing: What is to be read where it is not.
    """
    import pytest

    if condition:
        return
    if os.environ.get("DMSNAP_REQUIRE_TOOLS") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def need_tool(name: str) -> str:
    """Returns the path of program ``name``, or skips or fails the running pytest test as `need` does."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    need(path is not None, f"{name} is not installed")
    return str(path)
