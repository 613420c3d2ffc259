"""A patch: the piece of a volume that a network sees at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box


@dataclass(frozen=True, eq=False)
class Patch:
    """One training example. S is (Y, X) for 2D networks and (Z, Y, X) otherwise."""

    image: np.ndarray
    """(C, *S), raw grey values in the volume's own type."""
    target: np.ndarray
    """uint8 ids (*S) of exclusive classes, or uint8 masks (K, *S) of overlapping ones."""
    valid: np.ndarray
    """bool (*S): whether the voxel counts at all. Padding does not."""
    weight: np.ndarray | None
    """float32 (*S), or (K, *S) when the weighting differs by class; None means 1."""
    box: Box
    """Where the patch lies in its volume, in voxels of the working grid."""
    volume: str
