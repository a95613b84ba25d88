"""What a test needs and does not find: a skip, or a failure where the run demands it."""

from __future__ import annotations

import pytest

from dmsnap.testing import need, need_tool


@pytest.mark.parametrize(("demanded", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_what_is_missing_skips_or_fails(
    monkeypatch: pytest.MonkeyPatch, demanded: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("DMSNAP_REQUIRE_TOOLS", demanded)
    with pytest.raises(outcome, match="there is no moon"):
        need(False, "there is no moon")
    with pytest.raises(outcome, match="no-such-program is not installed"):
        need_tool("no-such-program")


def test_what_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMSNAP_REQUIRE_TOOLS", "1")
    need([1], "never said")
    assert need_tool("sh").endswith("/sh")
