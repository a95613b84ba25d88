"""Linux device-mapper snapshots in user space.

The names below are the library; each is imported when it is first used, so that ``import dmsnap`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

    from dmsnap.errors import DmsnapError
    from dmsnap.library.checking import check
    from dmsnap.library.creation import create
    from dmsnap.library.description import StoreInfo, info, status, table
    from dmsnap.library.merging import MergeResult, merge
    from dmsnap.library.mounting import MountedSnapshot, mount
    from dmsnap.library.movement import export, map_changes
    from dmsnap.library.repairing import repair
    from dmsnap.library.serving.serving import Serving, serve
    from dmsnap.library.simulation.simulation import Simulation, simulate
    from dmsnap.library.snapshot_file import SnapshotFile, WritableSnapshotFile, open_snapshot
    from dmsnap.library.tracing.trace import Trace
    from dmsnap.library.tuning.prediction import Prediction, predict
    from dmsnap.library.tuning.tuning import TuneResult, tune
    from dmsnap.maintenance.checking import Report
    from dmsnap.maintenance.repair_report import RepairReport

__all__ = [
    "DmsnapError",
    "MergeResult",
    "MountedSnapshot",
    "Prediction",
    "RepairReport",
    "Report",
    "Serving",
    "Simulation",
    "SnapshotFile",
    "StoreInfo",
    "Trace",
    "TuneResult",
    "WritableSnapshotFile",
    "check",
    "create",
    "export",
    "info",
    "map_changes",
    "merge",
    "mount",
    "open_snapshot",
    "predict",
    "repair",
    "serve",
    "simulate",
    "status",
    "table",
    "tune",
]

_HOME = {
    "DmsnapError": "dmsnap.errors",
    "MergeResult": "dmsnap.library.merging",
    "MountedSnapshot": "dmsnap.library.mounting",
    "Prediction": "dmsnap.library.tuning.prediction",
    "Report": "dmsnap.maintenance.checking",
    "RepairReport": "dmsnap.maintenance.repair_report",
    "Serving": "dmsnap.library.serving.serving",
    "Simulation": "dmsnap.library.simulation.simulation",
    "SnapshotFile": "dmsnap.library.snapshot_file",
    "StoreInfo": "dmsnap.library.description",
    "Trace": "dmsnap.library.tracing.trace",
    "TuneResult": "dmsnap.library.tuning.tuning",
    "WritableSnapshotFile": "dmsnap.library.snapshot_file",
    "check": "dmsnap.library.checking",
    "create": "dmsnap.library.creation",
    "export": "dmsnap.library.movement",
    "info": "dmsnap.library.description",
    "map_changes": "dmsnap.library.movement",
    "merge": "dmsnap.library.merging",
    "mount": "dmsnap.library.mounting",
    "open_snapshot": "dmsnap.library.snapshot_file",
    "predict": "dmsnap.library.tuning.prediction",
    "repair": "dmsnap.library.repairing",
    "simulate": "dmsnap.library.simulation.simulation",
    "status": "dmsnap.library.description",
    "table": "dmsnap.library.description",
    "tune": "dmsnap.library.tuning.tuning",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("dmsnap")
    if name == "serve":  # a package, which can be called: importing what is in it binds it to this name
        return importlib.import_module("dmsnap.serve")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__", *(name for name in globals() if name.startswith("__"))})
