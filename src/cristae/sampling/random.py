"""Patches at random places, a fraction of them around foreground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt

from cristae.config import Config
from cristae.data.box import Triple
from cristae.sampling.part import PatchSize, Place, SamplePart, as_triple, centred_box

Fraction = Annotated[float, Field(ge=0, le=1)]


class RandomPatches(Config):
    """A fixed number of patches an epoch, each from a place of its own drawing."""

    name: Literal["random"] = "random"
    size: PatchSize | None = None
    """Output patch in voxels: (y, x) for 2D networks, (z, y, x) for 3D ones. null
    takes what suits the network."""
    per_epoch: PositiveInt = 400
    """Patches in one epoch."""
    foreground_share: Fraction = 0.33
    """Fraction of patches placed on a foreground voxel, whose class is drawn evenly among the classes that occur: what
    keeps rare structures in every batch. The others fall anywhere. Classes without a background are all foreground."""

    def sized(self, window: tuple[int, ...]) -> RandomPatches:
        """The same with numbers: `window` where the size is left to the network."""
        return self if self.size else self.model_copy(update={"size": window})

    def plan(self, parts: Sequence[SamplePart], seed: int) -> RandomPlan:
        """Bind the settings, which must have a size, to the annotated parts."""
        assert self.size
        return RandomPlan(self, as_triple(self.size), tuple(parts), seed)


@dataclass(frozen=True, eq=False)
class RandomPlan:
    """Draws patch `index` of `epoch` from a generator of its own, so nothing depends on who draws it or when."""

    config: RandomPatches
    size: Triple
    """Patch size (z, y, x)."""
    parts: tuple[SamplePart, ...]
    seed: int

    @cached_property
    def _counts(self) -> np.ndarray:
        """(parts, classes) voxels."""
        return np.stack([part.class_counts for part in self.parts])

    def __len__(self) -> int:
        return self.config.per_epoch

    def place(self, epoch: int, index: int) -> Place:
        """Where patch `index` of `epoch` lies."""
        rng = np.random.default_rng([self.seed, epoch, index])
        counts = self._counts
        first = self.parts[0].first_foreground
        present = np.flatnonzero(counts[:, first:].sum(axis=0)) + first
        if present.size and rng.random() < self.config.foreground_share:
            class_index = int(rng.choice(present))
            return self._around(class_index, _pick(rng, counts[:, class_index]), rng)
        number = _pick(rng, counts.sum(axis=1))
        part = self.parts[number]
        if not part.fully_valid:
            return self._around(_pick(rng, part.class_counts), number, rng)
        start = [int(rng.integers(0, max(n - s, 0) + 1)) for n, s in zip(part.shape, self.size, strict=True)]
        centre = np.array([a + s // 2 for a, s in zip(start, self.size, strict=True)])
        return Place(number, centred_box(centre, self.size, part.shape))

    def _around(self, class_index: int, number: int, rng: np.random.Generator) -> Place:
        part = self.parts[number]
        voxel = rng.choice(part.class_voxels[class_index])
        reach = np.array(self.size) // 3
        return Place(number, centred_box(voxel + rng.integers(-reach, reach + 1), self.size, part.shape))


def _pick(rng: np.random.Generator, counts: np.ndarray) -> int:
    return int(np.searchsorted(np.cumsum(counts), rng.integers(0, counts.sum()), side="right"))
