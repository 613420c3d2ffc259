"""The features of each voxel: filters at several scales, in blocks exactly equal to the whole image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cristae.classical.around import AroundFilter, around_filters
from cristae.classical.config import FeaturesConfig
from cristae.classical.filters import eigenvalues, gaussian, gaussian_radius, gradient, hessian, outer_product
from cristae.classical.shape_measures import (
    DERIVATIVE_MARGIN,
    HESSIAN_MEASURES,
    ORDERS,
    derivatives,
    hessian_measures,
)
from cristae.data.box import Box, Triple
from cristae.data.image import VoxelSize

FILTERS = ("gaussian", "laplacian", "gradient", "difference", "structure", "hessian", "hessian_measures", "derivatives")
"""The filters in the order of their channels, after the intensity."""
_NARROW = 0.66
"""Of the scale of a difference of Gaussians: the narrower one."""
_OUTER = 0.5
"""Of the scale of a structure tensor: the smoothing of its products."""

Smoothed = Mapping[float, np.ndarray]
"""By scale: the smoothed image, larger than the voxels wanted by `FeaturePlan.margin(scale)` on each side."""


@dataclass(frozen=True)
class FeaturePlan:
    """The features of a config on a grid: their order and their reach."""

    config: FeaturesConfig
    ndim: int
    """2 filters each slice by itself, 3 the volume."""
    step: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Distance of neighbouring voxels (z, y, x), 1 along the finest axis; scales are in this unit."""

    @classmethod
    def on_grid(cls, config: FeaturesConfig, ndim: int, voxel_size_nm: VoxelSize | None) -> FeaturePlan:
        """The plan for a voxel size: that of a volume, or in 2D of a slice, where y and x take part."""
        if voxel_size_nm is None:
            return cls(config, ndim)
        finest = min(voxel_size_nm[3 - ndim :])
        z, y, x = (edge / finest for edge in voxel_size_nm)
        return cls(config, ndim, (z if ndim == 3 else 1.0, y, x))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each channel is, such as 'hessian 1.6 [0]' for the larger eigenvalue."""
        names = ["intensity"] if self.config.intensity else []
        for filter_name, scale in self._filters():
            name = f"{filter_name} {scale:g}"
            names += [f"{name} {what}" for what in self._parts(filter_name)] or [name]
        names += [f"difference {wide:g} {narrow:g}" for wide, narrow in self.config.differences]
        return (*names, *(name for one in self._around for name in one.names))

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """The scales at which the image is smoothed, ascending."""
        narrow = {_NARROW * scale for scale in self.config.difference}
        paired = {scale for pair in self.config.differences for scale in pair}
        return tuple(sorted(narrow | paired | {scale for _, scale in self._filters()}))

    @cached_property
    def reach(self) -> Triple:
        """Voxels (z, y, x) on each side that can change a feature."""
        sums: list[Any] = [np.add(self._radius(scale), self.margin(scale)) for scale in self.scales]
        z, y, x = np.max([*sums, *(one.reach for one in self._around), (0, 0, 0)], axis=0).tolist()
        return z, y, x

    def margin(self, scale: float) -> Triple:
        """Voxels (z, y, x) on each side that the filters need of the smoothed image of a scale."""
        margins = [self._margin(name, scale) for name, other in self._filters() if other == scale]
        z, y, x = np.max([*margins, (0, 0, 0)], axis=0).tolist()
        return z, y, x

    def smooth(self, grey: np.ndarray, scale: float) -> np.ndarray:
        """The smoothed image of one of `scales`, larger than the voxels wanted by `margin(scale)` on each side.

        Args:
            grey: float32 (Z, Y, X), larger than the voxels wanted by `reach` on each side.
            scale: In voxels of the finest axis.
        """
        spare = np.subtract(self.reach, np.add(self._radius(scale), self.margin(scale)))
        inner = tuple(slice(cut, length - cut) for cut, length in zip(spare, grey.shape, strict=True))
        return gaussian(grey[inner], self._sigma(scale))

    def stack(self, grey: np.ndarray, smoothed: Smoothed, box: Box) -> np.ndarray:
        """Features of a box.

        Args:
            grey: float32 (Z, Y, X), larger than the voxels wanted by `reach` on each side.
            smoothed: For each of `scales` what `smooth` gave for this `grey`.
            box: Counted from the first voxel inside the rim of `grey`.

        Returns:
            float32 (F, Z, Y, X) in the order of `names`.
        """
        features = np.empty((len(self.names), *box.shape), np.float32)
        place = 0
        if self.config.intensity:
            features[0] = grey[box.shift(self.reach).slices]
            place = 1
        for name, scale in self._filters():
            channels = self._channels(name, smoothed, scale, box)
            features[place : place + len(channels)] = channels
            place += len(channels)
        for wide, narrow in self.config.differences:
            first, second = (self._view(smoothed, scale, box, (0, 0, 0)) for scale in (wide, narrow))
            np.subtract(first, second, out=features[place])
            place += 1
        for channel in self._of_greys(grey, box):
            features[place] = channel
            place += 1
        return features

    @cached_property
    def _around(self) -> list[AroundFilter]:
        return around_filters(self.config, self.step, self.ndim)

    def _of_greys(self, grey: np.ndarray, box: Box) -> Iterator[np.ndarray]:
        """What filters give that look at the grey values themselves."""
        inside = box.shift(self.reach)
        low, high = self.config.grey_limits
        for one in self._around:
            seen = grey[inside.grow(one.reach).slices]
            if one.in_range:
                seen = ((seen.astype(np.float64) - low) / (high - low)).clip(0, 1)
            yield from one.compute(seen)

    def _channels(self, name: str, smoothed: Smoothed, scale: float, box: Box) -> list[np.ndarray]:
        """What one filter gives at one scale."""
        around = self._view(smoothed, scale, box, self._margin(name, scale))
        if name == "gaussian":
            return [around]
        if name == "difference":
            return [around - self._view(smoothed, _NARROW * scale, box, (0, 0, 0))]
        if name == "gradient":
            return [np.sqrt(_sum([slope * slope for slope in gradient(around, self.step, ndim=self.ndim)]))]
        if name == "structure":
            products = outer_product(gradient(around, self.step, ndim=self.ndim))
            outer = self._sigma(_OUTER * scale)
            return list(eigenvalues([gaussian(product, outer) for product in products]))
        if name == "hessian_measures":
            return hessian_measures(around, self.step)
        if name == "derivatives":
            return derivatives(around, self.step)
        triangle = hessian(around, self.step, ndim=self.ndim)
        if name == "hessian":
            return list(eigenvalues(triangle))
        diagonal = (0, 2) if self.ndim == 2 else (0, 3, 5)
        return [_sum([triangle[place] for place in diagonal])]

    def _view(self, smoothed: Smoothed, scale: float, box: Box, margin: Triple) -> np.ndarray:
        return smoothed[scale][box.grow(margin).shift(self.margin(scale)).slices]

    def _filters(self) -> list[tuple[str, float]]:
        return [(name, scale) for name in FILTERS for scale in getattr(self.config, name)]

    def _parts(self, name: str) -> list[str]:
        """What the channels of a filter are, where there are several."""
        if name in ("structure", "hessian"):
            return [f"[{place}]" for place in range(self.ndim)]
        if name == "hessian_measures":
            return list(HESSIAN_MEASURES)
        return [f"{axis}{order}" for axis in "yx" for order in ORDERS] if name == "derivatives" else []

    def _margin(self, name: str, scale: float) -> Triple:
        """Voxels that a filter needs around the smoothed image: neighbours, and those of its own smoothing."""
        if name in ("gaussian", "difference"):
            return (0, 0, 0)
        if name == "hessian_measures":
            return (0, 1, 1)
        if name == "derivatives":
            return (0, DERIVATIVE_MARGIN, DERIVATIVE_MARGIN)
        outer = self._radius(_OUTER * scale) if name == "structure" else (0, 0, 0)
        return (outer[0] + (self.ndim == 3), outer[1] + 1, outer[2] + 1)

    def _sigma(self, scale: float) -> tuple[float, float, float]:
        """Standard deviations (z, y, x) in voxels."""
        z, y, x = (scale / step for step in self.step)
        return (z if self.ndim == 3 else 0.0), y, x

    def _radius(self, scale: float) -> Triple:
        z, y, x = (gaussian_radius(sigma) for sigma in self._sigma(scale))
        return z, y, x


def _sum(arrays: list[np.ndarray]) -> np.ndarray:
    total: np.ndarray = arrays[0] if len(arrays) == 1 else arrays[0] + _sum(arrays[1:])
    return total
