"""External programs that tests drive: skipped where missing, a failure where the run demands them."""

from __future__ import annotations

import os
import shutil

__all__ = ["need_tool"]


def need_tool(name: str) -> str:
    """Returns the path of program ``name``, or skips the running pytest test.

    With ``DMSNAP_REQUIRE_TOOLS=1`` in the environment (continuous integration) a missing program fails the test.
    """
    import pytest

    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        missing = f"{name} is not installed"
        if os.environ.get("DMSNAP_REQUIRE_TOOLS") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return path
