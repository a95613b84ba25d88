"""Devices around a device: each does one thing to what passes through, and they stack in any order."""

from dmsnap.block.wrap.delay import DelayDevice
from dmsnap.block.wrap.fault import Fault, FaultDevice, Request, fail_nth, fail_range
from dmsnap.block.wrap.log import Event, LogDevice
from dmsnap.block.wrap.read_only import ReadOnlyWrapper
from dmsnap.block.wrap.slice import SliceDevice
from dmsnap.block.wrap.stats import Count, StatsDevice
from dmsnap.block.wrap.wrapper import Wrapper

__all__ = [
    "Count",
    "DelayDevice",
    "Event",
    "Fault",
    "FaultDevice",
    "LogDevice",
    "ReadOnlyWrapper",
    "Request",
    "SliceDevice",
    "StatsDevice",
    "Wrapper",
    "fail_nth",
    "fail_range",
]
