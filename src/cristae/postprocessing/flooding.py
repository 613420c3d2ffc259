"""The watershed from given seeds, within one object."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy.ndimage import generate_binary_structure

from cristae.postprocessing.pieces import in_order

_RANK = {6: 1, 18: 2, 26: 3}


def flooded(landscape: np.ndarray, seeds: np.ndarray, mask: np.ndarray, connectivity: Literal[6, 18, 26]) -> np.ndarray:
    """A watershed from seeds, upwards in a landscape.

    Meyer (1994), https://doi.org/10.1016/0165-1684(94)90060-4: of voxels at the same height, those are taken first that
    were reached first.

    Args:
        landscape: (Z, Y, X).
        seeds: int32 ids, 0 where there is none.
        mask: bool, what is flooded.
        connectivity: 6, 18 or 26 neighbours.

    Returns:
        int32 pieces, numbered from 1 by their first voxel.
    """
    from skimage import segmentation

    flood: Any = segmentation.watershed
    return in_order(flood(landscape, seeds, connectivity=generate_binary_structure(3, _RANK[connectivity]), mask=mask))
