"""Crashes of origin and snapshots, enumerated: no flushed byte may be lost, and no byte may be there that nobody wrote.

`Recorder` makes devices with volatile write caches and notes what happens to them in one order; `moments` and `images`
tell what a crash at each moment may leave on them; `Client` notes what users of the snapshots were promised, and
`judge` compares.
"""

from dmsnap.testing.crash.checker import Checker
from dmsnap.testing.crash.expectation import Client, Expectation
from dmsnap.testing.crash.recorder import RecordedDevice, Recorder, Timeline
from dmsnap.testing.crash.search import Crash, Limits, Verdict, crashes, judge

__all__ = [
    "Checker",
    "Client",
    "Crash",
    "Expectation",
    "Limits",
    "RecordedDevice",
    "Recorder",
    "Timeline",
    "Verdict",
    "crashes",
    "judge",
]
