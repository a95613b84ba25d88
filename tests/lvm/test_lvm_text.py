"""The grammar of LVM2's text: what it reads, where it stops, and its bounds."""

from __future__ import annotations

import random
import subprocess
import time

import pytest

from dmsnap.lvm.text import BadText, Section, parse_text
from dmsnap.lvm.text import parsing as parsing_module
from dmsnap.testing import need_tool

VALUES = {
    "7": 7,
    "-5": -5,
    "+3": 3,
    "0": 0,
    "077": 63,
    "9223372036854775807": 2**63 - 1,
    "-9223372036854775808": -(2**63),
    "1.5": 1.5,
    ".5": 0.5,
    "5.": 5.0,
    '""': "",
    '"a b"': "a b",
    r'"a\"b"': 'a"b',
    r'"a\\b"': r"a\b",
    r'"a\nb\x"': r"a\nb\x",
    '"two\nlines"': "two\nlines",
    '"# no comment {"': "# no comment {",
    r"'si\n'": r"si\n",
    "word": "word",
    "@tag": "@tag",
    "[]": (),
    "[ ]": (),
    "[1, 2]": (1, 2),
    "[1, 2,]": (1, 2),
    '["a", "b"]': ("a", "b"),
    '["a","b",]': ("a", "b"),
    '[\n"pv0", 0,\n"pv1", 010\n]': ("pv0", 0, "pv1", 8),
    r'[1, "x\"y", 2.5]': (1, 'x"y', 2.5),
    "[ # c\n1, # d ]\n2 ]": (1, 2),
}


@pytest.mark.parametrize("text", VALUES)
def test_a_value(text: str) -> None:
    found = parse_text(f"a {{ b = {text} }}".encode())
    assert found == {"a": {"b": VALUES[text]}}
    assert parse_text(f"a{{b={text}\n}}".encode()) == found


@pytest.mark.parametrize("text", [text for text in VALUES if "9223372036854775808" not in text])
def test_lvm_reads_the_same_value(text: str) -> None:
    lvm = need_tool("lvm")
    command = [lvm, "lvmconfig", "--config", f"dmsnap {{ b = {text} }}", "dmsnap"]
    said = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    assert parse_text(said)["b"] == VALUES[text]


@pytest.mark.parametrize("text", ["[1 2]", "[[1]]", "1.2.3", "1e5", "1,2", '"x', '"x" "y"', "9223372036854775808"])
def test_lvm_refuses_the_same_value(text: str) -> None:
    with pytest.raises(BadText):
        parse_text(f"dmsnap {{ b = {text} }}".encode())
    command = [need_tool("lvm"), "lvmconfig", "--config", f"dmsnap {{ b = {text} }}", "dmsnap"]
    assert b"b=" not in subprocess.run(command, capture_output=True, check=False, timeout=60).stdout


def test_sections_values_and_comments() -> None:
    text = b"# first\nvg { # in it\n  1lv{a=1 b=2}\n\t'q r' { }\n # last\n}\nversion = 1\n# end"
    assert parse_text(text) == {"vg": {"1lv": {"a": 1, "b": 2}, "q r": {}}, "version": 1}


def test_names_are_nearly_anything() -> None:
    assert parse_text(b'a-b+c.d@e!f = 1 "x y" = 2') == {"a-b+c.d@e!f": 1, "x y": 2}


def test_nothing_is_an_empty_section() -> None:
    assert parse_text(b"") == parse_text(b" \n# nothing") == Section()


def test_the_text_ends_at_a_nul() -> None:
    assert parse_text(b"a = 1\n\0} garbage {") == {"a": 1}


def test_bytes_that_are_no_characters_stay() -> None:
    value = parse_text(b'a = "\xff\xc3\xa4"')["a"]
    assert value == "\udcff\xe4"
    assert value.encode("utf-8", "surrogateescape") == b"\xff\xc3\xa4"


BROKEN = {
    "a {\n b = 1\n": (3, 1, "the end where a } belongs"),
    "a { }\n}": (2, 1, "'}' without a section"),
    "a { b }": (1, 5, "a name without a value"),
    "a {\n  b = }": (2, 7, "'}' where a value belongs"),
    "a = ": (1, 5, "the end where a value belongs"),
    "a = 1\n = 2": (2, 2, "'=' where a name belongs"),
    "{ }": (1, 1, "'{' where a name belongs"),
    '"" = 1': (1, 1, "an empty name"),
    "a = 1\nb = 2 a = 3": (2, 7, "'a' for the second time"),
    "a { }\na { }": (2, 1, "'a' for the second time"),
    "a/b = 1": (1, 1, "a path where a name belongs"),
    'a = "x\n': (1, 5, "a string that does not end"),
    'a = "x\\"': (1, 5, "a string that does not end"),
    "a = 'x": (1, 5, "a string that does not end"),
    "a = 08": (1, 5, "'08' is no number"),
    "a = 1.2.3": (1, 5, "'1.2.3' is no number"),
    "a = -": (1, 5, "'-' where a value belongs"),
    "a = +-1": (1, 5, "'+' where a value belongs"),
    "a = 9223372036854775808": (1, 5, "a number that is too large"),
    "a = " + "9" * 5000: (1, 5, "a number that is too large"),
    "a = [1 2]": (1, 8, "'2' where a comma or ] belongs"),
    'a = ["x" "y"]': (1, 10, "'\"' where a comma or ] belongs"),
    "a = [[1]]": (1, 6, "'[' where a value belongs"),
    "a = [1,": (1, 8, "the end where a value belongs"),
    "a = [,]": (1, 6, "',' where a value belongs"),
    "a = 1\r\nb = \x01": (2, 5, "'\\x01' where a value belongs"),
}


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: ascii(text)[:30])
def test_what_breaks_the_grammar_is_said_with_its_place(text: str) -> None:
    line, column, what = BROKEN[text]
    with pytest.raises(BadText) as caught:
        parse_text(text.encode())
    assert caught.value.message == f"line {line}, column {column} of the metadata: {what}"
    assert (caught.value.line, caught.value.column) == (line, column)
    assert caught.value.hint


@pytest.mark.parametrize("depth", [33, 10_000, 1_000_000])
def test_text_that_nests_too_deep(depth: int) -> None:
    with pytest.raises(BadText, match="more than 32 deep"):
        parse_text(b"a {" * depth + b"}" * depth)


def test_text_that_nests_just_deep_enough() -> None:
    found = parse_text(b"a {" * 32 + b"}" * 32)
    for _ in range(32):
        (found,) = found.values()
    assert found == {}


def test_arrays_and_brackets_do_not_nest_either() -> None:
    with pytest.raises(BadText):
        parse_text(b"a = " + b"[" * 10_000)


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing_module, "MOST_VALUES", 10)
    parse_text(b'a = ["x", "y"] b = [1, 2, 3, 4] c { d = 1 }')
    for text in (b'a = ["x", "y"] b = [1, 2, 3, 4] c { d = 1 e = 2 }', b"a = [" + b"1," * 10 + b"]"):
        with pytest.raises(BadText, match="more than 10 values"):
            parse_text(text)


@pytest.mark.parametrize("value", [b"1", b'"x"', b"'x'"])
def test_an_array_of_too_many_values_is_not_read_to_its_end(value: bytes) -> None:
    most = parse_text(b"a = [" + (value + b",") * 65_536 + b"]")["a"]
    assert isinstance(most, tuple)
    assert len(most) == 65_536
    for end in (b"]", b"!"):
        with pytest.raises(BadText, match="an array of more than 65536 values"):
            parse_text(b"a = [" + (value + b",") * 65_537 + end)


def test_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing_module, "MOST_BYTES", 10)
    assert parse_text(b"a = 12345\0" + bytes(100)) == {"a": 12345}
    with pytest.raises(BadText, match="MiB of text"):
        parse_text(b"a = 12345678")


@pytest.mark.parametrize(
    "text",
    [b'"' * 100_001, b"\\" * 100_000, b"[" * 100_000, b'a = "' + b"\\" * 100_001,
     b"a = ["  + b'"x" ' * 30_000, b"a=[" + b'"x",' * 30_000, b"a=" * 50_000, b"a = 'x" * 20_000, b"1" * 100_000,
     b"a = [" + b"# c\n" * 30_000, b"a " + b"# c\n" * 30_000, b"a { b = 1 } " * 10_000, b"}" * 100_000],
    ids=lambda text: ascii(text[:12]),
)  # fmt: skip
def test_bad_text_is_refused_at_once(text: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(BadText):
        parse_text(text)
    assert time.process_time() - begun < 2


def test_any_garbage_is_refused_or_read() -> None:
    read = 0
    for seed in range(3000):
        source = random.Random(seed)
        text = bytes(source.choices(b"ab1.-={}[],\"\\# \n'/\0\xff", k=source.randrange(40)))
        try:
            parse_text(text)
        except BadText:
            continue
        read += 1
    assert read > 50
