"""How long to measure unless told otherwise; apart from the measuring, so that ``--help`` need not load it."""

from __future__ import annotations

__all__ = ["PREDICT_SECONDS", "TUNE_SECONDS"]

PREDICT_SECONDS = 5.0
TUNE_SECONDS = 30.0
