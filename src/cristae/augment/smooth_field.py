"""Random fields that vary smoothly over a plane: what shading, charging and milling do to grey values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cristae.augment.bspline import bspline_weights


def grid_of_nodes(size: Sequence[int], scale: Sequence[float]) -> tuple[int, ...]:
    """Nodes along axes of `size` voxels, `scale` voxels apart, so that each voxel has two on either side."""
    return tuple(math.ceil(side / one) + 3 for side, one in zip(size, scale, strict=True))


def drawn_nodes(generator: np.random.Generator, size: Sequence[int], scale: Sequence[float]) -> np.ndarray:
    """Numbers of a field over a plane of `size` (Y, X): its nodes, each drawn evenly from -1 to 1, flattened."""
    return generator.uniform(-1, 1, math.prod(grid_of_nodes(size, scale)))


def smooth_field(nodes: Tensor, size: Sequence[int], scale: Sequence[float]) -> Tensor:
    """A cubic B-spline through nodes in a grid, which never leaves the range of the nodes around a voxel.

    Args:
        nodes: (B, n) as `drawn_nodes` gives them.
        size: (Y, X) in voxels.
        scale: Distance of the nodes along both axes, in voxels.

    Returns:
        (B, Y, X), between the least and the greatest of the nodes.
    """
    field = nodes.reshape(-1, *grid_of_nodes(size, scale))
    for side, one in zip(size, scale, strict=True):
        field = _along_rows(field, side, one).transpose(1, 2).contiguous()
    return field


def _along_rows(field: Tensor, side: int, scale: float) -> Tensor:
    """Rows of nodes (B, n, M) to a row for each voxel, (B, side, M): whole rows are picked, which is quick."""
    place = torch.arange(side, device=field.device) / scale
    first = place.floor().long()
    t = (place - first).to(field.dtype).view(-1, 1)
    weights = bspline_weights(t)
    result: Tensor = field.index_select(1, first) * weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        result.addcmul_(field.index_select(1, first + step), weight)
    return result
