"""What is simulated unless told otherwise; apart from the simulation, so that ``--help`` need not load it."""

from __future__ import annotations

__all__ = [
    "DEFAULT_AREAS",
    "DEFAULT_CHUNK_SIZE_BYTES",
    "DEFAULT_DEPTHS",
    "DEFAULT_ROOM_AREAS",
    "MOST_DEPTHS",
    "MOST_METADATA_BYTES",
]

DEFAULT_AREAS = 1563
"""400,000 changed chunks of 4 KiB (1.6 GB): a large snapshot of a busy volume."""
DEFAULT_CHUNK_SIZE_BYTES = 4096
"""The chunk size that LVM2 takes unless told otherwise."""
DEFAULT_DEPTHS = (0, 1, 2, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
DEFAULT_ROOM_AREAS = 256
"""The deepest of these finds that many useless areas: a real COW device has room left, too."""
MOST_DEPTHS = 1000
"""Bound on how many can be asked for at once."""
MOST_METADATA_BYTES = 1 << 30
"""Bound on the areas of a described store together: 262,144 areas of 4 KiB chunks, which hold 256 GiB of changes."""
