"""Patches at random places, a fraction of them around foreground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt

from cristae.config import Config
from cristae.data.box import Box, Triple
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
            number = _pick(rng, counts[:, class_index])
            return Place(number, jittered_box(self.parts[number], class_index, self.size, rng))
        return uniform_place(self.parts, self.size, rng)


def uniform_place(parts: Sequence[SamplePart], size: Triple, rng: np.random.Generator) -> Place:
    """A patch anywhere: in a part drawn by its voxels that count, around one of these where not all of them do."""
    number = _pick(rng, np.stack([part.class_counts for part in parts]).sum(axis=1))
    part = parts[number]
    if not part.fully_valid:
        return Place(number, jittered_box(part, _pick(rng, part.class_counts), size, rng))
    start = [int(rng.integers(0, max(n - s, 0) + 1)) for n, s in zip(part.shape, size, strict=True)]
    centre = np.array([a + s // 2 for a, s in zip(start, size, strict=True)])
    return Place(number, centred_box(centre, size, part.shape))


def jittered_box(part: SamplePart, class_index: int, size: Triple, rng: np.random.Generator) -> Box:
    """A patch that has a voxel of a class within a third of its sides from its middle."""
    voxel = rng.choice(part.class_voxels[class_index])
    reach = np.array(size) // 3
    return centred_box(voxel + rng.integers(-reach, reach + 1), size, part.shape)


def _pick(rng: np.random.Generator, counts: np.ndarray) -> int:
    return int(np.searchsorted(np.cumsum(counts), rng.integers(0, counts.sum()), side="right"))
