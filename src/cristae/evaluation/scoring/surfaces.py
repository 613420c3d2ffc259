"""How far true and predicted surfaces lie apart, in nm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from cristae.data.box import Box
from cristae.data.image import VoxelSize
from cristae.evaluation.blocks import blocks_of
from cristae.evaluation.comparison import Comparison
from cristae.evaluation.scoring.ledger import Arrays
from cristae.evaluation.scoring.settings import Scoring
from cristae.evaluation.scoring.voxels import masks_of
from cristae.metrics.score import Score
from cristae.metrics.surface import (
    Distances,
    SurfaceDistances,
    average_distance,
    boundary_f1,
    hausdorff,
    hausdorff_95,
    surface_dice,
    surface_distances,
)

_SIDES = ("truth_to_prediction", "prediction_to_truth")


class SurfaceCounting:
    """Distances between the surfaces of each class, in the volume or slice by slice; its pieces are the classes."""

    title = "Comparing surfaces"
    preparations = 0

    def __init__(self, comparison: Comparison, scoring: Scoring) -> None:
        self.comparison, self.scoring = comparison, scoring
        self.pieces: Sequence[int] = range(len(scoring.classes.foreground))
        self.found: list[SurfaceDistances] = []
        """Of each foreground class."""

    def prepare(self, advance: Callable[[], None]) -> None:
        """Nothing."""

    def measure(self, piece: int) -> SurfaceDistances:
        """Find the surfaces of one class, block by block, and their distances; unrelated slices one by one."""
        blocks = blocks_of(*self.comparison.images)
        if not self._in_planes:
            return self._distances(piece, blocks)
        planes = Box.of_shape(self.comparison.shape).blocks((1, *self.comparison.shape[1:]))
        return SurfaceDistances.total(self._distances(piece, [plane]) for plane in planes)

    def _distances(self, number: int, blocks: Sequence[Box]) -> SurfaceDistances:
        return surface_distances(
            self._mask(number, truth=True),
            self._mask(number, truth=False),
            blocks,
            self._voxel_size,
            read_valid=self._valid if self.comparison.valid else None,
            closed=False,
        )

    def add(self, counted: SurfaceDistances) -> None:
        """Take in the distances of the next class."""
        self.found.append(counted)

    def arrays(self) -> Arrays:
        """Everything found so far."""
        return {
            f"{number}-{side}-{name}": getattr(getattr(found, side), name)
            for number, found in enumerate(self.found)
            for side in _SIDES
            for name in ("nm", "voxels")
        }

    def restore(self, arrays: Arrays) -> None:
        """Continue from what `arrays` gave."""
        self.found = [
            SurfaceDistances(
                *(Distances(arrays[f"{number}-{side}-nm"], arrays[f"{number}-{side}-voxels"]) for side in _SIDES)
            )
            for number in range(len(arrays) // 4)
        ]

    @staticmethod
    def rows(volume: str, parts: Sequence[SurfaceCounting]) -> Iterator[Score]:
        """Hausdorff distance, its 95th percentile, average distance and surface Dice of each class."""
        scoring = parts[0].scoring
        for number, name in enumerate(scoring.classes.foreground):
            distances = SurfaceDistances.total(part.found[number] for part in parts)
            what = "slice" if parts[0]._in_planes else "volume"
            rule = f"positive={name}; surface voxels of both maps, pooled, distances in the {what}"
            subject = Score(scoring.run, volume, name, "", float("nan"), distances.n, rule, "nm", scoring.threshold)
            for metric, function in (("HD", hausdorff), ("HD95", hausdorff_95), ("ASD", average_distance)):
                value = function(distances)
                yield replace(subject, metric=metric, value=value, rule=f"{rule}{_missing(distances)}; n=voxels")
            tolerance = max(part.tolerance_nm for part in parts)
            rule = f"{rule}; tolerance {tolerance:g} nm; n=voxels"
            for metric, agreeing in (("NSD", surface_dice), ("boundary_F1", boundary_f1)):
                yield replace(subject, metric=metric, value=agreeing(distances, tolerance), unit="ratio", rule=rule)

    @property
    def tolerance_nm(self) -> float:
        """Asked for, or the longest edge of a voxel within which surfaces lie."""
        stated = self.scoring.options.tolerance_nm
        return max(self._voxel_size[1:] if self._in_planes else self._voxel_size) if stated is None else stated

    @property
    def _in_planes(self) -> bool:
        """Whether surfaces are those of slices."""
        return self.comparison.shape[0] == 1 or self.scoring.options.slices_apart

    @property
    def _voxel_size(self) -> VoxelSize:
        size = self.comparison.voxel_size_nm
        if size is None:
            raise AssertionError("surfaces are only compared where the voxel size is known")
        return size

    def _mask(self, number: int, *, truth: bool) -> Callable[[Box], np.ndarray]:
        def read(box: Box) -> np.ndarray:
            labels = (self.comparison.truth if truth else self.comparison.prediction).read(box)
            return list(masks_of(labels, self.scoring.classes))[number]

        return read

    def _valid(self, box: Box) -> np.ndarray:
        valid = self.comparison.read_valid(box)
        return np.ones(box.shape, bool) if valid is None else valid


def _missing(distances: SurfaceDistances) -> str:
    return "; undefined: one map has no surface there" if distances.unmatched else ""
