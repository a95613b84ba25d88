"""Traces of loads: what was read ahead, hit, waited for and dropped when; as JSON, for a trace viewer, as a picture."""

from __future__ import annotations

import os

from dmsnap.store.load_trace import MOST_EVENTS, LoadTrace

__all__ = ["Trace"]


class Trace:
    """Records the loading of stores: give it as ``trace=`` to any function that opens one, to several if you like.

    A load that fails is recorded up to its failure. Memory is bounded: see ``most_events``.

    Args:
        most_events: How many events of each load to keep, the first ones; those that follow are only counted. An area
            makes 3 or 4, and an event takes 17 bytes.

    Attributes:
        loads: One `dmsnap.store.LoadTrace` a store, in the order of loading.
    """

    def __init__(self, most_events: int = MOST_EVENTS) -> None:
        self.loads: list[LoadTrace] = []
        self._most_events = most_events

    def new_load(self) -> LoadTrace:
        """Adds the record of one more load, for `dmsnap.store.open_store`."""
        load = LoadTrace(self._most_events)
        self.loads.append(load)
        return load

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the trace to a file, which appears, or is replaced, in one step.

        The name says how: ``.json`` has every event (docs/json.md), ``.perfetto.json`` is for a trace viewer (Perfetto,
        chrome://tracing), ``.svg`` and ``.png`` are pictures (docs/trace.md).

        Raises:
            DmsnapError: Another name (`BadTraceFile`); the file cannot be written; matplotlib is not installed.
        """
        from dmsnap.library.tracing import as_json, plot
        from dmsnap.library.tracing.file import check_trace_file, is_for_viewer, is_picture

        name = os.fspath(path)
        check_trace_file(name)
        if is_picture(name):
            plot.draw(self.loads, name)
        elif is_for_viewer(name):
            as_json.write_for_viewer(self.loads, name)
        else:
            as_json.write(self.loads, name)
