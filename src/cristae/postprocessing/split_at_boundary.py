"""Instances of a class: what a boundary that the network has learned keeps apart."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator
from scipy.ndimage import distance_transform_edt

from cristae.data.box import Box
from cristae.data.classes import Classes, ClassName
from cristae.data.image import Image
from cristae.metrics.components import Components, Connectivity, label_components
from cristae.postprocessing.flooding import flooded
from cristae.postprocessing.form import LabelMaps, as_word, require_one
from cristae.postprocessing.split import Inside, SeededStep
from cristae.postprocessing.workplace import Advance, Workplace


class SplitAtBoundary(SeededStep):
    """Number the objects of a class, and cut those that a boundary class runs through.

    Exclusive classes: the class and the boundary together are the objects, as with `to: interior_and_boundary`, and
    the numbers cover both; connected boundary without a voxel of the class is no object. Overlapping classes: the
    objects are the mask of the class. Seeds are the connected pieces of an object without its boundary, and a watershed
    gives each voxel of the boundary to a seed: from the least probable boundary to the most probable one where
    probabilities are kept, else from the nearest seed on. Each object is cut in its own box, so the result does not
    depend on blocks. Cutting takes 128 bytes for each voxel of the box.
    """

    reads_probabilities: ClassVar[bool] = True

    name: Literal["split_at_boundary"] = "split_at_boundary"
    boundary: Annotated[ClassName, BeforeValidator(as_word)]
    """The class of the boundary between objects."""
    boundary_above: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Where probabilities are kept, voxels of objects whose boundary is more probable than this are boundary, too: a
    lower value closes gaps in it."""
    connectivity: Literal[6, 18, 26] = 6
    """Neighbours that join voxels to one object, and to one seed: across faces (6), edges too (18), corners too (26).
    With 6, a boundary may be thin at edges and corners."""

    @model_validator(mode="after")
    def _check(self) -> SplitAtBoundary:
        require_one(self, "min_seed_vox", "min_seed_nm3", least=0)
        return self

    @property
    def bytes_per_voxel(self) -> int:
        """Of masks, distances and the queue of the watershed."""
        return 128

    @property
    def joins(self) -> Connectivity:
        """As its field says."""
        return self.connectivity

    def chosen(self, classes: Classes) -> tuple[str, ...]:
        """The classes that it is for; the boundary is none of them."""
        return tuple(name for name in super().chosen(classes) if name != self.boundary or name in self.classes)

    def problem(self, classes: Classes) -> str | None:
        """As for every step; and the boundary is another class, of the objects of one class."""
        if self.boundary not in classes.foreground:
            return f"boundary: there is no class '{self.boundary}'; there are {', '.join(classes.foreground)}"
        if self.boundary in self.classes:
            return f"classes: '{self.boundary}' is the boundary; leave it out"
        chosen = self.chosen(classes)
        if classes.exclusive and len(chosen) != 1:
            known = ", ".join(chosen) or "no other class"
            return f"classes: '{self.boundary}' is the boundary of the objects of one class, not of {known}; name one"
        return super().problem(classes)

    def inside(self, maps: LabelMaps, value: int) -> Inside:
        """Objects are the class and the boundary, or the mask of an overlapping class."""
        if not maps.classes.exclusive:
            return super().inside(maps, value)
        boundary = maps.classes.id_of(self.boundary)
        return lambda values: (values == value) | (values == boundary)

    def numbers(self, pieces: Components, image: Image, value: int, work: Workplace, advance: Advance) -> np.ndarray:
        """Boundary alone is no object."""
        own = np.zeros(pieces.count + 1, bool)
        for block in work.blocks:
            own[pieces.read(block)[image.read(block) == value]] = True
            advance()
        return np.where(own, np.cumsum(own), 0)

    def cut(self, mask: np.ndarray, box: Box, maps: LabelMaps, class_name: str) -> np.ndarray:
        """See the class."""
        boundary = self._boundary(box, maps)
        kept = maps.probabilities.get(self.boundary)
        probable = None if kept is None else kept.read(box)
        if probable is not None:
            boundary |= probable > 255 * self.boundary_above
        seeds, count = label_components(mask & ~boundary, self.connectivity)
        large = self.large_enough(np.bincount(seeds.ravel(), minlength=count + 1), maps)
        large[0] = False
        if np.count_nonzero(large) < 2:
            return mask.astype(np.int32)
        seeds = np.where(large[seeds], seeds, 0)
        if probable is None:
            size = maps.voxel_size_nm or (1.0, 1.0, 1.0)
            return flooded(distance_transform_edt(seeds == 0, sampling=size), seeds, mask, self.connectivity)
        return flooded(probable, seeds, mask, self.connectivity)

    def _boundary(self, box: Box, maps: LabelMaps) -> np.ndarray:
        """bool, where the boundary class is."""
        classes = maps.classes
        place = 0 if classes.exclusive else classes.names.index(self.boundary)
        found: np.ndarray = maps.images[place].read(box) == (classes.id_of(self.boundary) if classes.exclusive else 1)
        return found
