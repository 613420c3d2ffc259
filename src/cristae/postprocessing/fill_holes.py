"""Holes inside objects filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import model_validator

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.metrics.components import Components, Connectivity
from cristae.postprocessing.form import (
    Change,
    LabelMaps,
    MapWriter,
    Outcome,
    Size,
    SizedStep,
    Volume,
    directions,
    neighbours,
    require_one,
)
from cristae.postprocessing.pieces import pieces_of, sizes_of
from cristae.postprocessing.workplace import Advance, Workplace, read_with_rim

_NONE = 255
"""A value that no class has."""


class FillHoles(SizedStep):
    """Fill holes: background that one class encloses.

    A hole is a connected piece of background that does not reach the border of the volume (of its slice, with 4 or 8
    neighbours) and all of whose neighbours are of the same class; that class takes it. Background that touches several
    classes stays, so no voxel of another class ever changes. Along an axis of one voxel there is no border. Overlapping
    classes: each mask by itself.
    """

    auto_field: ClassVar[str | None] = "max_size_vox"
    size_vox: ClassVar[str] = "max_size_vox"
    size_nm3: ClassVar[str] = "max_size_nm3"

    name: Literal["fill_holes"] = "fill_holes"
    max_size_vox: Size = None
    """Holes of more voxels stay. `auto` chooses it on the validation regions among powers of 4 and filling nothing.
    Without a size all holes are filled."""
    max_size_nm3: Volume = None
    """Instead, the largest volume in nm3, which means the same in every volume."""
    connectivity: Connectivity = 6
    """Neighbours that join background voxels to one hole: 6, 18 or 26 in the volume, 4 or 8 in each slice by itself.
    With 6 and 4, a wall may be thin at edges and corners."""

    @model_validator(mode="after")
    def _check(self) -> FillHoles:
        require_one(self, "max_size_vox", "max_size_nm3", least=0)
        return self

    def problem(self, classes: Classes) -> str | None:
        """As for every step; and holes are background, which has to be there."""
        if classes.empty_id is None:
            return "name: fill_holes fills background, but the classes have none; leave it out"
        return super().problem(classes)

    def run(self, maps: LabelMaps, work: Workplace, advance: Advance) -> Outcome:
        """See the class."""
        changes: list[Change] = []
        for place, values in maps.groups(self.chosen(maps.classes)):
            if not values:
                continue
            image = maps.images[place]
            holes = pieces_of(image, 0, self.connectivity, work, advance)
            sizes, most = self.sizes_in_units(sizes_of(holes, work, advance), maps)
            becomes = np.where(sizes <= most, self._walls(image, holes, values, work, advance), 0).astype(np.uint8)
            out = MapWriter(work.new(f"fill_holes-{place}", np.dtype(np.uint8)), maps.mask)
            for block in work.blocks:
                before = image.read(block)
                out.put(block, before, np.where(before == 0, becomes[holes.read(block)], before).astype(np.uint8))
                advance()
            filled = {name: int(np.count_nonzero(becomes == value)) for name, value in values.items()}
            changes += out.changes(self, values, filled)
            maps = maps.with_image(place, out.store.image)
        return Outcome(maps, tuple(changes))

    def _walls(
        self, image: Image, holes: Components, values: Mapping[str, int], work: Workplace, advance: Advance
    ) -> np.ndarray:
        """uint8 (n + 1,): the chosen value that alone encloses each piece of background; 0 where none does."""
        low, high = np.full(holes.count + 1, _NONE, np.uint8), np.zeros(holes.count + 1, np.uint8)
        is_open = np.zeros(holes.count + 1, bool)
        for block in work.blocks:
            numbers, rimmed = holes.read(block), read_with_rim(image, block)
            for step in directions(self.connectivity):
                beside = neighbours(rimmed, step)
                touching = (numbers > 0) & (beside > 0)
                np.minimum.at(low, numbers[touching], beside[touching])
                np.maximum.at(high, numbers[touching], beside[touching])
            for face in _faces(block, work.shape, flat=self.connectivity in (4, 8)):
                is_open[np.unique(numbers[face])] = True
            advance()
        enclosed = ~is_open & (low == high) & np.isin(low, list(values.values()))
        return np.where(enclosed, low, 0).astype(np.uint8)


def _faces(block: Box, shape: Triple, *, flat: bool) -> list[tuple[slice | int, ...]]:
    """Places in a block of its planes that lie at the border of the volume, or, in flat holes, of slices."""
    found: list[tuple[slice | int, ...]] = []
    for axis in range(1 if flat else 0, 3):
        if shape[axis] == 1:
            continue
        ends = [0] * (block.start[axis] == 0) + [-1] * (block.stop[axis] == shape[axis])
        found += [(*[slice(None)] * axis, end) for end in ends]
    return found
