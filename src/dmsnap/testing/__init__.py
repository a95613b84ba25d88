"""Public test kit: device and store contracts, strategies, damage makers, and a real Linux kernel in a VM."""

from dmsnap.testing.tools import need, need_tool

__all__ = ["need", "need_tool"]
