"""Targets: from the labels of a patch to what the loss compares with, and how much each voxel counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cristae.targets.balance import BatchBalance, ClassBalance
from cristae.targets.boundaries import Boundaries
from cristae.targets.channel import Channel
from cristae.targets.distances import Distances
from cristae.targets.edge_diffusion import EdgeDiffusion
from cristae.targets.edge_preserving import EdgePreserving
from cristae.targets.form import INVALID, LabelledPart, Statistics, TargetConfig, TargetMaps, WeightField
from cristae.targets.weighting import NoWeighting, SampleForegroundWeighting

Targets = Annotated[
    BatchBalance | ClassBalance | EdgeDiffusion | EdgePreserving | NoWeighting | SampleForegroundWeighting,
    Field(discriminator="name"),
]
"""Any targets, discriminated by `name`."""

__all__ = [
    "INVALID",
    "BatchBalance",
    "Boundaries",
    "Channel",
    "ClassBalance",
    "Distances",
    "EdgeDiffusion",
    "EdgePreserving",
    "LabelledPart",
    "NoWeighting",
    "SampleForegroundWeighting",
    "Statistics",
    "TargetConfig",
    "TargetMaps",
    "Targets",
    "WeightField",
]
