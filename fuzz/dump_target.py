"""Any bytes as a dump: refused by an error of dmsnap's own, or it says the same once it is written down again."""

from __future__ import annotations

import io
from collections.abc import Iterator

import engine

with engine.instrumented(include=["dmsnap"]):
    from dmsnap.block.memory import MemoryDevice
    from dmsnap.errors import DmsnapError
    from dmsnap.maintenance.dumping import FORMATS, read_dump
    from dmsnap.maintenance.events import Data, Event, Events, Exceptions
    from dmsnap.maintenance.reading import read_events
    from dmsnap.maintenance.writing import write_events

MOST_RECORDS = 1 << 18
LARGEST_STORE_BYTES = 1 << 20


class Enough(Exception):
    """More records than are worth the time; a line of a dump can stand for a whole area."""


def test_one(data: bytes) -> None:
    """Reads it; what is a dump is written in each form and restored."""
    refusal = ""
    try:
        events = list(bounded(read_dump(io.BufferedReader(io.BytesIO(data)))))
    except (DmsnapError, Enough) as error:
        refusal = str(error) or "enough"
    assert "\n" not in refusal
    if refusal:
        return
    said = plain(events)
    for form in FORMATS.values():
        out = io.BytesIO()
        form.write(iter(events), out)
        out.seek(0)
        again = plain(list(read_dump(io.BufferedReader(out))))
        assert again == (said if form.text else {**said, "data": {}})
    restore(events, said)


def bounded(events: Events) -> Iterator[Event]:
    """The events, unless there are too many records."""
    count = 0
    for event in events:
        count += len(event.records) if isinstance(event, Exceptions) else 0
        if count > MOST_RECORDS:
            raise Enough
        yield event


def plain(events: list[Event]) -> dict[str, object]:
    """What a stream says, however it is divided."""
    chunk_bytes = events[0].chunk_bytes  # type: ignore[union-attr]
    chunks = {}
    for event in events:
        if isinstance(event, Data):
            for place in range(0, len(event.data), chunk_bytes):
                chunks[event.cow_chunk + place // chunk_bytes] = bytes(event.data[place : place + chunk_bytes])
    records = [tuple(row) for event in events if isinstance(event, Exceptions) for row in event.records.tolist()]
    return {"begin": events[0], "records": records, "end": events[-1], "data": chunks}


def restore(events: list[Event], said: dict[str, object]) -> None:
    """A small store made of them holds them."""
    size = events[0].cow_size_bytes  # type: ignore[union-attr]
    if size > LARGEST_STORE_BYTES:
        return
    device = MemoryDevice(size)
    try:
        write_events(iter(events), device)
    except DmsnapError:
        return  # no room for the area that ends it
    assert {**plain(list(read_events(device))), "data": {}} == {**said, "data": {}}


if __name__ == "__main__":
    engine.fuzz(test_one, of_stores=False)
