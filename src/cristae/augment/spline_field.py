"""Smooth displacements: noise on a coarse grid of nodes, interpolated by cubic splines wherever they are asked for.

The node grid spans a plane: a volume's slice or a patch. Nodes lie evenly from the plane's first voxel to its last, as
`scipy.ndimage.zoom` lays them, so a field that is evaluated patch by patch is the one of the whole plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, spline_filter
from torch import Tensor

from cristae.augment.bspline import bspline_weights
from cristae.augment.mapping import Places, Step

_BORDER = 3
"""Mirrored nodes around the grid, for splines that reach beyond it."""


@dataclass(frozen=True, eq=False)
class PlaneField:
    """Displacements of one plane. Beyond the plane they are those of its border."""

    coefficients: np.ndarray
    """float32 (2, N + border, M + border): B-spline coefficients of the displacements along y and x, in voxels."""
    size: tuple[int, int]
    """Voxels (Y, X) of the plane."""

    @classmethod
    def of_nodes(cls, nodes: np.ndarray, size: tuple[int, int]) -> PlaneField:
        """The field that has these displacements (2, N, M) at its nodes."""
        splines = np.stack([spline_filter(component, order=3, mode="mirror") for component in nodes])
        around = ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER))
        return cls(np.pad(splines, around, mode="reflect").astype(np.float32), size)

    def _last(self, axis: int) -> int:
        """The number of the last node along an axis."""
        return int(self.coefficients.shape[1 + axis]) - 2 * _BORDER - 1

    def _step(self, axis: int) -> float:
        """Nodes from one voxel to the next."""
        return self._last(axis) / max(1, self.size[axis] - 1)

    def basis(self, positions: np.ndarray, axis: int) -> np.ndarray:
        """float64 (P, N + border): each coefficient's weight at each of P positions from the plane's first voxel."""
        at = (positions * self._step(axis)).clip(0, self._last(axis))
        first = np.floor(at)
        weights = np.zeros((len(positions), self.coefficients.shape[1 + axis]))
        for tap, weight in enumerate(bspline_weights(at - first)):
            weights[np.arange(len(positions)), first.astype(int) + _BORDER - 1 + tap] = weight
        return weights

    def at_each(self, y: Tensor, x: Tensor) -> Tensor:
        """Displacements (2, *P) at positions (*P), counted from the plane's first voxel.

        A cubic B-spline is a mean of two linear interpolations along each axis (Sigg and Hadwiger, GPU Gems 2, 2005,
        chapter 20), so four bilinear ones give it.
        """
        coefficients = torch.from_numpy(self.coefficients).to(y.device)
        sides = coefficients.shape[1:]
        rows, columns = (self._two_taps(values, axis) for axis, values in enumerate((y, x)))
        found: Tensor | float = 0.0
        for row, weight_y in rows:
            for column, weight_x in columns:
                grid = torch.stack([column * (2 / (sides[1] - 1)) - 1, row * (2 / (sides[0] - 1)) - 1], dim=-1)
                taken = F.grid_sample(coefficients[None], grid.view(1, 1, -1, 2), align_corners=True)
                found = found + taken.view(2, *y.shape) * (weight_y * weight_x)
        assert isinstance(found, Tensor)
        return found

    def _two_taps(self, positions: Tensor, axis: int) -> list[tuple[Tensor, Tensor]]:
        """Twice a place between two coefficients, and its weight."""
        at = (positions * self._step(axis)).clamp(0, self._last(axis))
        first = at.floor()
        w0, w1, w2, w3 = bspline_weights(at - first)
        low, high = w0 + w1, w2 + w3
        return [(first + (_BORDER - 1) + w1 / low, low), (first + (_BORDER + 1) + w3 / high, high)]


@dataclass(frozen=True, eq=False)
class Displacement(Step):
    """Add a smooth displacement in the plane, the same for all slices of a patch."""

    fields: Sequence[PlaneField | None]
    """For each of B samples; None leaves it as it is."""
    origins: np.ndarray
    """float64 (B, 2): where each patch's centre lies in its plane, y and x."""
    most: float
    """Voxels that no displacement exceeds along an axis."""

    @property
    def exact(self) -> np.ndarray:
        return np.array([field is None for field in self.fields])

    def of(self, samples: np.ndarray) -> Displacement:
        return Displacement([self.fields[i] for i in samples], self.origins[samples], self.most)

    def before(self, places: Places) -> Places:
        moved = self._of_rows(places) if places.plane is None and places.aligned else self._of_each(places)
        y, x = places.dense()
        bound = (places.bound[0] + self.most, places.bound[1] + self.most)
        return replace(places, plane=(y + moved[0], x + moved[1]), plane_bound=bound)

    def _of_rows(self, places: Places) -> Tensor:
        """Displacements (2, n, L, Y, X) of places in rows and columns: products of small matrices."""
        rows, columns = places.rows_and_columns()
        found = []
        for field, origin, y, x in zip(self.fields, self.origins, rows, columns, strict=True):
            if field is None:
                found.append(torch.zeros(2, len(y), y.shape[-1], x.shape[-1], device=places.device))
                continue
            along_y, along_x = (
                places.on_device(np.stack([field.basis(line + origin[axis], axis) for line in lines]))
                for axis, lines in enumerate((y, x))
            )
            coefficients = places.on_device(field.coefficients).unsqueeze(1)
            found.append(along_y @ coefficients @ along_x.mT)
        return torch.stack(found, dim=1)

    def _of_each(self, places: Places) -> Tensor:
        """Displacements (2, n, L, Y, X) of places anywhere."""
        found = []
        for field, origin, y, x in zip(self.fields, self.origins, *places.dense(), strict=True):
            if field is None:
                found.append(torch.zeros(2, *y.shape, device=places.device))
            else:
                found.append(field.at_each(y + float(origin[0]), x + float(origin[1])))
        return torch.stack(found, dim=1)


def smooth_nodes(noise: np.ndarray, smoothing: float) -> np.ndarray:
    """Noise (N, M) smoothed by a Gaussian of `smoothing` cells, reflected at the border and cut off at 4 deviations."""
    smoothed: np.ndarray = gaussian_filter(noise, smoothing, mode="reflect", truncate=4.0)
    return smoothed


@lru_cache
def overshoot(smoothing: float) -> float:
    """How far splines between nodes of smoothed noise may go, for noise from -1 to 1.

    The largest sum of absolute weights that any position has along one axis, squared for two; it depends on the number
    of nodes a little, and is greatest among few.
    """
    return max(_largest_sum(n_nodes, smoothing) for n_nodes in range(2, 14)) ** 2


def _largest_sum(n_nodes: int, smoothing: float) -> float:
    smoothed = np.apply_along_axis(gaussian_filter, 0, np.eye(n_nodes), smoothing, mode="reflect", truncate=4.0)
    size = 32 * (n_nodes - 1) + 1
    splines = np.apply_along_axis(spline_filter, 0, smoothed, order=3, mode="mirror")
    field = PlaneField(np.zeros((2, n_nodes + 2 * _BORDER, n_nodes + 2 * _BORDER), np.float32), (size, size))
    weights = field.basis(np.arange(size, dtype=float), 0) @ np.pad(splines, ((_BORDER, _BORDER), (0, 0)), "reflect")
    return float(np.abs(weights).sum(axis=1).max())
