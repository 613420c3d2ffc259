"""Masks as users give them: voxels count where the mask is not 0."""

from __future__ import annotations

import numpy as np

from cristae.data.image import Image
from cristae.errors import ScoreError


def mask_of(image: Image) -> Image:
    """An image as a mask, of the same shape and as lazily read.

    Floats are taken when they are whole numbers, as some formats know nothing else; NaN and fractions, such as
    probabilities or an interpolated mask, could mean inside or outside and are refused.

    Raises:
        ScoreError: The image has colours; when it is read, a value is no whole number.
    """
    if image.colors > 1:
        raise ScoreError(f"the mask {image.path} has {image.colors} colour channels; save it as one of 0 and 1")
    if image.dtype.kind != "f":
        return image

    def whole(voxels: np.ndarray) -> np.ndarray:
        if not (voxels == np.floor(voxels)).all():  # NaN equals nothing
            raise ScoreError(f"the mask {image.path} holds NaN or fractions; save it as whole numbers, 0 outside")
        return voxels

    return image.map(whole, image.dtype)
