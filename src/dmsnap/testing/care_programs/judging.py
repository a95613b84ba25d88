"""What has to be true of a store that a program made, and of all that care makes of it.

The judges are slow and plain, and nothing of dmsnap's own: `dmsnap.testing.store_model` says what a store means,
`dmsnap.testing.random_snapshots.read_plainly` what its snapshot reads as.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.block.memory import MemoryDevice
from dmsnap.maintenance.checking import check_store
from dmsnap.maintenance.dumping import FORMATS, read_dump
from dmsnap.maintenance.events import Begin, Events
from dmsnap.maintenance.reading import read_events
from dmsnap.maintenance.repairing import ALL, Repair
from dmsnap.maintenance.writing import write_events
from dmsnap.store.finding import Kind
from dmsnap.testing.care_programs.made_stores import MadeStore
from dmsnap.testing.compacted import Way, compact_bytes, random_way
from dmsnap.testing.random_snapshots import read_plainly
from dmsnap.testing.store_model import StoreModel, model_store

__all__ = ["Cared", "Result", "cared"]

RECORD_BYTES = 16


class Result(NamedTuple):
    """A store that care made, for a kernel to load.

    Attributes:
        name: Which store, and what was done with it.
        origin: What it is a snapshot of.
        cow: The store.
        content: What its snapshot has to read as.
    """

    name: str
    origin: bytes
    cow: bytes
    content: bytes


class Cared(NamedTuple):
    """What came of a store.

    Attributes:
        results: Stores that were made of it.
        problems: What is wrong, a line each.
    """

    results: list[Result]
    problems: list[str]


def cared(made: MadeStore, seed: int) -> Cared:
    """Does everything to a store that care can do, and judges it; only a few ways of compacting for each seed."""
    results: list[Result] = []
    problems: list[str] = []
    sound = _marked_valid(made.cow)
    meaning = model_store(sound, origin_size_bytes=len(made.origin))
    if meaning.refusal or meaning.findings:  # the writer's fault; Linux too marks a store invalid before it is so
        return Cared([], [f"{made.name}: the program made no sound store: {meaning.refusal} {dict(meaning.findings)}"])
    problems += _check(made, meaning)
    content = read_plainly(sound, made.origin)
    for form, cow in _dumped_and_restored(made):
        problems += [f"{form}: {wrong}" for wrong in _unlike(made.cow, cow, meaning, data="data" in form)]
        if made.valid and form == "xml data":
            results.append(Result("restored", made.origin, cow, content))
    repaired = _repaired(made)
    problems += [f"repaired: {wrong}" for wrong in _unlike(sound, repaired, meaning, data=True)]
    results.append(Result("repaired", made.origin, repaired, content))
    for name, below, way in _ways(made, seed):
        results.append(Result(name, made.origin, compact_bytes(sound, below, way), content))
    for result in results:
        problems += [f"{result.name}: {wrong}" for wrong in _unsound(result)]
    named = [result._replace(name=f"{made.name} {result.name}") for result in results]
    return Cared(named, [f"{made.name}: {problem}" for problem in problems])


def _marked_valid(cow: bytes) -> bytes:
    return cow[:4] + (1).to_bytes(4, "little") + cow[8:]


def _ways(made: MadeStore, seed: int) -> Iterator[tuple[str, bytes | None, Way]]:
    yield "compacted", None, Way()
    yield "compacted by a random way", made.origin, random_way(seed)
    match seed % 3:
        case 0:
            yield "sorted", None, Way(sort=True)
        case 1:
            yield "compacted without what is unchanged", made.origin, Way(drop_unchanged=True)
        case _:
            other = made.chunk_bytes // SECTOR_BYTES * 2 if seed % 2 else made.chunk_bytes // SECTOR_BYTES // 2
            yield "in other chunks", made.origin, Way(other or 2)


# -- checking -------------------------------------------------------------------------------------------------------


def _check(made: MadeStore, meaning: StoreModel) -> Iterator[str]:
    for origin in (None, made.origin):
        report = check_store(_device(made.cow), origin=None if origin is None else _device(origin))
        found = {finding.kind for finding in report.findings}
        if made.valid:
            right = [_room(made.cow, meaning, origin)]
        else:
            right = [{Kind.INVALID_FULL}] + [{Kind.INVALID_ERROR}] * (made.roomy or _left_are_zeros(made.cow, meaning))
        if found not in right:
            wanted = " or ".join(map(_words, right))
            yield f"check {'with' if origin else 'without'} the origin finds {_words(found)}, not {wanted}"
        if report.exceptions != len(meaning.copies):
            yield f"check counts {report.exceptions} exceptions of {len(meaning.copies)}"


def _left_are_zeros(cow: bytes, meaning: StoreModel) -> bool:
    """Tells whether zeros may have been copied to what is left, which then looks as if nobody had used it."""
    chunk = meaning.chunk_bytes
    stride = chunk // RECORD_BYTES + 1
    left = (number for number in range(meaning.next_free, len(cow) // chunk) if number % stride != 1)
    return not any(any(cow[number * chunk : (number + 1) * chunk]) for number in left)


def _room(cow: bytes, meaning: StoreModel, origin: bytes | None) -> set[Kind]:
    """What is to be told of the room in a sound store, by counting."""
    chunk = meaning.chunk_bytes
    stride = chunk // RECORD_BYTES + 1
    data = [number for number in range(2, len(cow) // chunk) if number % stride != 1]
    origin_chunks = None if origin is None else -(-len(origin) // chunk)
    if not any(number >= meaning.next_free for number in data):
        whole = origin_chunks is not None and len(meaning.copies) >= origin_chunks
        return set() if whole else {Kind.FULL}
    trap = len(data) % (stride - 1) == 0 and (len(cow) // chunk) % stride == 1
    enough = origin_chunks is not None and origin_chunks < len(data)
    return {Kind.NEXT_AREA} if trap and not enough else set()


def _unsound(result: Result) -> Iterator[str]:
    """Says what is wrong with a store that was made."""
    if read_plainly(result.cow, result.origin) != result.content:
        yield "another content"
    meaning = model_store(result.cow, origin_size_bytes=len(result.origin))
    if meaning.refusal or meaning.findings or not meaning.valid:
        yield f"not sound: {meaning.refusal} {dict(meaning.findings)}"
        return
    report = check_store(_device(result.cow), origin=_device(result.origin))
    found = {finding.kind for finding in report.findings}
    if found != _room(result.cow, meaning, result.origin):
        yield f"check finds {_words(found)}"


# -- dumping, restoring, repairing ------------------------------------------------------------------------------------


def _dumped_and_restored(made: MadeStore) -> Iterator[tuple[str, bytes]]:
    for form, dump in FORMATS.items():
        for data in (False, True) if dump.text else (False,):
            out = io.BytesIO()
            dump.write(read_events(_device(made.cow), data=data), out)
            events = read_dump(io.BufferedReader(io.BytesIO(out.getvalue())))
            yield form + " data" * data, _written(events)


def _written(events: Events) -> bytes:
    begin = next(events)
    assert isinstance(begin, Begin)

    def again() -> Events:
        yield begin
        yield from events

    device = MemoryDevice(begin.cow_size_bytes)
    write_events(again(), device)
    return bytes(device.read_at(0, device.size_bytes))


def _repaired(made: MadeStore) -> bytes:
    plan = Repair(_device(made.cow), origin=_device(made.origin), accept=() if made.valid else (ALL,))
    device = MemoryDevice(plan.report.size_bytes)
    report = plan.write(device)
    assert not report.lost_records
    assert not report.doubtful_records
    return bytes(device.read_at(0, device.size_bytes))


def _unlike(before: bytes, after: bytes, meaning: StoreModel, *, data: bool) -> Iterator[str]:
    """Says where the size, the header's chunk, an area in use or (for ``data``) a copy is not what it was."""
    if len(after) != len(before):
        yield f"{len(after)} bytes instead of {len(before)}"
    chunk = meaning.chunk_bytes
    stride = chunk // RECORD_BYTES + 1
    places = [0, *(1 + area * stride for area in range(meaning.areas)), *(meaning.copies.values() if data else ())]
    for place in places:
        if after[place * chunk : (place + 1) * chunk] != before[place * chunk : (place + 1) * chunk]:
            yield f"chunk {place} of {chunk} bytes differs"
            return


def _words(kinds: Iterable[Kind]) -> str:
    return ", ".join(sorted(kinds)) or "nothing"


def _device(content: bytes) -> MemoryDevice:
    return MemoryDevice(content, read_only=True)
