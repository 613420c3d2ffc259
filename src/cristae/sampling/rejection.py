"""Patches around random voxels, of which those of some classes are often rejected: the sampling of CDeep3M.

Haberl et al. (2018), https://doi.org/10.1038/s41592-018-0106-z, and the Caffe version that it runs on: a place is drawn
evenly; the voxel in the middle of the patch decides whether it is kept, always where that is foreground, one time in
four where it is background (their weights are 1 and 0.3; the code makes 1/4 of 0.3).

Nothing is drawn and thrown away here. Let class k have n_k voxels that can be the middle of a patch, and a_k be the
probability that such a patch is kept. One draw keeps a given voxel of class k with probability a_k / sum(n_j), j over
all classes; so given that a patch is kept, it is that voxel with

    p = a_k / sum(n_j a_j),

and, as draws are independent, so is what is kept. The same comes of drawing the class with n_k a_k / sum(n_j a_j) and
then one of its n_k voxels evenly: p = (n_k a_k / sum(n_j a_j)) / n_k. It takes two draws, however rare the kept are.
All n_k are counted; where a part has more than 20,000 voxels of a class, these are drawn from an even sample of them. A
voxel of several classes that overlap counts once, as one of the class with the largest a_k.

Differs from the original: beyond the stack the image is mirrored, as everywhere, where theirs is 0.
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
from cristae.errors import LabelError, RecipeError
from cristae.sampling.named import by_class
from cristae.sampling.part import ClassPlaces, PatchSize, Place, SamplePart, as_triple, box_at, require_voxels

Fraction = Annotated[float, Field(ge=0, le=1)]
_BACKGROUND = 0.25


class RejectionPatches(Config):
    """A fixed number of patches an epoch, around voxels that are drawn evenly and kept with a probability by class."""

    name: Literal["rejection"] = "rejection"
    size: PatchSize | None = None
    """Output patch in voxels: (y, x) for 2D networks, (z, y, x) for 3D ones. null takes what suits the network. It lies
    inside the annotated part in y and x, so its middle is never nearer to the sides than half of it; in z it may
    reach outside."""
    per_epoch: PositiveInt = 400
    """Patches in one epoch."""
    accept: dict[str, Fraction] | None = None
    """Probability that a patch is kept, by the class in its middle, such as {background: 0.1}; 1 for classes that are
    not named. `none` means voxels in none of overlapping classes; one in several is kept as the class among them that
    is kept most often. null is CDeep3M's: 0.25 for the background, or for voxels in no class, and 1 for structures."""

    def sized(self, window: tuple[int, ...]) -> RejectionPatches:
        """The same with numbers: `window` where the size is left to the network."""
        return self if self.size else self.model_copy(update={"size": window})

    @property
    def overhang(self) -> Triple:
        """Voxels (z, y, x) by which patches may reach outside a part that is larger than they are."""
        assert self.size
        return as_triple(self.size)[0] // 2, 0, 0

    def check_classes(self, names: Sequence[str]) -> None:
        """Make sure that the classes of `accept` are among `names`, as `counted_names` gives them, and one is kept.

        Raises:
            RecipeError: There is no class of a name, or none is ever kept.
        """
        if self.accept is not None and not by_class(self.accept, names, "accept", default=1).any():
            raise RecipeError("accept: is 0 for every class, so no patch is kept; give one a probability above 0")

    def plan(self, parts: Sequence[SamplePart], seed: int) -> RejectionPlan:
        """Bind the settings, which must have a size, to the annotated parts, whose labels are read once for it.

        Raises:
            LabelError: No voxel of a class that is kept can be the middle of a patch.
            RecipeError: There is no class of a name, or none is ever kept.
        """
        assert self.size
        require_voxels(parts)
        self.check_classes(parts[0].class_names)
        size = as_triple(self.size)
        accept = self._accept(parts[0])
        most_kept_first = np.argsort(-accept, kind="stable").tolist()
        middles = tuple(part.within(_middles(part.shape, size), most_kept_first) for part in parts)
        plan = RejectionPlan(self, size, tuple(parts), middles, accept, seed)
        if not plan.weights.any():
            raise LabelError(
                f"sampling.accept: no voxel of {' or '.join(plan.kept_names)} can be in the middle of a patch that "
                f"lies inside its region in y and x; choose a sampling.size below {list(self.size)}, accept other "
                "classes, or use `sampling: {name: random}`"
            )
        return plan

    def _accept(self, part: SamplePart) -> np.ndarray:
        """(K,) probability that a patch is kept, by the class in its middle."""
        if self.accept is not None:
            return by_class(self.accept, part.class_names, "accept", default=1)
        accept = np.ones(len(part.class_counts))
        accept[: part.first_foreground] = _BACKGROUND
        return accept


@dataclass(frozen=True, eq=False)
class RejectionPlan:
    """Draws patch `index` of `epoch` from a generator of its own: a part and a class, then a voxel of it."""

    config: RejectionPatches
    size: Triple
    """Patch size (z, y, x)."""
    parts: tuple[SamplePart, ...]
    middles: tuple[ClassPlaces, ...]
    """Of each part, the voxels that can be the middle of a patch, each once."""
    accept: np.ndarray
    """(K,) probability that a patch is kept, by the class in its middle."""
    seed: int

    @cached_property
    def weights(self) -> np.ndarray:
        """(parts, K) expected number of voxels that are kept, of all that can be a middle."""
        weights: np.ndarray = np.stack([counts for counts, _ in self.middles]) * self.accept
        return weights

    @property
    def kept_names(self) -> list[str]:
        """Classes around which patches are kept."""
        return [name for name, share in zip(self.parts[0].class_names, self.accept, strict=True) if share]

    @cached_property
    def _ends(self) -> np.ndarray:
        ends = np.cumsum(self.weights)
        ends[np.flatnonzero(self.weights)[-1] :] = np.inf  # whatever the rounding
        return ends

    @cached_property
    def _total(self) -> float:
        return float(self.weights.sum())

    def __len__(self) -> int:
        return self.config.per_epoch

    def place(self, epoch: int, index: int) -> Place:
        """Where patch `index` of `epoch` lies."""
        rng = np.random.default_rng([self.seed, epoch, index])
        chosen = int(np.searchsorted(self._ends, rng.random() * self._total, side="right"))
        number, class_index = divmod(chosen, self.weights.shape[1])
        voxels = self.middles[number][1][class_index]
        voxel = voxels[int(rng.integers(len(voxels)))]
        return Place(number, _around(voxel.tolist(), self.size, self.parts[number].shape))


def _middles(shape: Triple, size: Triple) -> Box:
    """The voxels around which a patch lies inside a part in y and x; all of them along an axis that it does not fit."""
    start, stop = [0, 0, 0], list(shape)
    for axis in (1, 2):
        if shape[axis] > size[axis]:
            start[axis] = size[axis] // 2
            stop[axis] = start[axis] + shape[axis] - size[axis] + 1
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _around(middle: Sequence[int], size: Triple, shape: Triple) -> Box:
    """The patch around its middle; centred on the part along y or x where it does not fit."""
    start = [m - s // 2 for m, s in zip(middle, size, strict=True)]
    for axis in (1, 2):
        if shape[axis] <= size[axis]:
            start[axis] = -((size[axis] - shape[axis]) // 2)
    return box_at(start, size)
