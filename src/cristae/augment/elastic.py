"""Elastic deformation by a smooth field of displacements.

Simard, Steinkraus, Platt (2003), https://doi.org/10.1109/ICDAR.2003.1227801; with one field an epoch as in Guay et al.
(2021), https://doi.org/10.1038/s41598-021-81590-0, and the authors' code, whose grid of nodes is uniform noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from cristae.augment.batch import Batch, epoch_generator
from cristae.augment.form import Generators, Probability
from cristae.augment.geometric import GeometricAugmentation, Reach
from cristae.augment.spline_field import Displacement, PlaneField, overshoot, smooth_nodes


class Elastic(GeometricAugmentation):
    """Bend in the y-x plane, all slices of a patch alike.

    A grid of nodes lies over a plane, about `spacing_vox` apart and at least two along each axis. Noise from -1 to 1 at
    the nodes is smoothed, times `amplitude_vox`, and interpolated by cubic splines.
    """

    name: Literal["elastic"] = "elastic"
    per: Literal["epoch", "patch"] = "patch"
    """`epoch` draws one field for each volume and epoch, and bends all slices and patches of the volume by it; `patch`
    draws one for each patch. Where a recipe bends several times, each time has fields of its own."""
    amplitude_vox: PositiveFloat = 20
    """What the smoothed noise is multiplied with. The standard deviation of the displacement is about 0.3 of it at the
    nodes."""
    spacing_vox: Annotated[float, Field(ge=2)] = 40
    """How far apart the nodes are."""
    smoothing: Annotated[float, Field(ge=0, le=4)] = 0.6
    """Standard deviation of the Gaussian that smooths the noise, in distances of nodes."""
    probability: Probability = 0.5
    """How often a patch is bent."""

    def reach(self, reach: Reach, size: Sequence[int]) -> Reach:
        """The box with the farthest that splines between the largest noise go."""
        return reach.grown(y=self._most, x=self._most)

    @property
    def draws_for_epoch(self) -> bool:
        return self.per == "epoch"

    @property
    def _most(self) -> float:
        return self.amplitude_vox * overshoot(self.smoothing)

    def draw(self, batch: Batch, generators: Generators) -> Displacement:
        applies = [generator.random() < self.probability for generator in generators]
        if self.per == "patch":
            plane = _plane(batch.size)
            noises = [self._noise(generator, plane) for generator in generators]
            fields = [self._field(noise, plane) if on else None for on, noise in zip(applies, noises, strict=True)]
            return Displacement(fields, np.tile((np.array(plane) - 1) / 2, (len(batch), 1)), self._most)
        if not batch.volume_shapes:
            raise ValueError("a field for each volume needs Batch.volume_shapes and Batch.boxes")
        fields = [self._of_epoch(batch, sample) if on else None for sample, on in enumerate(applies)]
        centres = [(np.array(box.start) + box.stop - 1) / 2 for box in batch.boxes]
        return Displacement(fields, np.stack(centres)[:, 1:], self._most)

    def _of_epoch(self, batch: Batch, sample: int) -> PlaneField:
        plane = _plane(batch.volume_shapes[sample])
        return _epoch_field(self, batch.epoch_key, batch.epoch_draws, batch.volumes[sample], plane)

    def _noise(self, generator: np.random.Generator, plane: tuple[int, int]) -> np.ndarray:
        nodes = [max(2, round(side / self.spacing_vox)) for side in plane]
        return generator.uniform(-1, 1, (2, *nodes))

    def _field(self, noise: np.ndarray, plane: tuple[int, int]) -> PlaneField:
        nodes = [self.amplitude_vox * smooth_nodes(component, self.smoothing) for component in noise]
        return PlaneField.of_nodes(np.stack(nodes), plane)


@lru_cache(maxsize=64)
def _epoch_field(elastic: Elastic, key: tuple[int, int], draws: int, volume: str, plane: tuple[int, int]) -> PlaneField:
    """The field of a volume, kept for the patches of the epoch that follow."""
    return elastic._field(elastic._noise(epoch_generator(key, volume, draws), plane), plane)


def _plane(size: Sequence[int]) -> tuple[int, int]:
    y, x = size[-2:]
    return y, x
