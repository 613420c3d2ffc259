"""Patches around the foreground voxels of an index, class by class, and a share of patches anywhere.

Meyer et al. (2021), https://github.com/Cyril-Meyer/NeNISt, the 80/20 policy of their code: most patches take the
next voxel of a list of their class, which is shuffled once and read round and round, so that all places come up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt

from cristae.config import Config
from cristae.data.box import Box, Triple
from cristae.sampling.part import PatchSize, Place, SamplePart, as_triple
from cristae.sampling.random import uniform_place

Fraction = Annotated[float, Field(ge=0, le=1)]


class IndexedPatches(Config):
    """A fixed number of patches an epoch: some anywhere, the others around the next voxel of a class drawn evenly."""

    name: Literal["indexed"] = "indexed"
    size: PatchSize | None = None
    """Output patch in voxels: (y, x) for 2D networks, (z, y, x) for 3D ones. null
    takes what suits the network."""
    per_epoch: PositiveInt = 1024
    """Patches in one epoch (Meyer et al.: 256 batches of 4)."""
    uniform_share: Fraction = 0.2
    """Probability that a patch falls anywhere; the others have a foreground voxel in their middle, moved inwards at the
    edges of the volume."""

    def sized(self, window: tuple[int, ...]) -> IndexedPatches:
        """The same with numbers: `window` where the size is left to the network."""
        return self if self.size else self.model_copy(update={"size": window})

    def plan(self, parts: Sequence[SamplePart], seed: int) -> IndexedPlan:
        """Bind the settings, which must have a size, to the annotated parts."""
        assert self.size
        return IndexedPlan(self, as_triple(self.size), tuple(parts), seed)


@dataclass(frozen=True, eq=False)
class IndexedPlan:
    """Which voxel a patch takes follows from the classes of all patches before it, which one seed determines."""

    config: IndexedPatches
    size: Triple
    """Patch size (z, y, x)."""
    parts: tuple[SamplePart, ...]
    seed: int
    _used: list[np.ndarray] = field(default_factory=list)
    """Voxels of each class that were used before epoch 0, 1, ..."""

    @cached_property
    def _index(self) -> dict[int, np.ndarray]:
        """For each foreground class that occurs, its voxels (part, z, y, x) in shuffled order."""
        index = {}
        for k in range(self.parts[0].first_foreground, len(self.parts[0].class_counts)):
            rows = [np.insert(part.class_voxels[k], 0, number, axis=1) for number, part in enumerate(self.parts)]
            if voxels := sum(map(len, rows)):
                index[k] = np.concatenate(rows)[np.random.default_rng([self.seed, k]).permutation(voxels)]
        return index

    def __len__(self) -> int:
        return self.config.per_epoch

    def place(self, epoch: int, index: int) -> Place:
        """Where patch `index` of `epoch` lies."""
        classes = self._classes(epoch)
        chosen = int(classes[index])
        if chosen < 0:
            return uniform_place(self.parts, self.size, np.random.default_rng([self.seed, epoch, index]))
        rank = int(self._before(epoch)[chosen]) + int(np.count_nonzero(classes[:index] == chosen))
        voxels = self._index[chosen]
        number, *voxel = (int(value) for value in voxels[rank % len(voxels)])
        return Place(number, _around(voxel, self.size, self.parts[number].shape))

    def _classes(self, epoch: int) -> np.ndarray:
        """The class of every patch of an epoch; -1 for those that fall anywhere."""
        # A plan is asked for the indices of one epoch many times over: the last one is worth keeping.
        kept: tuple[int, np.ndarray] | None = self.__dict__.get("_last")
        if kept is None or kept[0] != epoch:
            self.__dict__["_last"] = kept = (epoch, self._draw_classes(epoch))
        return kept[1]

    def _draw_classes(self, epoch: int) -> np.ndarray:
        present = np.array(sorted(self._index), np.int64)
        rng = np.random.default_rng([self.seed, epoch])
        anywhere = rng.random(len(self)) < self.config.uniform_share
        if not present.size:
            return np.full(len(self), -1)
        return np.where(anywhere, -1, rng.choice(present, len(self)))

    def _before(self, epoch: int) -> np.ndarray:
        if not self._used:
            self._used.append(np.zeros(len(self.parts[0].class_counts), np.int64))
        while len(self._used) <= epoch:
            classes = self._draw_classes(len(self._used) - 1)
            self._used.append(self._used[-1] + np.bincount(classes[classes >= 0], minlength=len(self._used[0])))
        return self._used[epoch]


def _around(voxel: Sequence[int], size: Triple, shape: Triple) -> Box:
    """The patch whose corner is `voxel` - 1 - size / 2, as in the paper's code, moved inside the volume.

    An axis of one slice has the voxel's own; the corner of an axis that is shorter than the patch centres the patch.
    """
    start = []
    for v, s, n in zip(voxel, size, shape, strict=True):
        wanted = v if s == 1 else v - 1 - s // 2
        start.append(min(max(wanted, 0), n - s) if n >= s else -((s - n) // 2))
    return Box((start[0], start[1], start[2]), (start[0] + size[0], start[1] + size[1], start[2] + size[2]))
