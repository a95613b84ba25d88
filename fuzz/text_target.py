"""Any text as status words, size, and path: refused by its own error, or read so that it means the same again."""

from __future__ import annotations

import os
import re
import shlex

import atheris
import engine

with engine.instrumented(include=["dmsnap"]):
    from dmsnap.cli.sizes import parse_size
    from dmsnap.cli.text import printable
    from dmsnap.target import BadDeviceName, BadStatus, activation, parse_status, table_line


def test_one(data: bytes) -> None:
    """Gives the same text to every parser of text."""
    source = atheris.FuzzedDataProvider(data)
    number = source.ConsumeIntInRange(0, 2**63)
    text = source.ConsumeUnicode(200)
    _status(text)
    _status(f"{number}/{text}")
    _size(text)
    _table(number, text.replace("\0", "") or "x")
    safe = printable(text)
    assert safe.isprintable()
    assert printable(safe) == safe


def _status(text: str) -> None:
    try:
        status = parse_status(text)
    except BadStatus:
        return
    assert parse_status(str(status)) == status
    assert status.usage_percent >= 0
    if status.allocated_sectors <= status.total_sectors:
        assert status.usage_percent <= 100


def _size(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError:
        return
    assert 0 <= size < 2**63


def _table(sectors: int, path: str) -> None:
    line = table_line(sectors, path, path + "x", 8)
    assert _split(line) == ["0", str(sectors), "snapshot", path, path + "x", "P", "8"]
    try:
        commands = activation(sectors, path, path, 8, name=path[:5], origin_is_file=True).commands
    except BadDeviceName:
        return
    assert all(command.isprintable() for command in commands[:2])
    assert _word(commands[0].removesuffix(")").partition(" -- ")[2]) == path
    assert _split(_word(commands[1].removeprefix("cow="))) == [path]


def _word(text: str) -> str:
    """What a shell makes of one quoted word."""
    if not text.startswith("$'"):
        (word,) = shlex.split(text)
        return word
    octets = re.sub(rb"\\(\d{3})", lambda match: bytes([int(match[1], 8)]), text[2:-1].encode("ascii"))
    return os.fsdecode(octets)


def _split(line: str) -> list[str]:
    """Splits a line as device-mapper does: at blanks of ASCII, where a backslash takes the next character as it is."""
    words, word, inside = [], "", False
    characters = iter(line)
    for character in characters:
        if character in " \t\n\v\f\r":
            if inside:
                words.append(word)
            word, inside = "", False
            continue
        word += next(characters, "") if character == "\\" else character
        inside = True
    return [*words, word] if inside else words


if __name__ == "__main__":
    engine.fuzz(test_one, of_stores=False)
