"""Disks in simulated time: rotating drives, flash, volumes behind a network. See docs/disk-models.md.

A `ModelDevice` is a device around another; a `Drive` tells it how long everything takes.
"""

from dmsnap.block.model.device import ModelDevice
from dmsnap.block.model.drive import Command, Drive
from dmsnap.block.model.drives import DRIVES, UnknownDrive, make_drive
from dmsnap.block.model.judging import FIGURES, Judgement, judge
from dmsnap.block.model.spec import DriveSpec, Figure, Parameter

__all__ = [
    "DRIVES",
    "FIGURES",
    "Command",
    "Drive",
    "DriveSpec",
    "Figure",
    "Judgement",
    "ModelDevice",
    "Parameter",
    "UnknownDrive",
    "judge",
    "make_drive",
]
