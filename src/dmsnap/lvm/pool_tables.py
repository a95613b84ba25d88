"""Lines of device-mapper tables for pools and what is cached, behind start and length, as ``dmsetup table`` shows them.

Source: LVM2 2.03 and Linux dm-thin and dm-cache as they behave. A pool is given as LVM gives it where no monitoring has
told it otherwise: with a low water mark of 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

__all__ = ["cache_target", "thin_pool_target"]

_DISCARDS = {"passdown": (), "ignore": ("ignore_discard",), "nopassdown": ("no_discard_passdown",)}
_POLICY = re.compile(r"[a-z0-9_]{1,16}\Z")
_MODES = ("writethrough", "writeback", "passthrough")


def thin_pool_target(fields: Mapping[str, object], status: Set[str], metadata: str, data: str) -> str | None:
    """Returns the line of a thin pool, or None where it is not known.

    Args:
        fields: What the metadata say of its segment.
        status: Status and flags of the volume.
        metadata: The device with its metadata.
        data: The device with its blocks.
    """
    chunk, discards = fields.get("chunk_size"), _DISCARDS.get(str(fields.get("discards", "passdown")))
    if not isinstance(chunk, int) or discards is None:
        return None
    features = [] if fields.get("zero_new_blocks") == 1 else ["skip_block_zeroing"]
    features += discards
    features += ["error_if_no_space"] if "ERROR_WHEN_FULL" in status else []
    return " ".join(["thin-pool", metadata, data, str(chunk), "0", str(len(features)), *features])


def cache_target(fields: Mapping[str, object], metadata: str, data: str, origin: str) -> str | None:
    """Returns the line of a cached volume, or None where it is not known.

    Args:
        fields: What the metadata say of the segment that has the settings: the pool's, or its own.
        metadata: The device with the cache's metadata.
        data: The device with the cache's blocks.
        origin: The device that is cached.
    """
    chunk, mode, policy = fields.get("chunk_size"), fields.get("cache_mode"), fields.get("policy")
    version = fields.get("metadata_format", 1)
    if not isinstance(chunk, int) or mode not in _MODES or version not in (1, 2) or "policy_settings" in fields:
        return None
    if not isinstance(policy, str) or not _POLICY.match(policy):  # it may get into a shell
        return None
    features = (["metadata2"] if version == 2 else []) + [str(mode)]
    return " ".join(["cache", metadata, data, origin, str(chunk), str(len(features)), *features, policy, "0"])
