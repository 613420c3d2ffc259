"""What `cristae estimate` is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from cristae.data.image import VoxelSize, check_voxel_size
from cristae.errors import ScoreError
from cristae.evaluation.slice_numbers import parse_slices
from cristae.metrics.binary import check_threshold
from cristae.metrics.uncertainty.designs import DESIGNS, Design

Whole = Literal["volume", "cell", "foreground"]
"""What fractions are of: all voxels, those of a mask of the cell, or those that are not background."""


@dataclass(frozen=True)
class EstimateOptions:
    """What is estimated, and from which slices. The fields are options of `cristae estimate`.

    Raises:
        ScoreError: An option has a value that it cannot have.
        VoxelSizeError: The voxel size cannot be one.
    """

    of: Whole | None = None
    """What fractions are of; None takes the cell where there is a mask of it, and else the volume."""
    design: Design | None = None
    """How the labelled slices were chosen; None recognises equal steps as systematic and takes others as random."""
    slices: str | None = None
    """Labelled slices, such as `3,17,40:60:10`, where the truth does not say itself which are."""
    trained: str | None = None
    """Slices that the network was trained on, or `none`, where neither the runs nor the recipe say it."""
    binarize: float | None = None
    """The threshold of a probability map of one class."""
    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Classes that are merged before anything is counted: old names by new name."""
    half_width_percent: float | None = None
    """Say how many more slices are needed for fractions of +- this, in percentage points."""
    box: tuple[str, ...] = ()
    """Boxes that are labelled in 3D, `Z0:Z1,Y0:Y1,X0:X1` in voxels, of those of one shape that fill the volume: numbers
    and sizes of objects are estimated instead of fractions."""
    guard_nm: float = 0.0
    """How far around boxes objects are labelled, so that they are seen as a whole."""
    min_um3: float = 0.0
    """Smaller objects are not counted."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x), where no file says it."""

    def __post_init__(self) -> None:
        if self.of not in (None, *get_args(Whole)):
            raise ScoreError(f"--of {self.of}: fractions are of {', '.join(get_args(Whole))}")
        if self.design not in (None, *DESIGNS):
            raise ScoreError(f"--design {self.design}: there are {', '.join(DESIGNS)}")
        if self.half_width_percent is not None and not 0 < self.half_width_percent < 100:
            raise ScoreError(f"--half-width-percent lies between 0 and 100, got {self.half_width_percent:g}")
        self._check_boxes()
        if self.binarize is not None:
            check_threshold(self.binarize)
        if self.voxel_size_nm is not None:
            check_voxel_size(self.voxel_size_nm)
        for text in (self.slices, self.trained):
            if text is not None and text != "none":
                parse_slices(text)

    def _check_boxes(self) -> None:
        if not (0 <= self.guard_nm < math.inf and 0 <= self.min_um3 < math.inf):
            raise ScoreError("--guard-nm and --min-um3 are 0 or more")
        unused = {
            "--guard-nm or --min-um3": not self.box and (self.guard_nm or self.min_um3),
            "--slices": self.box and self.slices is not None,
            f"--design {self.design}": self.box and self.design not in (None, "random"),
            "--of": self.box and self.of is not None,
            "--half-width-percent": self.box and self.half_width_percent is not None,
        }
        for name, wrong in unused.items():
            if wrong:
                raise ScoreError(f"{name} has no effect {'with' if self.box else 'without'} --box; leave it out")

    @property
    def labelled(self) -> tuple[int, ...] | None:
        """The slices that were said to be labelled."""
        return None if self.slices is None else parse_slices(self.slices)

    @property
    def trained_on(self) -> frozenset[int] | None:
        """The slices that were said to be trained on; None where it was not said."""
        if self.trained is None:
            return None
        return frozenset(() if self.trained == "none" else parse_slices(self.trained))
