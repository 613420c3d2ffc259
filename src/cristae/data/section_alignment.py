"""From a stack whose sections do not lie on each other to the shifts that put them there."""

from __future__ import annotations

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.data.moved_sections import SectionTransforms
from cristae.data.section_measures import measure_sections
from cristae.data.section_positions import positions_of
from cristae.errors import VolumeError
from cristae.progress import Progress

_SIDE = 1024
"""Pixels of the sketches that are compared."""
_LEAST = 3


def find_transforms(
    image: Image, *, detrend: bool = True, outside: float = 0, progress: Progress = Progress()
) -> SectionTransforms:
    """Find by how much each section of a stack is to be moved.

    Args:
        image: Grey values.
        detrend: Whether to leave slow drift, which may be structure that runs obliquely, and only move sections and
            parts of the stack that jump.
        outside: The value of voxels that no section covers.
        progress: Where to report.

    Raises:
        VolumeError: The image has colours or fewer than three sections, or no two sections are alike enough.
    """
    if image.colors > 1 or image.palette is not None:
        raise VolumeError(f"{image.path}: has colours; sections are aligned by their grey values")
    if image.shape[0] < _LEAST:
        raise VolumeError(f"{image.path}: has {image.shape[0]} sections; at least {_LEAST} can be aligned")
    slices, whole = range(image.shape[0]), Box.of_shape(image.shape)
    found = measure_sections(image, slices, whole, side=_SIDE, progress=progress)
    positions = positions_of(tuple(found.shifts.values()), len(slices))
    uncertain = tuple(np.flatnonzero(~positions.certain).tolist())
    if len(uncertain) == len(slices) - 1:
        raise VolumeError(
            f"{image.path}: no section is clearly displaced against its neighbours or clearly not: they are too small, "
            "or too unlike each other, to be aligned by shifts"
        )
    moved = positions.jitter() if detrend else positions.yx
    return SectionTransforms.of(image, moved, outside=outside, detrended=detrend, uncertain=uncertain)
