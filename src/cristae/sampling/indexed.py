"""Patches around the foreground voxels of an index, class by class, and a share of patches anywhere.

Meyer et al. (2021), https://github.com/Cyril-Meyer/NeNISt, the 80/20 policy of their code: most patches take the
next voxel of a list of their class, which is shuffled once and read round and round, so that all places come up.

The list has every voxel of the class where no part has more than 20,000 of them. Beyond that an even sample of all its
voxels takes their place, 20,000 or more, each part with its share; the paper's training draws about 27,000 of a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt

from cristae.config import Config
from cristae.data.box import Box, Triple
from cristae.sampling.draw import PartDraw, uniform_place
from cristae.sampling.part import PatchSize, Place, SamplePart, as_triple, box_at, require_voxels

Fraction = Annotated[float, Field(ge=0, le=1)]
_SHUFFLES, _CLASSES = 3, 4
"""What sets seeds apart from each other and from those of patches: NumPy takes [a, b] and [a, b, 0] for the same."""


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
    edges of the volume. (The paper's code never draws the last possible corner in y and x, and neither does this.)"""

    def sized(self, window: tuple[int, ...]) -> IndexedPatches:
        """The same with numbers: `window` where the size is left to the network."""
        return self if self.size else self.model_copy(update={"size": window})

    def plan(self, parts: Sequence[SamplePart], seed: int) -> IndexedPlan:
        """Bind the settings, which must have a size, to the annotated parts.

        Raises:
            LabelError: No voxel of the parts counts.
        """
        assert self.size
        require_voxels(parts)
        return IndexedPlan(self, as_triple(self.size), PartDraw(parts), seed)


@dataclass(frozen=True, eq=False)
class IndexedPlan:
    """Which voxel a patch takes follows from the classes of all patches before it, which one seed determines."""

    config: IndexedPatches
    size: Triple
    """Patch size (z, y, x)."""
    draw: PartDraw
    seed: int

    @cached_property
    def _index(self) -> dict[int, np.ndarray]:
        """For each foreground class that occurs, its voxels (part, z, y, x) in shuffled order."""
        index = {}
        for k in range(self.draw.parts[0].first_foreground, len(self.draw.counts)):
            if self.draw.counts[k]:
                rng = np.random.default_rng([self.seed, k, 0, _SHUFFLES])
                index[k] = rng.permutation(_even_sample(self.draw.parts, k, rng))
        return index

    def __len__(self) -> int:
        return self.config.per_epoch

    def place(self, epoch: int, index: int) -> Place:
        """Where patch `index` of `epoch` lies."""
        classes = self._classes(epoch)
        chosen = int(classes[index])
        if chosen < 0:
            return uniform_place(self.draw, self.size, np.random.default_rng([self.seed, epoch, index]), short=1)
        rank = int(self._before(epoch)[chosen]) + int(np.count_nonzero(classes[:index] == chosen))
        voxels = self._index[chosen]
        number, *voxel = (int(value) for value in voxels[rank % len(voxels)])
        return Place(number, _around(voxel, self.size, self.draw.parts[number].shape))

    def _classes(self, epoch: int) -> np.ndarray:
        """The class of every patch of an epoch; -1 for those that fall anywhere."""
        # A plan is asked for the indices of one epoch many times over: the last one is worth keeping.
        kept: tuple[int, np.ndarray] | None = self.__dict__.get("_last")
        if kept is None or kept[0] != epoch:
            self.__dict__["_last"] = kept = (epoch, self._draw_classes(epoch))
        return kept[1]

    def _draw_classes(self, epoch: int) -> np.ndarray:
        present = np.array(sorted(self._index), np.int64)
        rng = np.random.default_rng([self.seed, epoch, 0, _CLASSES])
        anywhere = rng.random(len(self)) < self.config.uniform_share
        if not present.size:
            return np.full(len(self), -1)
        return np.where(anywhere, -1, rng.choice(present, len(self)))

    def _before(self, epoch: int) -> np.ndarray:
        """(K,) voxels of each class that were used in earlier epochs."""
        # Several threads may ask at once: what is kept is replaced as a whole, and counting starts from it.
        kept: tuple[int, np.ndarray] | None = self.__dict__.get("_counted")
        first, used = kept if kept and kept[0] <= epoch else (0, np.zeros(len(self.draw.counts), np.int64))
        for earlier in range(first, epoch):
            classes = self._draw_classes(earlier)
            used = used + np.bincount(classes[classes >= 0], minlength=len(used))
        self.__dict__["_counted"] = (epoch, used)
        return used


def _even_sample(parts: Sequence[SamplePart], class_index: int, rng: np.random.Generator) -> np.ndarray:
    """The voxels (part, z, y, x) of a class: all, or the same fraction of each part where the list of one is not whole.

    The fraction is the smallest that a part lists; what it makes of a part's voxels is rounded up or down by chance.
    """
    listed = [(number, part.class_voxels[class_index]) for number, part in enumerate(parts)]
    listed = [(number, voxels) for number, voxels in listed if len(voxels)]
    counts = [int(parts[number].class_counts[class_index]) for number, _ in listed]
    fraction = min(len(voxels) / count for (_, voxels), count in zip(listed, counts, strict=True))
    rows = []
    for (number, voxels), count in zip(listed, counts, strict=True):
        share = len(voxels) if fraction == 1 else min(len(voxels), int(fraction * count + rng.random()))
        rows.append(np.insert(voxels[:share], 0, number, axis=1))
    return np.concatenate(rows)


def _around(voxel: Sequence[int], size: Triple, shape: Triple) -> Box:
    """The patch whose corner is `voxel` - 1 - size / 2, as in the paper's code, moved inside the volume.

    On an axis of one or two voxels, where that would miss the voxel, the patch ends with it; the corner of an axis that
    is shorter than the patch centres the patch.
    """
    start = []
    for v, s, n in zip(voxel, size, shape, strict=True):
        wanted = max(v - 1 - s // 2, v - s + 1)
        start.append(min(max(wanted, 0), n - s) if n >= s else -((s - n) // 2))
    return box_at(start, size)
