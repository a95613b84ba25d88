"""Where fuzzing starts: the named damaged stores, sound stores, and some status words."""

from __future__ import annotations

import io
from pathlib import Path

from dmsnap.testing.damage import DAMAGES, sound_store
from dmsnap.testing.store_builder import build_store

LARGEST_SEED_BYTES = 1 << 17
TEXTS = ("9472/32768 48", "0/0 0", "1/2", "Invalid", "Merge failed", "1.5G", "2048s", "a path\\ with blanks", "$(x)'\"")


def write_seeds(folder: Path, *, of_stores: bool) -> None:
    """Writes the first inputs of a target into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (store_seeds() if of_stores else text_seeds()).items():
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


def text_seeds() -> dict[str, bytes]:
    """Texts behind the number that the target takes first."""
    return {f"text-{number}": bytes(8) + b"\x01" + text.encode() for number, text in enumerate(TEXTS)}
