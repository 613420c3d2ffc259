"""Targets: from the labels of a patch to what the loss compares with, and how much each voxel counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cristae.targets.balance import BatchBalance, ClassBalance
from cristae.targets.form import LabelledPart, Statistics, TargetConfig, TargetMaps
from cristae.targets.weighting import NoWeighting, SampleForegroundWeighting

Targets = Annotated[BatchBalance | ClassBalance | NoWeighting | SampleForegroundWeighting, Field(discriminator="name")]
"""Any targets, discriminated by `name`."""

__all__ = [
    "BatchBalance",
    "ClassBalance",
    "LabelledPart",
    "NoWeighting",
    "SampleForegroundWeighting",
    "Statistics",
    "TargetConfig",
    "TargetMaps",
    "Targets",
]
