"""What every step that numbers objects has: each object is cut in its own box, so that blocks make no difference."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import ClassVar, Self

import numpy as np
from pydantic import PositiveInt
from scipy.ndimage import find_objects

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.errors import VolumeError
from cristae.metrics.components import Components, Connectivity, find_components
from cristae.postprocessing.form import Change, LabelMaps, Outcome, Size, StepConfig, Volume
from cristae.postprocessing.workplace import Advance, Store, Workplace

Inside = Callable[[np.ndarray], np.ndarray]
"""Of the values of a map, bool of the same shape: which belong to objects."""


class SplitStep(StepConfig):
    """Number the objects of each chosen class, and cut those that touch.

    The class map stays as it is; an image of instances is written beside it. Objects are numbered by their first
    voxel; the first piece of a cut object keeps its number, the others take new ones after all those that were there,
    object by object.
    """

    largest_box_vox: PositiveInt = 1 << 24
    """Objects in larger boxes are left whole, and it is said how many."""

    @property
    @abstractmethod
    def bytes_per_voxel(self) -> int:
        """Memory that cutting an object takes for each voxel of the box around it."""

    @property
    @abstractmethod
    def joins(self) -> Connectivity:
        """Neighbours that join voxels to one object."""

    def inside(self, maps: LabelMaps, value: int) -> Inside:
        """Which values of the map of a class belong to its objects."""
        return lambda values: values == value

    def numbers(self, pieces: Components, image: Image, value: int, work: Workplace, advance: Advance) -> np.ndarray:
        """(n + 1,): the number of each piece; 0 for one that is no object."""
        return np.arange(pieces.count + 1)

    @abstractmethod
    def cut(self, mask: np.ndarray, box: Box, maps: LabelMaps, class_name: str) -> np.ndarray:
        """The pieces of one object.

        Args:
            mask: bool (Z, Y, X) of the object in the box around it.
            box: Where that is.
            maps: What the step finds.
            class_name: Whose object it is.

        Returns:
            int32 (Z, Y, X) pieces, numbered from 1 by their first voxel, 0 outside.
        """

    def run(self, maps: LabelMaps, work: Workplace, advance: Advance) -> Outcome:
        """See the class.

        Raises:
            CristaeError: The step needs what is not known of these maps.
            VolumeError: There are more objects than an image of 32 bits can number.
        """
        self.require_probabilities(maps)
        changes, instances = [], {}
        for place, values in maps.groups(self.chosen(maps.classes)):
            for name, value in values.items():
                store = work.new(f"instances-{maps.classes.id_of(name)}", np.dtype(np.uint32))
                pieces, number = self._objects(maps, place, value, work, advance)
                boxes = _number(pieces, number, store, work, advance)
                changes.append(replace(self._split(boxes, store, maps, name), class_name=name))
                instances[name] = store.image
        return Outcome(maps, tuple(changes), instances)

    def _objects(
        self, maps: LabelMaps, place: int, value: int, work: Workplace, advance: Advance
    ) -> tuple[Components, np.ndarray]:
        """The connected pieces, and the number that each of them gets."""
        image, inside = maps.images[place], self.inside(maps, value)
        pieces = find_components(lambda box: inside(image.read(box)), work.blocks, self.joins, advance=advance)
        if pieces.count > np.iinfo(np.uint32).max // 2:
            raise VolumeError(f"{image.path}: {pieces.count} objects, more than can be numbered; are the labels noise?")
        return pieces, self.numbers(pieces, image, value, work, advance)

    def _split(self, boxes: Sequence[Box], store: Store, maps: LabelMaps, name: str) -> Change:
        total, cuts, whole = len(boxes), 0, 0
        for number, box in enumerate(boxes, 1):
            if prod(box.shape) > self.largest_box_vox:
                whole += 1
                continue
            ids = store.read(box)
            found = self.cut(ids == number, box, maps, name)
            count = int(found.max())
            if count > 1:
                ids = np.where(found > 1, found.astype(np.uint32) + np.uint32(total - 1), ids)
                store.write(box, ids)
                total, cuts = total + count - 1, cuts + 1
        return Change(self.label, "", 0, 0, cuts, total, whole)


class SeededStep(SplitStep):
    """A split whose pieces grow from seeds of some size."""

    auto_field: ClassVar[str | None] = "min_seed_vox"

    min_seed_vox: Size = None
    """Seeds of fewer voxels are none, and their voxels go to the seeds around; an object without a seed that is large
    enough stays whole. `auto` chooses it on the validation regions among powers of 4 and taking all seeds."""
    min_seed_nm3: Volume = None
    """Instead, the smallest volume in nm3, which means the same in every volume."""

    def candidates(self, maps: LabelMaps) -> tuple[float, ...]:
        """Powers of 4 in voxels, up to the whole volume."""
        return tuple(float(4**power) for power in range(1, 24) if 4**power < prod(maps.shape))

    def with_value(self, value: float, voxel_nm3: float | None) -> Self:
        """A size in voxels, kept in nm3 where voxels have a size."""
        if voxel_nm3 is None:
            return self.model_copy(update={"min_seed_vox": int(value)})
        return self.model_copy(update={"min_seed_vox": None, "min_seed_nm3": value * voxel_nm3})

    @property
    def unchanged(self) -> Self:
        """The step that takes all seeds."""
        return self.model_copy(update={"min_seed_vox": None, "min_seed_nm3": None})

    def large_enough(self, sizes: np.ndarray, maps: LabelMaps) -> np.ndarray:
        """bool, which seeds count.

        Args:
            sizes: Voxels of each.
            maps: Whose voxels they are.

        Raises:
            VoxelSizeError: The smallest size is in nm3 and the voxel size is not known.
        """
        if self.min_seed_nm3 is not None:
            big: np.ndarray = sizes * prod(self.require_voxel_size(maps)) >= self.min_seed_nm3
            return big
        assert self.min_seed_vox != "auto", "chosen before"
        return np.asarray(sizes >= (self.min_seed_vox or 1))


def _number(pieces: Components, number: np.ndarray, store: Store, work: Workplace, advance: Advance) -> Sequence[Box]:
    """Write the numbers of all objects down; the box around each of them, in their order."""
    count = int(number.max())
    low = np.full((count + 1, 3), np.iinfo(np.int64).max)
    high = np.zeros((count + 1, 3), np.int64)
    for block in work.blocks:
        ids = number[pieces.read(block)]
        if ids.any():
            store.write(block, ids.astype(np.uint32))
            found, places = np.unique(ids, return_inverse=True)
            own = places.reshape(ids.shape) + int(found[0] > 0)  # from 1, where 0 is no object
            numbers = found[found > 0]
            for one, slices in zip(numbers, find_objects(own), strict=True):
                start = [a + part.start for a, part in zip(block.start, slices, strict=True)]
                stop = [a + part.stop for a, part in zip(block.start, slices, strict=True)]
                low[one], high[one] = np.minimum(low[one], start), np.maximum(high[one], stop)
        advance()
    return [Box((a, b, c), (d, e, f)) for (a, b, c), (d, e, f) in zip(low[1:].tolist(), high[1:].tolist(), strict=True)]
