"""Instances of a class: its connected pieces, cut at their necks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Literal

import numpy as np
from pydantic import PositiveFloat, PositiveInt
from scipy.ndimage import find_objects

from cristae.data.box import Box
from cristae.data.image import Image, VoxelSize
from cristae.errors import VolumeError
from cristae.metrics.components import Components
from cristae.postprocessing.form import Change, LabelMaps, Outcome, StepConfig
from cristae.postprocessing.necks import cut_mask
from cristae.postprocessing.pieces import pieces_of
from cristae.postprocessing.workplace import Advance, Store, Workplace

BYTES_PER_VOXEL = 128
"""Memory that cutting an object takes for each voxel of the box around it."""


class SplitTouching(StepConfig):
    """Number the objects of each chosen class, and cut those that touch at their necks.

    The class map stays as it is; an image of instances is written beside it. Each object is cut in its own box, by a
    watershed of the distance to its surface, so the result does not depend on blocks. Objects are numbered by their
    first voxel; the first piece of a cut object keeps its number, the others take new ones after all those that were
    there, object by object.
    """

    name: Literal["split_touching"] = "split_touching"
    depth_nm: PositiveFloat | None = None
    """A neck is cut when both sides are thicker than it by more than this, measured as distance from the middle to the
    surface; None takes the longest edge of a voxel."""
    connectivity: Literal[6, 18, 26] = 26
    """Neighbours that join voxels to one object: across faces (6), edges too (18), corners too (26)."""
    largest_box_vox: PositiveInt = 1 << 24
    """Objects in larger boxes are left whole, and it is said how many: cutting takes 128 bytes for each voxel of the
    box."""

    def needs_voxel_size(self) -> bool:
        """Thickness is measured in nm."""
        return True

    def run(self, maps: LabelMaps, work: Workplace, advance: Advance) -> Outcome:
        """See the class.

        Raises:
            VoxelSizeError: The voxel size is not known.
            VolumeError: There are more objects than an image of 32 bits can number.
        """
        size, changes, instances = self.require_voxel_size(maps), [], {}
        for place, values in maps.groups(self.chosen(maps.classes)):
            for name, value in values.items():
                store = work.new(f"instances-{maps.classes.id_of(name)}", np.dtype(np.uint32))
                change = self._split(maps.images[place], value, store, size, work, advance)
                changes.append(replace(change, class_name=name))
                instances[name] = store.image
        return Outcome(maps, tuple(changes), instances)

    def _split(
        self, image: Image, value: int, store: Store, size: VoxelSize, work: Workplace, advance: Advance
    ) -> Change:
        pieces = pieces_of(image, value, self.connectivity, work, advance)
        if pieces.count > np.iinfo(np.uint32).max // 2:
            raise VolumeError(f"{image.path}: {pieces.count} objects, more than can be numbered; are the labels noise?")
        boxes = _number(pieces, store, work, advance)
        depth = self.depth_nm or max(size)
        total, cuts, whole = pieces.count, 0, 0
        for number, box in enumerate(boxes, 1):
            if prod(box.shape) > self.largest_box_vox:
                whole += 1
                continue
            ids = store.read(box)
            ends = [(a == 0, b == edge) for a, b, edge in zip(box.start, box.stop, work.shape, strict=True)]
            found = cut_mask(ids == number, size, depth, open_sides=np.array(ends))
            count = int(found.max())
            if count > 1:
                ids = np.where(found > 1, found.astype(np.uint32) + np.uint32(total - 1), ids)
                store.write(box, ids)
                total, cuts = total + count - 1, cuts + 1
        return Change(self.label, "", 0, 0, cuts, total, whole)


def _number(pieces: Components, store: Store, work: Workplace, advance: Advance) -> Sequence[Box]:
    """Write the numbers of all pieces down; the box around each of them, in their order."""
    low = np.full((pieces.count + 1, 3), np.iinfo(np.int64).max)
    high = np.zeros((pieces.count + 1, 3), np.int64)
    for block in work.blocks:
        ids = pieces.read(block)
        if ids.any():
            store.write(block, ids.astype(np.uint32))
            found, places = np.unique(ids, return_inverse=True)
            own = places.reshape(ids.shape) + int(found[0] > 0)  # from 1, where 0 is no piece
            numbers = found[found > 0]
            for number, slices in zip(numbers, find_objects(own), strict=True):
                start = [a + part.start for a, part in zip(block.start, slices, strict=True)]
                stop = [a + part.stop for a, part in zip(block.start, slices, strict=True)]
                low[number], high[number] = np.minimum(low[number], start), np.maximum(high[number], stop)
        advance()
    return [Box((a, b, c), (d, e, f)) for (a, b, c), (d, e, f) in zip(low[1:].tolist(), high[1:].tolist(), strict=True)]
