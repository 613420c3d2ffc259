"""A patch: the piece of a volume that a network sees at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box, Triple


@dataclass(frozen=True, eq=False)
class Patch:
    """One training example. S and T are (Y, X) for 2D networks and (Z, Y, X) otherwise; both have the same centre, and
    S is larger where the network sees more than its output patch. Both include the margin that augmentation needs; T
    includes the frame of voxels that decide the classes of the output patch."""

    image: np.ndarray
    """(C, *S), raw grey values in the volume's own type; the channels are neighbouring slices."""
    target: np.ndarray
    """uint8 ids (*T) of exclusive classes, or uint8 masks (K, *T) of overlapping ones; int32 object ids (*T) where the
    classes are affinities."""
    valid: np.ndarray
    """bool (*T): whether the voxel counts at all. Padding does not."""
    weight: np.ndarray | None
    """float32 (*T), or (K, *T) when the weighting differs by class; None means 1."""
    box: Box
    """Where the target lies in its volume, in voxels of the working grid."""
    volume: str
    volume_shape: Triple
    """Voxels (z, y, x) of the whole volume on the working grid."""
    filtered: np.ndarray | None = None
    """(A, Z, Y, X): filtered copies of the image in its type, where there are some; Z are its slices, also where these
    are its channels."""
