"""Where fuzzing starts: damaged and sound stores, some status words, what clients of NBD say, LVM's volumes."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from dmsnap.block.memory import MemoryDevice
from dmsnap.block.nbd import wire
from dmsnap.maintenance.dumping import FORMATS
from dmsnap.maintenance.reading import read_events
from dmsnap.testing.damage import DAMAGES, sound_store
from dmsnap.testing.lvm_builder import PvText, VolumeText, build_pv, group_text
from dmsnap.testing.partition_builder import build_gpt, build_mbr, put
from dmsnap.testing.store_builder import build_store

LARGEST_SEED_BYTES = 1 << 17
TEXTS = ("9472/32768 48", "0/0 0", "1/2", "Invalid", "Merge failed", "1.5G", "2048s", "a path\\ with blanks", "$(x)'\"")


def write_seeds(folder: Path, kind: str) -> None:
    """Writes the first inputs of a target into ``folder``; ``kind`` is one of `KINDS`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in KINDS[kind]().items():
        (folder / name).write_bytes(content)


def store_seeds() -> dict[str, bytes]:
    """Small stores by name, sound and damaged."""
    seeds = {f"sound-{count}": sound_store(count) for count in (0, 1, 31, 32, 33, 70)}
    for sectors in (2, 8):
        out = io.BytesIO()
        build_store(out, [(7, 2), (8, 3), (3, 4), (8, 5)], chunk_size_sectors=sectors)
        seeds[f"chunks-of-{sectors}-sectors"] = out.getvalue()
    for name in DAMAGES:
        if name != "a-million-duplicates":
            seeds[name] = DAMAGES[name].content()[:LARGEST_SEED_BYTES]
    return seeds


def dump_seeds() -> dict[str, bytes]:
    """Dumps of small stores in every form, with data and without."""
    seeds = {}
    for count in (0, 1, 33):
        for form in FORMATS:
            for data in (False, True):
                out = io.BytesIO()
                FORMATS[form].write(read_events(MemoryDevice(sound_store(count), read_only=True), data=data), out)
                seeds[f"{form}-{count}-{data}"] = out.getvalue()
    return seeds


def text_seeds() -> dict[str, bytes]:
    """Texts behind the number that the target takes first."""
    return {f"text-{number}": bytes(8) + b"\x01" + text.encode() for number, text in enumerate(TEXTS)}


def nbd_seeds() -> dict[str, bytes]:
    """Whole conversations, behind the byte that says how they are split, without TLS and with it."""

    def option(number: int, data: bytes = b"") -> bytes:
        return wire.OPTION.pack(wire.OPTION_MAGIC, number, len(data)) + data

    def request(kind: int, length: int = 512, data: bytes = b"", flags: int = 0) -> bytes:
        return wire.REQUEST.pack(wire.REQUEST_MAGIC, flags, kind, kind, 4096, len(data) or length) + data

    def extended(kind: int, length: int = 512, data: bytes = b"") -> bytes:
        head = wire.EXTENDED_REQUEST_MAGIC, 32 if data else 0, kind, kind, 4096, len(data) or length
        return wire.EXTENDED_REQUEST.pack(*head) + data

    name = struct.pack(">L", 4) + b"disk"
    go, contexts = name + struct.pack(">HHH", 2, 1, 3), name + struct.pack(">LL", 1, 15) + b"base:allocation"
    begin, data = wire.CLIENT_FLAGS.pack(3), bytes(512)
    requests = request(0) + request(1, data=data) + request(1, data=data, flags=1) + b"".join(map(request, range(3, 8)))
    status = extended(7, data=struct.pack(">QL", 512, 1))
    conversations = {
        "list": option(3) + option(9, contexts) + option(99, b"x") + option(6, go) + option(2),
        "simple": option(7, go) + requests + request(2),
        "old": option(1, b"disk") + requests,
        "structured": option(8) + option(10, contexts) + option(7, go) + requests + request(0, flags=4),
        "extended": option(11) + option(10, contexts) + option(7, go) + extended(0) + extended(1, data=data) + status,
        "tls": option(8) + option(5),
    }
    return {f"{key}-{how}": bytes([how]) + begin + said for key, said in conversations.items() for how in (0, 1, 100)}


def volume_seeds() -> dict[str, bytes]:
    """Small physical volumes, alone, two behind one another, and in partitions."""
    size, areas = 16384, ((4096, 8192),)
    texts = [group_text(pvs=[PvText("pv0", 7), PvText("pv1", 2)], seqno=n, created=n) for n in (1, 2, 3)]
    texts.append(group_text(volumes=[VolumeText("one", "pv0", 0, 3), VolumeText("two", "pv0", 3, 4)], seqno=4))
    alone = build_pv(texts[3], size_bytes=size, areas=areas)
    mbr = build_mbr(64, {1: (8, 20)}, extended=(30, 34), logical=[(31, 33)])
    gpt = build_gpt(128, {1: (40, 32)})
    put(mbr, 31 * 512, alone)
    put(gpt, 40 * 512, alone)
    return {
        "alone": bytes(alone),
        "older": bytes(build_pv(texts[2], older=texts[:2], size_bytes=size, areas=areas, label_sector=0)),
        "around": bytes(build_pv(texts[2], text_offset=8192 - 512, size_bytes=size, areas=areas, label_sector=3)),
        "two-areas": bytes(build_pv(texts[1], size_bytes=size, areas=((4096, 4096), (8192, 4096)))),
        "two-volumes": bytes(
            build_pv(texts[2], size_bytes=size, areas=areas) + build_pv(name="pv1", size_bytes=size, areas=areas)
        ),
        "orphan": bytes(build_pv(size_bytes=size, areas=areas, extension_version=0)),
        "in-mbr": bytes(mbr),
        "in-gpt": bytes(gpt),
    }


def lvm_text_seeds() -> dict[str, bytes]:
    """Metadata of small groups: one for each kind of segment, and one of them all."""

    def volume(name: str, *segments: str) -> str:
        body = "".join(f"segment{number} {{\n{segment}\n}}\n" for number, segment in enumerate(segments, 1))
        return f'{name} {{\nid = "i"\nstatus = ["READ", "VISIBLE"]\nsegment_count = {len(segments)}\n{body}}}\n'

    def segment(kind: str, fields: str, start: int = 0, count: int = 4) -> str:
        return f'start_extent = {start}\nextent_count = {count}\ntype = "{kind}"\n{fields}'

    def linear(place: str, start: int = 0, count: int = 4) -> str:
        return segment("striped", f"stripe_count = 1\nstripes = [\n{place}\n]", start, count)

    pairs = 'device_count = 2\nraids = ["m", "a", "n", "b"]'
    volumes = {
        "linear": volume("a", linear('"pv0", 0'), linear('"pv0", 8', 4)) + volume("b", linear('"pv0", 4')),
        "striped": volume(
            "s", segment("striped", 'stripe_count = 2\nstripe_size = 8\nstripes = ["pv1", 0, "pv0", 12]')
        ),
        "mirror": volume(
            "x", segment("mirror", 'mirror_count = 2\nmirror_log = "l"\nmirrors = ["pv0", 14, "pv1", 14]')
        ),
        "log": volume("l", linear('"pv1", 18')),
        "raid": volume("r", segment("raid1", pairs))
        + volume("m", linear('"pv1", 2'))
        + volume("n", linear('"pv1", 6')),
        "snapshot": volume("snapshot0", segment("snapshot", 'chunk_size = 8\norigin = "s"\ncow_store = "l"')),
        "thin": volume("t", segment("thin", 'thin_pool = "a"'), segment("zero", "tags = []", 4)),
    }
    volumes["all"] = "".join(volumes.values())
    volumes["run"] = volume("u", *(linear(f'"pv{at % 2}", {at}', at, 1) for at in range(20)))
    volumes["mixed run"] = volume(
        "u",
        *(
            segment("striped", f'stripe_count = 2\nstripe_size = 8\nstripes = [\n"pv1", {at},\n"pv0", {at}\n]', at, 2)
            if at % 3
            else linear(f'"pv0", {at}', at, 2)
            for at in range(0, 20, 2)
        ),
    )
    pvs = "".join(f'pv{number} {{ id = "p" pe_start = 8 pe_count = 22 }}\n' for number in range(2))
    return {
        name: f'vg {{\nid = "g"\nseqno = 1\nextent_size = 8 # x\nphysical_volumes {{ {pvs} }}\n'
        f'logical_volumes {{\n{text}}}\n}}\ncontents = "Text Format Volume Group"\nversion = 1\n'.encode()
        for name, text in volumes.items()
    }


KINDS = {
    "stores": store_seeds,
    "texts": text_seeds,
    "nbd": nbd_seeds,
    "dumps": dump_seeds,
    "volumes": volume_seeds,
    "lvm-texts": lvm_text_seeds,
}
"""What makes the first inputs of each kind."""
