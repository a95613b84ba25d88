"""Dumps that somebody else wrote: read as far as they mean something, and refused with the line where they do not."""

from __future__ import annotations

import io
import json
import struct
import zlib

import pytest
from dump_samples import dumped, events, records_of_dump, restored, stored

from dmsnap.errors import DmsnapError
from dmsnap.maintenance.dumped_store import BadDump
from dmsnap.maintenance.dumping import read_dump
from dmsnap.maintenance.events import IncompleteStream
from dmsnap.testing.store_builder import in_allocation_order

ROOT = '<snapshot version="1" valid="1" chunk_size="1" cow_sectors="5000">\n'
END = '<end nr_exceptions="{}" next_free="9"/>\n</snapshot>\n'


def xml(*lines: str, count: int = 1, root: str = ROOT) -> bytes:
    return (root + "".join(line + "\n" for line in lines) + END.format(count)).encode()


def single(origin: object = 1, cow: object = 2) -> str:
    return f'<single_exception origin_chunk="{origin}" cow_chunk="{cow}"/>'


def run(origin: object, cow: object, length: object) -> str:
    return f'<range_exception origin_begin="{origin}" cow_begin="{cow}" length="{length}"/>'


@pytest.mark.parametrize(
    "line",
    [
        "  <single_exception   origin_chunk = '7'\tcow_chunk='8' />  ",
        '<single_exception cow_chunk="8" origin_chunk="7"/>\r',
        '<single_exception origin_chunk="0007" cow_chunk="8"/>',
        '<range_exception length="1" origin_begin="7" cow_begin="8"/>',
        '<!-- kept by hand - really -->\n\n  <single_exception origin_chunk="7" cow_chunk="8"/>',
    ],
)
def test_what_an_editor_makes_of_a_line_means_the_same(line: str) -> None:
    assert records_of_dump(xml(line)) == [(7, 8)]
    assert records_of_dump(b'<?xml version="1.0"?>\n' + xml(line)) == [(7, 8)]


def test_odd_lines_among_many_are_read_in_their_place() -> None:
    records = in_allocation_order(range(0, 4000, 2), 1)
    lines = dumped(stored(records, size_chunks=3000), "xml").splitlines(keepends=True)
    lines[1000] = lines[1000].replace(b"/>", b" />")
    lines.insert(1500, b"<!-- here -->\n")
    assert records_of_dump(b"".join(lines)) == [tuple(row) for row in records.tolist()]
    lines[1700] = b"<oops/>\n"
    with pytest.raises(BadDump, match="line 1701: "):
        records_of_dump(b"".join(lines))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (single(2**64), "origin_chunk is out of range"),
        (single(1, 2**64), "cow_chunk is out of range"),
        (single("1" * 30), "not a number"),
        (single(-1), "not a number"),
        (single("1e3"), "not a number"),
        (single("٣"), "not a number"),
        (single(1, 0), "COW chunk 0"),
        (run(5, 5, 0), "1 to 32 chunks"),
        (run(5, 5, 33), "1 to 32 chunks"),
        (run(5, 5, 2**60), "1 to 32 chunks"),
        (run(2**64 - 1, 5, 2), "past the largest number"),
        (run(5, 2**64 - 2, 3), "past the largest number"),
        ('<single_exception origin_chunk="1"/>', "instead of"),
        ('<single_exception origin_chunk="1" cow_chunk="2" more="3"/>', "instead of"),
        ('<single_exception origin_chunk="1" origin_chunk="1" cow_chunk="2"/>', "twice"),
        ('<single_exception origin_chunk="1" cow_chunk="2">', "not one element"),
        ('<single_exception origin_chunk="&a;" cow_chunk="2"/>', "not one element"),
        ('<single_exception origin_chunk="1"cow_chunk="2"/>', "not one element"),
        (single() + single(), "not one element"),
        ("<single_exception", "not one element"),
        ("<exception/>", "not one element"),
        ("words", "not one element"),
        ("\0", "not one element"),
        ("<!-- a -- b -->", "not one element"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>', "not one element"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd">', "not one element"),
        ("<![CDATA[a]]>", "not one element"),
        ('<?include href="a"?>', "not one element"),
        (ROOT.strip(), "wrong place"),
        ("</snapshot>", "wrong place"),
        ('<data cow_chunk="0">AAAA</data>', "whole chunks"),
        ('<data cow_chunk="2">!</data>', "base64"),
        ('<data cow_chunk="2">AAA</data>', "base64"),
        ('<data cow_chunk="2"></data>', "whole chunks"),
        ('<data cow_chunk="99999999999999999999">AAAA</data>', "out of range"),
        ('<data cow_chunk="18446744073709551615">AAAA</data>', "past the end"),
        ('<data cow_chunk="1">' + "A" * 684 + "</data>", "whole chunks"),
    ],
)
def test_a_line_that_means_nothing_is_told_by_its_number(line: str, words: str) -> None:
    dump = xml(single(), line, count=1)
    with pytest.raises(BadDump, match=words) as caught:
        records_of_dump(dump)
    assert caught.value.message.startswith("line 3: ")
    assert "\n" not in str(caught.value)


def test_data_never_lies_on_metadata() -> None:
    import base64

    sector = base64.b64encode(bytes(512)).decode()
    for chunk in (0, 1, 34):
        with pytest.raises(BadDump, match="place of metadata"):
            records_of_dump(xml(f'<data cow_chunk="{chunk}">{sector}</data>', count=0))
    three = base64.b64encode(bytes(1536)).decode()
    with pytest.raises(BadDump, match="place of metadata"):
        records_of_dump(xml(f'<data cow_chunk="32">{three}</data>', count=0))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ('version="2" valid="1" chunk_size="8" cow_sectors="99"', "version 2"),
        ('version="1" valid="4294967296" chunk_size="8" cow_sectors="99"', "valid is out of range"),
        ('version="1" valid="1" chunk_size="0" cow_sectors="99"', "chunk size"),
        ('version="1" valid="1" chunk_size="12" cow_sectors="99"', "chunk size"),
        ('version="1" valid="1" chunk_size="4194304" cow_sectors="9999999"', "chunk size"),
        ('version="1" valid="1" chunk_size="8" cow_sectors="7"', "no room"),
        ('version="1" valid="1" chunk_size="8" cow_sectors="18014398509481984"', "cow_sectors is out of range"),
        ('version="1" valid="1" chunk_size="8"', "instead of"),
    ],
)
def test_a_header_that_no_store_has_is_refused(attributes: str, words: str) -> None:
    with pytest.raises(BadDump, match=words):
        records_of_dump(xml(count=0, root=f"<snapshot {attributes}>\n"))


def test_more_exceptions_than_the_areas_hold_are_refused_before_they_are_spread_out() -> None:
    lines = [run(i * 32, 2, 32) for i in range(160)]  # 5000 sectors have 152 areas
    with pytest.raises(BadDump, match="room for"):
        records_of_dump(xml(*lines, count=160 * 32))


def test_a_number_of_exceptions_that_is_wrong_is_told() -> None:
    with pytest.raises(IncompleteStream, match="has 1 exceptions and says 2"):
        records_of_dump(xml(single(), count=2))


@pytest.mark.parametrize("rest", [b"x", b"x\n", b"</snapshot>\n", single().encode()])
def test_nothing_follows_the_end(rest: bytes) -> None:
    with pytest.raises(BadDump):
        records_of_dump(xml(single()) + rest)


def test_the_end_needs_no_line_break() -> None:
    assert records_of_dump(xml(single()).rstrip()) == [(1, 2)]


@pytest.mark.parametrize("dump", [b"", b"\0", b"hello", b"SnAp" + bytes(600), b"[]", b"\xef\xbb\xbf<snapshot>"])
def test_what_is_no_dump_is_called_so(dump: bytes) -> None:
    with pytest.raises(BadDump, match="the dump is"):
        records_of_dump(dump)


class Endless(io.RawIOBase):
    """A line without an end."""

    def __init__(self, begin: bytes) -> None:
        self.given = 0
        self._begin = begin

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[call-overload]
        view[:] = (self._begin + b" " * len(view))[: len(view)]
        self._begin = b""
        self.given += len(view)
        return len(view)


@pytest.mark.parametrize("begin", [b"<snapshot ", xml()[:80], b"{", b'{"snapshot":'])
def test_a_line_without_an_end_is_refused_early(begin: bytes) -> None:
    stream = Endless(begin)
    with pytest.raises(BadDump, match="a line of more than"):
        list(read_dump(io.BufferedReader(stream)))
    assert stream.given < 4 << 20


JSON_ROOT = b'{"snapshot": {"version": 1, "valid": 1, "chunk_size": 1, "cow_sectors": 50}}\n'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"[" * 5000, "not JSON"),
        (b'{"origin_chunk": 1, "cow_chunk": 2', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"origin_chunk": 1, "cow_chunk": NaN}', "not a number"),
        (b'{"origin_chunk": 1, "cow_chunk": true}', "not a number"),
        (b'{"origin_chunk": 1, "cow_chunk": "2"}', "not a number"),
        (b'{"origin_chunk": 1, "cow_chunk": 2.0}', "not a number"),
        (b'{"origin_chunk": 1, "cow_chunk": -2}', "out of range"),
        (b'{"origin_chunk": 1, "cow_chunk": ' + b"9" * 6000 + b"}", "not JSON"),
        (b'{"origin_chunk": 1, "origin_chunk": 1, "cow_chunk": 2}', "twice"),
        (b'{"origin_chunk": 1}', "not an object of a dump"),
        (b"5", "not an object"),
        (b'{"cow_chunk": 2, "data": "\\u00e9"}', "base64"),
        (b'{"cow_chunk": 2, "data": 5}', "not an object of a dump"),
        (b'{"snapshot": 5}', "not an object of a dump"),
        (JSON_ROOT.strip(), "wrong place"),
    ],
)
def test_json_that_means_nothing_is_told_by_its_line(line: bytes, words: str) -> None:
    with pytest.raises(BadDump, match=words) as caught:
        records_of_dump(JSON_ROOT + line + b"\n")
    assert caught.value.message.startswith("line 2: ")


def test_json_written_by_another_program_means_the_same() -> None:
    lines = [json.loads(line) for line in dumped(stored(in_allocation_order(range(0, 40, 2), 1)), "json").splitlines()]
    compact = "\r\n".join(json.dumps(line, separators=(",", ":"), sort_keys=True) for line in lines)
    assert records_of_dump(compact.encode()) == [(2 * i, 2 + i) for i in range(20)]


def packed(*blocks: tuple[int, bytes], count: int, cow_sectors: int = 5000) -> bytes:
    body = struct.pack("<8sIIQ", b"DMSNAPM1", 1, 1, cow_sectors)
    for number, content in blocks:
        body += struct.pack("<II", number, len(content)) + content
    return body + struct.pack("<IIQ", 0, zlib.crc32(body), count)


def test_packed_blocks_that_unpack_to_more_than_they_say_are_refused() -> None:
    bomb = zlib.compress(bytes(1 << 24))
    with pytest.raises(BadDump, match="unpacked"):
        records_of_dump(packed((4, bomb), count=4))
    with pytest.raises(BadDump, match="unpacked"):
        records_of_dump(packed((4, zlib.compress(bytes(60))), count=4))
    with pytest.raises(BadDump, match="unpacked"):
        records_of_dump(packed((4, zlib.compress(bytes(64)) + b"x"), count=4))
    for number, count in ((65537, 65537), (2**32 - 1, 1)):
        with pytest.raises(BadDump, match="too large"):
            records_of_dump(packed((number, bomb), count=count))
    with pytest.raises(BadDump, match="too large"):
        records_of_dump(packed((60000, bomb), count=60000, cow_sectors=50))
    with pytest.raises(BadDump, match="chunk 0"):
        records_of_dump(packed((4, zlib.compress(bytes(64))), count=4))


def test_any_changed_byte_of_packed_metadata_is_noticed() -> None:
    content = stored(in_allocation_order([5, 1, 9], 1))
    dump = bytearray(dumped(content, "packed"))
    for place in range(len(dump)):
        dump[place] ^= 0x10
        with pytest.raises(DmsnapError):
            restored(bytes(dump), len(content))
        dump[place] ^= 0x10
    with pytest.raises(BadDump, match="checksum"):
        restored(bytes(dump) + b"x", len(content))


def test_the_end_is_told_only_once_nothing_follows_it() -> None:
    reading = events(xml(single()) + b"x\n")
    assert [type(next(reading)).__name__ for _ in range(2)] == ["Begin", "Exceptions"]
    with pytest.raises(BadDump):
        next(reading)
