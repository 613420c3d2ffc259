"""Classes opened and closed with a ball, with the halo that makes blocks exact."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from pydantic import PositiveFloat, model_validator
from scipy.ndimage import distance_transform_edt

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import VoxelSize
from cristae.postprocessing.form import Change, LabelMaps, MapWriter, Outcome, StepConfig, require_one
from cristae.postprocessing.workplace import Advance, Workplace


class BallStep(StepConfig):
    """A step that moves a ball over each chosen class. Outside the volume the class goes on as it is at the border."""

    radius_vox: PositiveFloat | None = None
    """Radius of the ball in voxels along every axis."""
    radius_nm: PositiveFloat | None = None
    """Instead, the radius in nm: where slices are farther apart than this, each is treated by itself."""

    @model_validator(mode="after")
    def _check_radius(self) -> BallStep:
        require_one(self, "radius_vox", "radius_nm")
        return self

    def reach(self, voxel_size_nm: VoxelSize | None) -> Triple:
        """Voxels (z, y, x) on each side of a block that can change it."""
        spacing, radius = self._ball(voxel_size_nm)
        z, y, x = (2 * int(radius / edge + 1e-9) for edge in spacing)
        return z, y, x

    def _ball(self, voxel_size_nm: VoxelSize | None) -> tuple[VoxelSize, float]:
        """Distances of neighbouring voxels and the radius, in one unit."""
        if self.radius_vox is not None:
            return (1.0, 1.0, 1.0), self.radius_vox
        assert voxel_size_nm is not None, "checked before any work"
        assert self.radius_nm is not None, "checked when the step was made"
        return voxel_size_nm, self.radius_nm

    @abstractmethod
    def changed(self, mask: np.ndarray, spacing: Sequence[float], radius: float) -> np.ndarray:
        """The class after the step; voxels nearer to the edge of `mask` than two radii may be wrong."""

    @abstractmethod
    def merge(self, ids: np.ndarray, changed: np.ndarray, value: int) -> None:
        """Take into `ids` what became of the class with this value."""

    def run(self, maps: LabelMaps, work: Workplace, advance: Advance) -> Outcome:
        """See the class."""
        size = self.require_voxel_size(maps) if self.radius_nm is not None else None
        (spacing, radius), reach = self._ball(size), self.reach(size)
        changes: list[Change] = []
        for place, values in maps.groups(self.chosen(maps.classes)):
            if not values:
                continue
            image, out = maps.images[place], MapWriter(work.new(f"{self.label}-{place}", np.dtype(np.uint8)), maps.mask)
            for block in work.blocks:
                wide = block.grow(reach).intersect(Box.of_shape(work.shape))
                around, here = image.read(wide), block.relative_to(wide.start).slices
                before = around[here]
                after = before.copy()
                for value in values.values():
                    mask = around == value
                    if mask.any():
                        self.merge(after, self.changed(mask, spacing, radius)[here], value)
                out.put(block, before, after)
                advance()
            changes += out.changes(self, values, {})
            maps = maps.with_image(place, out.store.image)
        return Outcome(maps, tuple(changes))


class Open(BallStep):
    """Remove what is thinner than a ball: each chosen class keeps the voxels that balls inside it reach.

    What is lost becomes background.
    """

    name: Literal["open"] = "open"

    def problem(self, classes: Classes) -> str | None:
        """As for every step; and what is lost becomes background, which has to be there."""
        if classes.empty_id is None:
            return "name: open leaves voxels without a class, but the classes have no background; leave it out"
        return super().problem(classes)

    def changed(self, mask: np.ndarray, spacing: Sequence[float], radius: float) -> np.ndarray:
        """Eroded, then dilated."""
        return dilated(eroded(mask, spacing, radius), spacing, radius)

    def merge(self, ids: np.ndarray, changed: np.ndarray, value: int) -> None:
        """What is lost becomes background."""
        ids[(ids == value) & ~changed] = 0


class Close(BallStep):
    """Close what no ball fits into: background that no ball outside a chosen class reaches becomes this class.

    Voxels of other classes stay; of several chosen classes that want a voxel, the first takes it.
    """

    name: Literal["close"] = "close"

    def problem(self, classes: Classes) -> str | None:
        """As for every step; and there must be background to take."""
        if classes.empty_id is None:
            return "name: close takes background, but the classes have none; leave it out"
        return super().problem(classes)

    def changed(self, mask: np.ndarray, spacing: Sequence[float], radius: float) -> np.ndarray:
        """Dilated, then eroded."""
        return eroded(dilated(mask, spacing, radius), spacing, radius)

    def merge(self, ids: np.ndarray, changed: np.ndarray, value: int) -> None:
        """What is gained was background."""
        ids[(ids == 0) & changed] = value


def dilated(mask: np.ndarray, spacing: Sequence[float], radius: float) -> np.ndarray:
    """bool (Z, Y, X): voxels within `radius` of the mask."""
    return _near(mask, spacing, lambda distance: distance <= radius)


def eroded(mask: np.ndarray, spacing: Sequence[float], radius: float) -> np.ndarray:
    """bool (Z, Y, X): voxels with nothing outside the mask within `radius`; the array's border is no outside."""
    return ~_near(~mask, spacing, lambda distance: distance <= radius)


def _near(mask: np.ndarray, spacing: Sequence[float], is_near: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    if not mask.any():
        return np.zeros(mask.shape, bool)
    return is_near(distance_transform_edt(~mask, sampling=spacing))
