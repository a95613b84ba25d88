"""Table lines that are refused: what Linux 6.1 answers and logs, and that ours answers the same in the same words.

Each case is a table and what comes of it: an errno, or "ok" for what looks wrong and is not, and the words.
"""

from __future__ import annotations

import re

import pytest

from dmsnap.block import BlockDevice, MemoryDevice
from dmsnap.target.stack import Stack, TableRefused
from dmsnap.testing.kernelvm import need_kernelvm
from dmsnap.testing.programs.kernel import run_in_kernel
from dmsnap.testing.programs.language import Create, Remove
from dmsnap.testing.programs.program import Base, Given, Program
from dmsnap.testing.programs.running import errno_name

SECTORS = 1024
HEADERS = {
    "zeroes": b"",
    "other": b"XnAp",
    "future": b"SnAp\1\0\0\0\2\0\0\0\x08\0\0\0",
    "sizeless": b"SnAp\1\0\0\0\1\0\0\0\0\0\0\0",
    "odd": b"SnAp\1\0\0\0\1\0\0\0\x09\0\0\0",
    "huge": b"SnAp\1\0\0\0\1\0\0\0\0\0\1\0",
    "lost": b"SnAp\0\0\0\0\1\0\0\0\x08\0\0\0",
    "short": b"SnAp\1\0\0\0\1\0\0\0\x08\0\0\0".ljust(4096, b"\0") + b"\1" * 4096,
}
"""COW devices by what they begin with; ``short`` is cut off within its full first area's successor."""

Case = tuple[str, str, str]

TABLES: list[Case] = [
    ("0 0 zero", "EINVAL", "zero-length target"),
    ("0 0 nosuch", "EINVAL", "zero-length target"),
    ("0 8 nosuch", "EINVAL", "nosuch: unknown target type"),
    ("0 8 Zero", "EINVAL", "Zero: unknown target type"),
    ("5 8 nosuch", "EINVAL", "nosuch: unknown target type"),
    ("5 8 linear", "EINVAL", "linear: Gap in table"),
    ("0 24 zero\n25 8 zero", "EINVAL", "zero: Gap in table"),
    ("0 24 zero\n23 8 error", "EINVAL", "error: Gap in table"),
    ("8 24 zero\n0 8 zero", "EINVAL", "zero: Gap in table"),
    ("0 18014398509481984 zero", "EINVAL", "too large device"),
    ("0 18446744073709551615 zero", "EINVAL", "too large device"),
    ("18446744073709551615 24 zero", "EINVAL", "too large device"),
    ("0 9007199254740991 zero", "ok", ""),
    ("0 18014398509481983 zero\n18014398509481983 1 zero", "EINVAL", "too large device"),
    ("0 8 zero x", "EINVAL", "zero: No arguments required"),
    ("0 8 error x y", "ok", ""),
]

LINEAR: list[Case] = [
    ("0 8 linear", "EINVAL", "linear: Invalid argument count"),
    ("0 8 linear a", "EINVAL", "linear: Invalid argument count"),
    ("0 8 linear a 0 1", "EINVAL", "linear: Invalid argument count"),
    ("0 8 linear a x", "EINVAL", "linear: Invalid device sector"),
    ("0 8 linear a -1", "EINVAL", "linear: Invalid device sector"),
    ("0 8 linear a +1", "EINVAL", "linear: Invalid device sector"),
    ("0 8 linear a 0x10", "EINVAL", "linear: Invalid device sector"),
    ("0 8 linear a 12x", "EINVAL", "linear: Invalid device sector"),
    (r"0 8 linear a 1\ 2", "EINVAL", "linear: Invalid device sector"),
    (r"0 8 linear a \ 2", "ok", ""),
    (r"0 8 linear a \010", "ok", ""),
    ("0 8 linear nothing x", "EINVAL", "linear: Invalid device sector"),
    ("0 8 linear nothing 0", "ENODEV", "linear: Device lookup failed"),
    ("0 8 linear a 18446744073709551616", "ok", ""),
    ("0 1024 linear a 0", "ok", ""),
    ("0 1025 linear a 0", "EINVAL", "a too small for target: start=0, len=1025, dev_size=1024"),
    ("0 1024 linear a 1", "EINVAL", "a too small for target: start=1, len=1024, dev_size=1024"),
    ("0 1 linear a 1024", "EINVAL", "a too small for target: start=1024, len=1, dev_size=1024"),
    (
        "0 8 linear a 18446744073709551615",
        "EINVAL",
        "a too small for target: start=18446744073709551615, len=8, dev_size=1024",
    ),
]

STRIPED: list[Case] = [
    ("0 96 striped", "EINVAL", "striped: Not enough arguments"),
    ("0 96 striped 2", "EINVAL", "striped: Not enough arguments"),
    ("0 96 striped x 8 a 0 b 0", "EINVAL", "striped: Invalid stripe count"),
    ("0 96 striped 0 8", "EINVAL", "striped: Invalid stripe count"),
    ("0 96 striped -1 8 a 0", "EINVAL", "striped: Invalid stripe count"),
    ("0 96 striped 4294967296 8 a 0", "EINVAL", "striped: Invalid stripe count"),
    ("0 96 striped 4294967295 8 a 0", "EINVAL", "striped: Target length not divisible by number of stripes"),
    ("0 96 striped 2 x a 0 b 0", "EINVAL", "striped: Invalid chunk_size"),
    ("0 96 striped 2 0 a 0 b 0", "EINVAL", "striped: Invalid chunk_size"),
    ("0 96 striped 2 4294967296 a 0 b 0", "EINVAL", "striped: Invalid chunk_size"),
    ("0 101 striped 2 7 a 0", "EINVAL", "striped: Target length not divisible by number of stripes"),
    ("0 100 striped 2 8", "EINVAL", "striped: Target length not divisible by chunk size"),
    ("0 96 striped 2 8", "EINVAL", "striped: Not enough destinations specified"),
    ("0 96 striped 2 8 a 0 b", "EINVAL", "striped: Not enough destinations specified"),
    ("0 96 striped 2 8 a 0 b 0 c", "EINVAL", "striped: Not enough destinations specified"),
    ("0 96 striped 2 8 a 0 b 0 c 0", "EINVAL", "striped: Not enough destinations specified"),
    ("0 96 striped 2 8 a 0 b x", "EINVAL", "striped: Couldn't parse stripe destination"),
    ("0 96 striped 2 8 a x nothing 0", "EINVAL", "striped: Couldn't parse stripe destination"),
    ("0 96 striped 2 8 a 0 nothing 0", "ENODEV", "striped: Couldn't parse stripe destination"),
    ("0 96 striped 2 8 a 0 b 1000", "EINVAL", "b too small for target: start=1000, len=48, dev_size=1024"),
    ("0 96 striped +2 012 a 00 b 0", "ok", ""),
    ("0 96 striped 1 3 a 0", "ok", ""),
]

SNAPSHOT: list[Case] = [
    ("0 8 snapshot", "EINVAL", "snapshot: requires 4 or more arguments"),
    ("0 8 snapshot a b P", "EINVAL", "snapshot: requires 4 or more arguments"),
    ("0 8 snapshot a b PO 8 x", "EINVAL", "snapshot: Invalid number of feature arguments"),
    ("0 8 snapshot a b PO 8 3 x y z", "EINVAL", "snapshot: Invalid number of feature arguments"),
    ("0 8 snapshot a b PO 8 1", "EINVAL", "snapshot: Invalid number of feature arguments"),
    ("0 8 snapshot a b PO 8 2 discard_zeroes_cow", "EINVAL", "snapshot: Invalid number of feature arguments"),
    ("0 8 snapshot a b PO 8 +1 discard_zeroes_cow", "EINVAL", "snapshot: Invalid number of feature arguments"),
    ("0 8 snapshot a b N 8 4294967297 discard_zeroes_cow", "ok", ""),
    ("0 8 snapshot a b PO 8 1 x", "EINVAL", "snapshot: Unrecognised feature requested"),
    (
        "0 8 snapshot a b PO 8 1 discard_passdown_origin",
        "EINVAL",
        "snapshot: discard_passdown_origin feature depends on discard_zeroes_cow",
    ),
    ("0 8 snapshot nothing none Q 9 1 x", "EINVAL", "snapshot: Unrecognised feature requested"),
    ("0 8 snapshot nothing none Q 9", "ENODEV", "snapshot: Cannot get origin device"),
    ("0 8 snapshot a none Q 9", "ENODEV", "snapshot: Cannot get COW device"),
    ("0 8 snapshot a a Q 9", "EINVAL", "snapshot: COW device cannot be the same as origin device"),
    ("0 8 snapshot a b Q 8", "EINVAL", "snapshot: Couldn't create exception store"),
    ("0 8 snapshot a b PX 8", "EINVAL", "snapshot: Couldn't create exception store"),
    ("0 8 snapshot a b P x", "EINVAL", "snapshot: Couldn't create exception store"),
    ("0 8 snapshot a b P -8", "EINVAL", "snapshot: Couldn't create exception store"),
    ("0 8 snapshot a b P 0x8", "EINVAL", "snapshot: Couldn't create exception store"),
    ("0 8 snapshot a b P 9", "EINVAL", "snapshot: Couldn't create exception store"),
    ("0 8 snapshot a b N 9", "EINVAL", "snapshot: Couldn't create exception store"),
    ("0 8 snapshot a b P 4194304", "EINVAL", "snapshot: Couldn't create exception store"),
    ("0 8 snapshot a b P 4294967296", "EINVAL", "snapshot: Couldn't create exception store"),
    ("0 8 snapshot a b N 0", "EINVAL", "snapshot: Chunk size not set"),
    ("0 8 snapshot a b P 2048", "EIO", "snapshot: Failed to read snapshot metadata"),
    ("0 8 snapshot a other P 8", "ENXIO", "snapshot: Failed to read snapshot metadata"),
    ("0 8 snapshot a future P 8", "EINVAL", "snapshot: Failed to read snapshot metadata"),
    ("0 8 snapshot a sizeless P 8", "EINVAL", "snapshot: Failed to read snapshot metadata"),
    ("0 8 snapshot a odd P 8", "EINVAL", "snapshot: Failed to read snapshot metadata"),
    ("0 8 snapshot a huge P 8", "EIO", "snapshot: Failed to read snapshot metadata"),
    ("0 8 snapshot a short P 8", "EIO", "snapshot: Failed to read snapshot metadata"),
    ("0 8 snapshot a lost P 8", "ok", ""),
    ("0 1025 snapshot a b N 8", "EINVAL", "a too small for target: start=0, len=1025, dev_size=1024"),
    ("0 8 snapshot a b N 1", "ok", ""),
    ("0 8 snapshot a b Nothing +8 1 DISCARD_ZEROES_COW whatever", "ok", ""),
    ("0 8 snapshot a b n 2097152 2 discard_passdown_origin discard_zeroes_cow", "ok", ""),
    ("0 8 snapshot a zeroes pox 0", "ok", ""),
]

MERGE_AND_ORIGIN: list[Case] = [
    ("0 8 snapshot-merge a b P", "EINVAL", "snapshot-merge: requires 4 or more arguments"),
    ("0 8 snapshot-merge a b Q 8", "EINVAL", "snapshot-merge: Couldn't create exception store"),
    (
        "0 8 snapshot-merge a b N 8",
        "EINVAL",
        "snapshot-merge: Snapshot exception store does not support snapshot-merge.",
    ),
    (
        "0 8 snapshot-merge a b N 0",
        "EINVAL",
        "snapshot-merge: Snapshot exception store does not support snapshot-merge.",
    ),
    ("0 8 snapshot-merge a other P 8", "ENXIO", "snapshot-merge: Failed to read snapshot metadata"),
    ("0 8 snapshot-merge a lost P 8", "ok", ""),
    ("0 8 snapshot-origin", "EINVAL", "snapshot-origin: origin: incorrect number of arguments"),
    ("0 8 snapshot-origin a x", "EINVAL", "snapshot-origin: origin: incorrect number of arguments"),
    ("0 8 snapshot-origin nothing", "ENODEV", "snapshot-origin: Cannot get target device"),
    ("0 1025 snapshot-origin a", "EINVAL", "a too small for target: start=0, len=1025, dev_size=1024"),
]

CASES = [*TABLES, *LINEAR, *STRIPED, *SNAPSHOT, *MERGE_AND_ORIGIN]


def bases(table: str) -> tuple[Base, ...]:
    """The devices that a table names."""
    contents = {"a": b"", "b": b"", "c": b""} | HEADERS
    return tuple(
        Base(name, 16 if name == "short" else SECTORS, Given(content))
        for name, content in contents.items()
        if name in table.split()
    )


@pytest.mark.parametrize(("table", "outcome", "words"), CASES, ids=[case[0].replace("\n", ";") for case in CASES])
def test_ours_answers_so(table: str, outcome: str, words: str) -> None:
    disks: dict[str, BlockDevice] = {base.name: MemoryDevice(base.data()) for base in bases(table)}
    with Stack(disks.__getitem__) as stack:
        if outcome == "ok":
            stack.create("t", table)
            return
        with pytest.raises(TableRefused) as caught:
            stack.create("t", table)
        assert (errno_name(caught.value.errno), caught.value.words) == (outcome, words)
        assert str(caught.value).startswith(f"t: {words}")
        assert stack.names() == []


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_linux_answers_so() -> None:
    need_kernelvm()
    programs = [
        Program(bases(table), (Create("t", table), *[Remove("t")] * (outcome == "ok"))) for table, outcome, _ in CASES
    ]
    results = run_in_kernel(programs)
    answers = [result.outcomes[0] for result in results]
    assert answers == [outcome for _, outcome, _ in CASES]
    words = [said(result.log, program) for result, program in zip(results, programs, strict=True)]
    assert words == [words for *_, words in CASES]


def said(log: tuple[str, ...], program: Program) -> str:
    """What the kernel logged of a table, with our name of the device for its own."""
    lines = [match[1] for line in log if (match := re.fullmatch(r"device-mapper: table: \d+:\d+: (.*)", line))]
    words = [re.sub(r" \(-E[A-Z]+\)$", "", line) for line in lines]
    return "; ".join(
        re.sub(r"^dm-(\d+) ", lambda match: f"{program.bases[int(match[1])].name} ", line) for line in words
    )
