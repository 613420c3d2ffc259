"""Small objects removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import model_validator

from cristae.data.box import Box
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
from cristae.postprocessing.workplace import Advance, Workplace

_GONE, _OUTSIDE = 255, 254
"""Values that no class has."""


class RemoveSmall(SizedStep):
    """Remove objects that are smaller than a size.

    All chosen classes are looked at as the step finds them, so their order does not matter, and a second time removes
    nothing more.
    """

    auto_field: ClassVar[str | None] = "min_size_vox"
    size_vox: ClassVar[str] = "min_size_vox"
    size_nm3: ClassVar[str] = "min_size_nm3"

    name: Literal["remove_small"] = "remove_small"
    min_size_vox: Size = None
    """Objects of fewer voxels are removed. `auto` chooses it on the validation regions among powers of 4 and removing
    nothing."""
    min_size_nm3: Volume = None
    """Instead, the smallest volume in nm3, which means the same in every volume."""
    connectivity: Connectivity = 26
    """Neighbours that join voxels to one object: across faces (6), edges too (18), corners too (26); 4 and 8 look for
    objects in each slice by itself."""
    becomes: Literal["background", "surrounding"] = "background"
    """What voxels of removed objects become: `background`, or the class that `surrounding` voxels have most often:
    those across the faces of the object's voxels that are not removed themselves, the background among them; of equals
    the first class. Overlapping classes leave the mask."""

    @model_validator(mode="after")
    def _check(self) -> RemoveSmall:
        require_one(self, "min_size_vox", "min_size_nm3")
        return self

    def problem(self, classes: Classes) -> str | None:
        """As for every step; and there must be a background for what becomes one."""
        if classes.empty_id is None and self.becomes == "background":
            return "becomes: the classes have no background; set `becomes: surrounding`"
        return super().problem(classes)

    def run(self, maps: LabelMaps, work: Workplace, advance: Advance) -> Outcome:
        """See the class."""
        changes: list[Change] = []
        for place, values in maps.groups(self.chosen(maps.classes)):
            if not values:
                continue
            image, found = maps.images[place], {}
            for name, value in values.items():
                pieces = pieces_of(image, value, self.connectivity, work, advance)
                sizes, least = self.sizes_in_units(sizes_of(pieces, work, advance), maps)
                small = sizes < least
                small[0] = False
                found[name] = _Small(pieces, small)
            becomes = self._targets(image, found, values, maps.classes, work, advance)
            out = MapWriter(work.new(f"remove_small-{place}", np.dtype(np.uint8)), maps.mask)
            for block in work.blocks:
                before = image.read(block)
                after = before.copy()
                for name, one in found.items():
                    numbers = one.numbers(block)
                    inside = numbers > 0
                    after[inside] = becomes[name][numbers[inside]]
                out.put(block, before, after)
                advance()
            removed = {name: int(np.count_nonzero(becomes[name][1:] != values[name])) for name in found}
            changes += out.changes(self, values, removed)
            maps = maps.with_image(place, out.store.image)
        return Outcome(maps, tuple(changes))

    def _targets(
        self,
        image: Image,
        found: Mapping[str, _Small],
        values: Mapping[str, int],
        classes: Classes,
        work: Workplace,
        advance: Advance,
    ) -> dict[str, np.ndarray]:
        """By class, the value that each small object takes; entry 0 is none."""
        if self.becomes == "background" or not classes.exclusive:
            return {name: np.zeros(one.count + 1, np.uint8) for name, one in found.items()}
        kept = work.new("remove_small-kept", np.dtype(np.uint8))
        for block in work.blocks:
            ids = image.read(block).copy()
            for one in found.values():
                ids[one.numbers(block) > 0] = _GONE
            kept.write(block, ids)
            advance()
        faces: Connectivity = 4 if self.connectivity in (4, 8) else 6
        counts = {name: np.zeros((one.count + 1, len(classes.names)), np.int64) for name, one in found.items()}
        for block in work.blocks:
            rimmed = kept.read_with_rim(block, _OUTSIDE)
            for name, one in found.items():
                numbers = one.numbers(block)
                for step in directions(faces) if numbers.any() else ():
                    beside = neighbours(rimmed, step)
                    touching = (numbers > 0) & (beside < _OUTSIDE)
                    np.add.at(counts[name], (numbers[touching], beside[touching]), 1)
            advance()
        alone = {name: 0 if classes.background else values[name] for name in found}
        return {
            name: np.where(table.any(axis=1), table.argmax(axis=1), alone[name]).astype(np.uint8)
            for name, table in counts.items()
        }


class _Small:
    """The small objects of a class, numbered among themselves from 1."""

    def __init__(self, pieces: Components, small: np.ndarray) -> None:
        self._pieces = pieces
        self._number = np.where(small, np.cumsum(small), 0)
        self.count = int(small.sum())

    def numbers(self, block: Box) -> np.ndarray:
        """(Z, Y, X), 0 where there is no small object."""
        numbers: np.ndarray = self._number[self._pieces.read(block)]
        return numbers
