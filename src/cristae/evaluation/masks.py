"""Masks as users give them: voxels count where the mask is not 0, or near there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image, VoxelSize, voxel_size_text
from cristae.errors import ScoreError, VoxelSizeError
from cristae.metrics.margin import margin_vox, squared_distances_within


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


def near(mask: Image, distance_nm: float, voxel_size_nm: VoxelSize) -> Image:
    """The mask and all voxels at most `distance_nm` away from it, centre to centre.

    Any box gives what the whole would give: what is read is larger by the distance, as far as the image goes.

    Args:
        mask: Inside where it is not 0; grey.
        distance_nm: 0 gives the mask itself.
        voxel_size_nm: (z, y, x); distances are exact for voxels of any shape.

    Returns:
        A lazily read uint8 image, 1 near the mask and 0 elsewhere. Nowhere is near an empty mask.

    Raises:
        ScoreError: The distance is negative or not finite, or the mask has colours.
        VoxelSizeError: An edge of a voxel is not positive.
    """
    if not (math.isfinite(distance_nm) and distance_nm >= 0):
        raise ScoreError(f"the distance around {mask.path} must be 0 nm or more, got {distance_nm:g}")
    if not all(math.isfinite(edge) and edge > 0 for edge in voxel_size_nm):
        raise VoxelSizeError(f"voxels of {mask.path} have positive edges, got {voxel_size_text(voxel_size_nm)}")
    if mask.colors > 1:
        raise ScoreError(f"{mask.path}: has {mask.colors} colour channels; save the mask as one channel of 0 and 1")
    farthest = math.dist((0, 0, 0), [count * edge for count, edge in zip(mask.shape, voxel_size_nm, strict=True)])
    distance_nm = min(distance_nm, farthest)  # no voxel is farther away, and squares stay finite
    whole, reach = Box.of_shape(mask.shape), margin_vox(distance_nm, voxel_size_nm)

    def read(box: Box) -> np.ndarray:
        around = box.grow(reach).intersect(whole)
        inside = mask.reader(around) != 0
        distances = squared_distances_within(inside, box.relative_to(around.start), distance_nm, voxel_size_nm)
        found: np.ndarray = np.isfinite(distances).astype(np.uint8)
        return found

    return replace(mask, format="region", dtype=np.dtype(np.uint8), reader=read, palette=None)
