"""Filtered copies of each patch, or of whole slices, as further channels of the network's input, behind the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt

from cristae.config import Config
from cristae.preprocess.arrays import as_numpy, like


class GrainFilter(Config):
    """The image without bright and dark shapes that are smaller than an area."""

    name: Literal["grain_filter"] = "grain_filter"
    area_px: PositiveInt
    """Shapes of fewer pixels go, their holes counted. Meyer et al. (2021) show 3200 and 650 of 256 x 256 pixels: 4.9 %
    and 1 % of the patch."""
    per: Literal["patch", "slice"] = "patch"
    """What is filtered. `patch`: each patch by itself after its augmentation, as published; shapes are cut by its
    border, and the network is applied in windows of the size of the patches. `slice`: whole slices, once, before
    patches are cut out and augmented; shapes have their true size, and a local network stays exact."""


@dataclass(frozen=True)
class FilteredChannels:
    """A `PatchStep` that adds the patch filtered with each of several areas; slices of a patch are filtered one by one.

    It computes on the CPU, in as many threads as there are cores, wherever patches are. One tree of shapes serves all
    areas. The filter commutes with mirror images and quarter turns of a patch, but with no other augmentation.
    """

    areas_px: tuple[int, ...]
    """In the order of their channels."""

    @property
    def reason(self) -> str:
        """Why the network cannot be applied exactly."""
        areas = " and ".join(map(str, self.areas_px))
        return f"input_channels (grain_filter of {areas} pixels) are made of each patch by itself"

    def channels(self, given: int) -> int:
        """The given ones, and as many for each area."""
        return given * (1 + len(self.areas_px))

    def __call__(self, patches: Any) -> Any:
        """Patches float32 (B, C, *S) to (B, C (1 + areas), *S): all channels, then all with the first area, and so on.

        Raises:
            VolumeError: An area is larger than the patch, or a patch holds NaN or infinite values.
        """
        from cristae.preprocess.grain import grain_filter_all  # takes the compiler, which recipes do without

        grey = as_numpy(patches)
        planes = np.ascontiguousarray(grey).reshape(-1, *grey.shape[-2:])
        filtered = np.moveaxis(grain_filter_all(planes, self.areas_px), 1, 0)
        return like(np.concatenate([grey, *filtered.reshape(-1, *grey.shape)], axis=1), patches)


def filtered_channels(configs: tuple[GrainFilter, ...]) -> FilteredChannels | None:
    """The step that filters patches; None where none are filtered."""
    areas = tuple(config.area_px for config in configs if config.per == "patch")
    return FilteredChannels(areas) if areas else None


def slice_areas(configs: tuple[GrainFilter, ...]) -> tuple[int, ...]:
    """The areas that whole slices are filtered with, in the order of their channels."""
    return tuple(config.area_px for config in configs if config.per == "slice")
