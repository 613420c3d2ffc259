"""Patches on a regular grid, as SegET trains (Zhang et al., arXiv 1811.11729): every window once an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from cristae.config import Config
from cristae.data.box import Box, Triple
from cristae.sampling.part import PatchSize, Place, SamplePart, as_triple


class GridPatches(Config):
    """Overlapping windows that cover the annotated parts; those with foreground can enter several times."""

    name: Literal["grid"] = "grid"
    size: PatchSize | None = None
    """Output patch in voxels, also called window: (y, x) for 2D networks, (z, y, x) for 3D ones. null
    takes what suits the network."""
    stride: PatchSize | None = None
    """Step between windows; the last window of a row is moved back so that it ends with the part. null takes half the
    window."""
    positive_copies: PositiveInt = 1
    """How often a window with foreground enters an epoch, the original included (SegET: Centriole 4, Golgi 2). Where
    classes have no background, every window has foreground."""

    @model_validator(mode="after")
    def _check(self) -> GridPatches:
        if self.size and self.stride and len(self.size) != len(self.stride):
            raise ValueError("size and stride need the same number of axes")
        return self

    def sized(self, window: tuple[int, ...]) -> GridPatches:
        """The same with numbers: `window` where the size is left to the network, half of it where the stride is."""
        size = self.size or window
        return self.model_copy(update={"size": size, "stride": self.stride or tuple(max(1, s // 2) for s in size)})

    def plan(self, parts: Sequence[SamplePart], seed: int) -> GridPlan:
        """Bind the settings, which must have a size and a stride, to the annotated parts."""
        assert self.size
        assert self.stride
        return GridPlan(self, as_triple(self.size), as_triple(self.stride), tuple(parts), seed)


@dataclass(frozen=True, eq=False)
class GridPlan:
    """The windows of an epoch in an order drawn from the seed and the epoch."""

    config: GridPatches
    size: Triple
    """Window (z, y, x)."""
    stride: Triple
    parts: tuple[SamplePart, ...]
    seed: int

    def windows(self) -> list[Place]:
        """Every window with a voxel that counts once, part by part."""
        places = []
        for number, part in enumerate(self.parts):
            axes = [_starts(n, s, step) for n, s, step in zip(part.shape, self.size, self.stride, strict=True)]
            for z, y, x in product(*axes):
                box = Box((z, y, x), (z + self.size[0], y + self.size[1], x + self.size[2]))
                if part.holds_valid(box):
                    places.append(Place(number, box))
        return places

    @cached_property
    def _places(self) -> list[Place]:
        places = self.windows()
        if self.config.positive_copies > 1:
            positive = [place for place in places if self.parts[place.part].holds_foreground(place.box)]
            places = places + positive * (self.config.positive_copies - 1)
        return places

    def __len__(self) -> int:
        return len(self._places)

    def place(self, epoch: int, index: int) -> Place:
        """Where patch `index` of `epoch` lies."""
        return self._places[int(self._order(epoch)[index])]

    def _order(self, epoch: int) -> np.ndarray:
        # A plan is asked for the indices of one epoch many times over: the last order is worth keeping.
        kept: tuple[int, np.ndarray] | None = self.__dict__.get("_last")
        if kept is None or kept[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self._places))
            self.__dict__["_last"] = kept = (epoch, order)
        return kept[1]


def _starts(length: int, size: int, stride: int) -> list[int]:
    if length <= size:
        return [-((size - length) // 2)]
    starts = list(range(0, length - size + 1, stride))
    return starts if starts[-1] == length - size else [*starts, length - size]
