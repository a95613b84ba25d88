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
    from dmsnap.library.compaction import CompactResult, compact
    from dmsnap.library.creation import create
    from dmsnap.library.description import StoreInfo, info, status, table
    from dmsnap.library.difference import diff
    from dmsnap.library.dumping import RestoreResult, dump, restore
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
    from dmsnap.library.volumes.listing import VolumeListing, list_volumes
    from dmsnap.library.volumes.sizes import StoreSizes, store_sizes
    from dmsnap.maintenance.checking import CheckReport
    from dmsnap.maintenance.repair_report import RepairReport

__all__ = [
    "CheckReport",
    "CompactResult",
    "DmsnapError",
    "MergeResult",
    "MountedSnapshot",
    "Prediction",
    "RepairReport",
    "RestoreResult",
    "Serving",
    "Simulation",
    "SnapshotFile",
    "StoreInfo",
    "StoreSizes",
    "Trace",
    "TuneResult",
    "VolumeListing",
    "WritableSnapshotFile",
    "check",
    "compact",
    "create",
    "diff",
    "dump",
    "export",
    "info",
    "list_volumes",
    "map_changes",
    "merge",
    "mount",
    "open_snapshot",
    "predict",
    "repair",
    "restore",
    "serve",
    "simulate",
    "status",
    "store_sizes",
    "table",
    "tune",
]

_HOME = {
    "CompactResult": "dmsnap.library.compaction",
    "DmsnapError": "dmsnap.errors",
    "MergeResult": "dmsnap.library.merging",
    "MountedSnapshot": "dmsnap.library.mounting",
    "Prediction": "dmsnap.library.tuning.prediction",
    "RepairReport": "dmsnap.maintenance.repair_report",
    "CheckReport": "dmsnap.maintenance.checking",
    "RestoreResult": "dmsnap.library.dumping",
    "Serving": "dmsnap.library.serving.serving",
    "Simulation": "dmsnap.library.simulation.simulation",
    "SnapshotFile": "dmsnap.library.snapshot_file",
    "StoreInfo": "dmsnap.library.description",
    "StoreSizes": "dmsnap.library.volumes.sizes",
    "Trace": "dmsnap.library.tracing.trace",
    "TuneResult": "dmsnap.library.tuning.tuning",
    "VolumeListing": "dmsnap.library.volumes.listing",
    "WritableSnapshotFile": "dmsnap.library.snapshot_file",
    "check": "dmsnap.library.checking",
    "create": "dmsnap.library.creation",
    "dump": "dmsnap.library.dumping",
    "compact": "dmsnap.library.compaction",
    "diff": "dmsnap.library.difference",
    "export": "dmsnap.library.movement",
    "info": "dmsnap.library.description",
    "list_volumes": "dmsnap.library.volumes.listing",
    "map_changes": "dmsnap.library.movement",
    "merge": "dmsnap.library.merging",
    "mount": "dmsnap.library.mounting",
    "open_snapshot": "dmsnap.library.snapshot_file",
    "predict": "dmsnap.library.tuning.prediction",
    "repair": "dmsnap.library.repairing",
    "restore": "dmsnap.library.dumping",
    "simulate": "dmsnap.library.simulation.simulation",
    "status": "dmsnap.library.description",
    "store_sizes": "dmsnap.library.volumes.sizes",
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
