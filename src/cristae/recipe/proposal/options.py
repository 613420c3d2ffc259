"""What a person says for a proposal beside where the data are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from cristae.data.image import VoxelSize
from cristae.errors import RecipeError

DEFAULT_MINUTES = 30.0


@dataclass(frozen=True)
class ProposalOptions:
    """For which time and memory a recipe is proposed, and what the files do not say."""

    minutes: float = DEFAULT_MINUTES
    """How long the training may take on this machine, validation included."""
    max_ram: str | None = None
    """Ceiling for the memory of the training, such as '8GiB'; None takes half of the free memory."""
    measure: bool = True
    """Take a few steps of the training, which decide its length; otherwise the recipe has a usual one."""
    masks: Mapping[str, str] = field(default_factory=dict)
    """One mask file, folder or glob for each class, by the name of the class; in place of labels."""
    voxel_size_nm: VoxelSize | None = None
    """Voxel size (z, y, x) of the image, where the file says none or a wrong one."""
    working_voxel_size_nm: VoxelSize | None = None
    """Voxel size (z, y, x) of the working grid, to which volumes are resampled; None works at their own."""
    task: str | None = None
    """Which labelling of a public data set, where it offers several; None takes its first."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            RecipeError: `minutes` is not above 0, or a voxel size is not.
        """
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise RecipeError(f"--minutes {self.minutes:g}: give a number of minutes above 0")
        for name in ("voxel_size_nm", "working_voxel_size_nm"):
            size = getattr(self, name)
            if size is not None and not all(math.isfinite(edge) and edge > 0 for edge in size):
                option = f"--{name.replace('_', '-')}"
                raise RecipeError(f"{option} {' '.join(f'{edge:g}' for edge in size)}: give lengths (z y x) above 0 nm")
