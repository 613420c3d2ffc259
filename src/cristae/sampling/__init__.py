"""Where training patches come from."""

from typing import Annotated

from pydantic import Field

from cristae.sampling.grid import GridPatches, GridPlan
from cristae.sampling.indexed import IndexedPatches, IndexedPlan
from cristae.sampling.jittered import JitteredPatches, JitteredPlan
from cristae.sampling.named import counted_names
from cristae.sampling.part import ClassVoxels, PatchSize, Place, SamplePart, as_triple, centred_box
from cristae.sampling.patch import Patch
from cristae.sampling.random import RandomPatches, RandomPlan
from cristae.sampling.rejection import RejectionPatches, RejectionPlan

Sampling = Annotated[
    GridPatches | IndexedPatches | JitteredPatches | RandomPatches | RejectionPatches, Field(discriminator="name")
]
Plan = GridPlan | IndexedPlan | JitteredPlan | RandomPlan | RejectionPlan

__all__ = [
    "ClassVoxels",
    "GridPatches",
    "GridPlan",
    "IndexedPatches",
    "IndexedPlan",
    "JitteredPatches",
    "JitteredPlan",
    "Patch",
    "PatchSize",
    "Place",
    "Plan",
    "RandomPatches",
    "RandomPlan",
    "RejectionPatches",
    "RejectionPlan",
    "SamplePart",
    "Sampling",
    "as_triple",
    "centred_box",
    "counted_names",
]
