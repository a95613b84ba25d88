"""Programs as data: JSON in and out, where they can be cut, what their disks hold."""

from __future__ import annotations

import pytest

from dmsnap.testing.programs.language import (
    Create,
    Grow,
    Read,
    Remove,
    Step,
    Write,
    device_names,
    step_from_json,
    step_to_json,
)
from dmsnap.testing.programs.pattern import describe_sector, pattern
from dmsnap.testing.programs.program import Base, Given, Pattern, Program, parts, with_content

STEPS: tuple[Step, ...] = (
    *(Create("a", "0 8 linear o 0"), Create("b", "0 8 linear /dev/mapper/a 0"), Write("b", 3, 2, 7)),
    *(Remove("b"), Remove("a"), Create("a", "0 8 linear o 0"), Grow("o", 16), Remove("a"), Read("o", 0, 8)),
)


def test_json_there_and_back() -> None:
    program = Program((Base("o", 8, Pattern(5, 1)), Base("c1", 4, Given(b"kept"))), STEPS, timely=True)
    assert Program.from_json(program.to_json()) == program


def test_a_step_is_a_word_and_its_arguments() -> None:
    assert step_to_json(Write("s1", 8, 3, 17)) == ["write", "s1", 8, 3, 17]


@pytest.mark.parametrize(
    "words", [[], ["write"], ["burn", "s1"], ["remove", 5], ["read", "s1", "0", 1], ["grow", "c1"]]
)
def test_what_is_no_step_is_refused(words: list[object]) -> None:
    with pytest.raises(ValueError, match=r"no step|wrong type"):
        step_from_json(words)


@pytest.mark.parametrize("text", ["", "{}", '{"bases": [["o", 8]], "steps": []}', '{"bases": [], "steps": [["x"]]}'])
def test_what_is_no_program_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a program"):
        Program.from_json(text)


def test_a_program_is_cut_where_no_mapped_device_is_left() -> None:
    assert list(parts(STEPS)) == [STEPS[:5], STEPS[5:8], STEPS[8:]]


def test_disks_go_on_as_an_earlier_run_left_them() -> None:
    (disk,) = with_content((Base("o", 1),), {"o": b"left".ljust(1024, b"\0")})
    assert disk.sectors == 2
    assert disk.data() == b"left".ljust(1024, b"\0")


def test_the_final_size_is_that_of_the_last_growth() -> None:
    assert Program((Base("o", 8), Base("c1", 4)), STEPS).final_sectors() == {"o": 16, "c1": 4}


def test_a_disk_begins_with_the_zeros_it_says() -> None:
    data = Base("c1", 3, Pattern(5, 1)).data()
    assert data[:512] == bytes(512)
    assert data[512:] == pattern(5, 1, 2)


def test_a_sector_tells_its_write_and_its_place() -> None:
    assert describe_sector(pattern(7, 3, 1)) == "write 7 at sector 3"
    assert describe_sector(bytes(512)) == "zeros"
    assert describe_sector(bytes(range(256)) * 2).endswith("…")


def test_only_whole_words_of_a_table_are_replaced() -> None:
    table = "0 8 snapshot o co P 8\n8 8 linear o 8"
    assert device_names(table, {"o": "253:0"}) == "0 8 snapshot 253:0 co P 8\n8 8 linear 253:0 8"
