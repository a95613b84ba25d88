"""Generated programs: the same from the same seed, of everything there is, and nothing that cannot be asked for."""

from __future__ import annotations

import zlib

from dmsnap.testing.programs.generate import generate
from dmsnap.testing.programs.language import MAX_REQUEST_SECTORS, Create, Discard, Load, Read, Remove, Step, Write, Zero
from dmsnap.testing.programs.program import Program, parts
from dmsnap.testing.programs.world import Store, usable_chunks, within_one_chunk

PROGRAMS = {seed: generate(seed) for seed in range(80)}


def test_a_seed_is_one_program_in_every_python() -> None:
    assert f"{zlib.crc32(PROGRAMS[1].to_json().encode()):08x}" == "ca54c643"
    assert generate(1) == PROGRAMS[1]


def test_every_program_has_parts_that_leave_only_the_disks() -> None:
    for program in PROGRAMS.values():
        cut = list(parts(program.steps))
        assert 2 <= len(cut) <= 3
        assert not still_there(program.steps)


def still_there(steps: tuple[Step, ...]) -> set[str]:
    """Returns the names of mapped devices that are left."""
    names: set[str] = set()
    for step in steps:
        if isinstance(step, Create):
            assert step.name not in names
            names.add(step.name)
        elif isinstance(step, Remove):
            names.remove(step.name)
    return names


def test_requests_lie_in_devices_that_are_there() -> None:
    for program in PROGRAMS.values():
        sizes = {base.name: base.sectors for base in program.bases}
        for step in program.steps:
            if isinstance(step, Create | Load):
                sizes[step.name] = sum(int(line.split()[1]) for line in step.table.splitlines())
            elif isinstance(step, Remove):
                del sizes[step.name]
            elif isinstance(step, Read | Write | Zero | Discard):
                assert 0 <= step.sector < step.sector + step.sectors <= sizes[step.name]
                assert step.sectors <= MAX_REQUEST_SECTORS


def test_no_two_writes_have_the_same_content() -> None:
    for program in PROGRAMS.values():
        seeds = [step.seed for step in program.steps if isinstance(step, Write)]
        assert len(seeds) == len(set(seeds))


def test_everything_occurs() -> None:
    words = {word for program in PROGRAMS.values() for word in table_words(program)}
    assert words >= {"snapshot", "snapshot-origin", "snapshot-merge", "linear", "error", "P", "PO", "N"}
    assert words >= {"8", "16", "32", "64", "128", "256", "discard_zeroes_cow", "discard_passdown_origin"}
    kinds = {type(step).__name__ for program in PROGRAMS.values() for step in program.steps}
    assert kinds >= {"Suspend", "Resume", "Flush", "Discard", "Zero", "Status", "Table", "WaitMerge", "Grow"}


def table_words(program: Program) -> set[str]:
    """Returns the words of all tables."""
    return {word for step in program.steps if isinstance(step, Create | Load) for word in step.table.split()}


def test_room_is_what_a_store_surely_has() -> None:
    assert [usable_chunks(8 * chunks, 8, "P") for chunks in (2, 3, 4, 25, 257, 258, 259, 260)] == [
        *(0, 1, 2, 23, 255, 255, 256, 257)
    ]  # 258 hold 255 and are lost with the 256th
    assert usable_chunks(8 * 5 + 7, 8, "N") == 5


def test_a_write_that_may_not_fit_stays_within_a_chunk_of_everybody() -> None:
    small, large = Store(1, "P", 8, 8 * 4, 512), Store(2, "P", 64, 64 * 100, 512)
    assert small.fits(0, 16)
    assert not small.fits(7, 16)
    assert within_one_chunk(13, 100, [small, large]) == 3


def test_what_is_remapped_for_sure_needs_no_room() -> None:
    store = Store(1, "P", 8, 8 * 4, 512)
    store.take(0, 16)
    assert store.fits(5, 9)
    assert not store.fits(5, 12)
    store.take(5, 12)  # refused, perhaps
    assert not store.fits(16, 1)


def test_a_merge_takes_room_of_others() -> None:
    merged, other = Store(1, "P", 8, 8 * 50, 512), Store(2, "P", 16, 16 * 4, 512)
    merged.take(0, 32)
    assert other.fits_merge(merged)
    merged.take(40, 8)
    assert not other.fits_merge(merged)
    assert merged.longest_run() == 32
