"""What is measured, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from cristae.config import Config
from cristae.data.image import VoxelSize


class AnalysisOptions(Config):
    """What is measured, and how. The fields are the options of `cristae analyze`.

    Lengths are in nm, so that they mean the same in every volume.
    """

    binarize: float | None = Field(default=None, ge=0, le=1)
    """The threshold of a probability map of one class."""
    connectivity: Literal[6, 18, 26] = 26
    """Neighbours that join voxels to one object: across faces (6), edges too (18), corners too (26)."""
    min_um3: NonNegativeFloat = 0.0
    """Objects smaller than this are neither listed nor counted; their voxels still count for their class."""
    split: tuple[str, ...] = ()
    """Classes whose objects are cut at their necks, because neighbours touch each other."""
    split_depth_nm: PositiveFloat | None = None
    """A neck is cut when both sides are thicker than it by more than this, measured as distance from the middle to the
    surface; None takes the longest edge of a voxel."""
    membrane: str | None = None
    """The class that distances are measured to; None takes the surface of the cell."""
    margin_nm: NonNegativeFloat = 200.0
    """How far round a cell known from elsewhere its voxels are looked for."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x), where the file does not say it."""
    keep_objects: bool = False
    """Also write a label image of the object numbers of each class."""
    meshes: bool = False
    """Also write the surface of each class, and show it on the page."""
