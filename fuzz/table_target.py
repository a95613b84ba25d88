"""Any records in any batches: the exception table answers as a slow model of Linux."""

from __future__ import annotations

import atheris
import engine
import numpy as np

with engine.instrumented(include=["dmsnap"]):
    from dmsnap.store.table import ExceptionTable
    from dmsnap.store.table_builder import TableBuilder

from dmsnap.testing.linux_runs import linux_finds

LARGEST_CHUNK = 2**54 - 1  # what the census lets pass: no device has more chunks of 512 bytes


def test_one(data: bytes) -> None:
    """Builds a table from runs of records and asks it in every way."""
    source = atheris.FuzzedDataProvider(data)
    builder = TableBuilder()
    records: list[tuple[int, int]] = []
    top = source.PickValueInList([40, 2**32 + 40, LARGEST_CHUNK])
    for _ in range(source.ConsumeIntInRange(0, 4)):
        batch = []
        for _ in range(source.ConsumeIntInRange(1, 12)):
            origin, cow = source.ConsumeIntInRange(0, top), source.ConsumeIntInRange(1, top)
            cow = cow if cow > 1 else 0  # chunk 1 is metadata: the census makes 0 of it
            length = source.ConsumeIntInRange(1, 6)
            batch += [(origin + i, cow + i if cow else 0) for i in range(length) if origin + i <= LARGEST_CHUNK]
        records += batch
        pairs = np.array(batch, np.uint64).reshape(-1, 2)
        builder.add(pairs[:, 0].copy(), pairs[:, 1].copy())
    model = linux_finds(records)
    table = builder.build()
    assert len(table) == len(model)
    assert builder.duplicates == len(records) - len(model)
    assert expanded(table, 0, 2**63) == model
    for chunk in list(model)[:40]:
        for near in (chunk - 1, chunk, chunk + 1):
            if near >= 0:
                assert table.lookup(near) == model.get(near)
        first = chunk + source.ConsumeIntInRange(-8, 8)
        stop = first + source.ConsumeIntInRange(-1, 20)
        inside = {origin: cow for origin, cow in model.items() if first <= origin < stop}
        assert expanded(table, first, stop) == inside
    whole = [run for runs in table.batches() for run in zip(*(column.tolist() for column in runs), strict=True)]
    assert len(whole) == table.run_count
    assert sum(length for _, _, length in whole) == len(model)


def expanded(table: ExceptionTable, first: int, stop: int) -> dict[int, int]:
    """The exceptions of a range, one by one; they must ascend and lie inside."""
    found: dict[int, int] = {}
    position = first
    runs = table.runs_between(first, stop)
    for origin, cow, length in zip(*(column.tolist() for column in runs), strict=True):
        assert position <= origin
        assert origin + length <= stop
        position = origin + length
        found |= {origin + i: cow + i if cow else 0 for i in range(length)}
    return found


if __name__ == "__main__":
    engine.fuzz(test_one, of_stores=False)
