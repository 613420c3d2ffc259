"""Patches at random places: a share of them around foreground, or classes with the frequencies that one wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from cristae.config import Config
from cristae.data.box import Triple
from cristae.errors import LabelError
from cristae.sampling.draw import PartDraw, jittered_box, uniform_place
from cristae.sampling.named import by_class
from cristae.sampling.part import PatchSize, Place, SamplePart, as_triple, require_voxels

Fraction = Annotated[float, Field(ge=0, le=1)]
_FOREGROUND_SHARE = 0.33


class RandomPatches(Config):
    """A fixed number of patches an epoch, each from a place of its own drawing."""

    name: Literal["random"] = "random"
    size: PatchSize | None = None
    """Output patch in voxels: (y, x) for 2D networks, (z, y, x) for 3D ones. null
    takes what suits the network."""
    per_epoch: PositiveInt = 400
    """Patches in one epoch."""
    foreground_share: Fraction | None = None
    """Fraction of patches placed on a foreground voxel, whose class is drawn evenly among the classes that occur: what
    keeps rare structures in every batch. The others fall anywhere. Classes without a background are all foreground.
    null: 0.33, or what `class_frequencies` say."""
    class_frequencies: dict[str, NonNegativeFloat] | None = None
    """How often a patch is placed on a voxel of each class, such as {mito: 2, er: 2, background: 1}: relative to their
    sum, so shares that add up to 1 are taken as they are. Classes that are not named come by chance alone. `none` means
    voxels in none of overlapping classes. In place of `foreground_share`."""
    volumes: Literal["by_voxels", "evenly"] = "by_voxels"
    """Where a patch comes from, of the volumes that hold its class: from each as often as it has voxels of it (on the
    working grid), or from all equally often, so that small volumes are seen as much as large ones."""

    @model_validator(mode="after")
    def _check(self) -> RandomPatches:
        if self.class_frequencies is None:
            return self
        if self.foreground_share is not None:
            raise ValueError("give foreground_share or class_frequencies, not both")
        if not sum(self.class_frequencies.values()):
            raise ValueError("class_frequencies: name at least one class with a frequency above 0")
        return self

    def sized(self, window: tuple[int, ...]) -> RandomPatches:
        """The same with numbers: `window` where the size is left to the network, and the usual share of foreground."""
        share = self.foreground_share
        if share is None and self.class_frequencies is None:
            share = _FOREGROUND_SHARE
        return self.model_copy(update={"size": self.size or window, "foreground_share": share})

    def check_classes(self, names: Sequence[str]) -> None:
        """Make sure that the classes of `class_frequencies` are among `names`, as `counted_names` gives them.

        Raises:
            RecipeError: There is no class of a name.
        """
        by_class(self.class_frequencies or {}, names, "class_frequencies")

    def plan(self, parts: Sequence[SamplePart], seed: int) -> RandomPlan:
        """Bind the settings, which must have a size, to the annotated parts.

        Raises:
            LabelError: A class that is asked for, or any voxel that counts, is nowhere in the parts.
            RecipeError: There is no class of a name.
        """
        assert self.size
        require_voxels(parts)
        self.check_classes(parts[0].class_names)
        plan = RandomPlan(self, as_triple(self.size), PartDraw(parts, evenly=self.volumes == "evenly"), seed)
        _require_wanted(self, parts[0].class_names, plan.draw.counts)
        return plan


@dataclass(frozen=True, eq=False)
class RandomPlan:
    """Draws patch `index` of `epoch` from a generator of its own, so nothing depends on who draws it or when."""

    config: RandomPatches
    size: Triple
    """Patch size (z, y, x)."""
    draw: PartDraw
    seed: int

    def __len__(self) -> int:
        return self.config.per_epoch

    def place(self, epoch: int, index: int) -> Place:
        """Where patch `index` of `epoch` lies."""
        rng = np.random.default_rng([self.seed, epoch, index])
        class_index = self._class(rng)
        if class_index is None:
            return uniform_place(self.draw, self.size, rng)
        number = self.draw.with_class(class_index, rng)
        return Place(number, jittered_box(self.draw.parts[number], class_index, self.size, rng))

    def _class(self, rng: np.random.Generator) -> int | None:
        """The class that a patch is placed on; None for anywhere."""
        if self._wanted_ends is not None:
            return int(np.searchsorted(self._wanted_ends, rng.random(), side="right"))
        if self._present.size and rng.random() < self._share:
            return int(self._present[int(rng.integers(len(self._present)))])
        return None

    @cached_property
    def _share(self) -> float:
        share = self.config.foreground_share
        return _FOREGROUND_SHARE if share is None else share

    @cached_property
    def _wanted_ends(self) -> np.ndarray | None:
        """The frequency of each class and those before it."""
        wanted = self.config.class_frequencies
        if wanted is None:
            return None
        frequencies = by_class(wanted, self.draw.parts[0].class_names, "class_frequencies")
        ends = np.cumsum(frequencies / frequencies.sum())
        ends[np.flatnonzero(frequencies)[-1] :] = 1  # whatever the rounding
        return ends

    @cached_property
    def _present(self) -> np.ndarray:
        """Foreground classes that occur."""
        first = self.draw.parts[0].first_foreground
        return np.flatnonzero(self.draw.counts[first:]) + first


def _require_wanted(config: RandomPatches, names: Sequence[str], counts: np.ndarray) -> None:
    missing = [
        name for name, share in (config.class_frequencies or {}).items() if share and not counts[names.index(name)]
    ]
    if missing:
        found = ", ".join(f"{name} {count}" for name, count in zip(names, counts.tolist(), strict=True))
        raise LabelError(
            f"sampling.class_frequencies: no patch can be placed on '{missing[0]}', of which the regions hold no voxel "
            f"(voxels: {found}); choose regions that have it, or take it out of class_frequencies"
        )
