"""Cutting one object at its necks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from cristae.postprocessing.pieces import in_order

_AROUND = np.ones((3, 3, 3), bool)


def cut_mask(
    mask: np.ndarray, voxel_size_nm: Sequence[float], depth_nm: float, *, open_sides: np.ndarray | None = None
) -> np.ndarray:
    """Cut one object: a watershed of the distance to its surface, from the middles of its thick parts.

    A middle counts when the way to any thicker one leads through a neck that is thinner by more than `depth_nm` (the
    h-maxima of the distance; Soille (2003), Morphological Image Analysis, section 6.3).

    Args:
        mask: bool (Z, Y, X).
        voxel_size_nm: (z, y, x).
        depth_nm: The smallest difference.
        open_sides: bool (3, 2): sides of the box where the volume ends, beyond which the object may continue.

    Returns:
        int32 (Z, Y, X) pieces, numbered from 1 by their first voxel, 0 outside.
    """
    from skimage import morphology, segmentation

    fill: Any = morphology.reconstruction
    flood: Any = segmentation.watershed
    sides = np.zeros((3, 2), bool) if open_sides is None else open_sides
    pad = [(int(not low), int(not high)) for low, high in sides]
    inner = tuple(slice(low, size + low) for (low, _), size in zip(pad, mask.shape, strict=True))
    padded = np.pad(mask, pad)
    if padded.all():
        return mask.astype(np.int32)
    distance = distance_transform_edt(padded, sampling=voxel_size_nm)[inner]
    if distance[mask].max() <= depth_nm:
        return mask.astype(np.int32)
    # The reconstruction only copies values, so that its flat tops are exactly flat.
    lowered = np.where(mask, np.maximum(distance - depth_nm, 0), 0)
    filled = fill(lowered, distance, footprint=_AROUND)
    tops, count = label(_flat_tops(filled, mask), _AROUND)
    if count < 2:
        return mask.astype(np.int32)
    flooded = flood(-distance, tops, connectivity=_AROUND, mask=mask)
    return in_order(flooded)


def _flat_tops(filled: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Plateaus without a higher neighbour."""
    from skimage import morphology

    find: Any = morphology.local_maxima
    tops: np.ndarray = find(np.pad(filled, 1), footprint=_AROUND)[1:-1, 1:-1, 1:-1] & mask
    return tops
