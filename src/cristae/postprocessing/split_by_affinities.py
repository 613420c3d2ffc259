"""Instances of a class: what affinities that the network has learned hold together."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes, ClassName
from cristae.metrics.components import Connectivity
from cristae.postprocessing.flooding import flooded
from cristae.postprocessing.form import LabelMaps, as_word, require_one
from cristae.postprocessing.offsets import EDGE_BYTES, VOXEL_BYTES, is_face_step
from cristae.postprocessing.pieces import in_order
from cristae.postprocessing.split import SeededStep

_MOST = np.iinfo(np.int32).max
"""Voxels that the mutex watershed can number."""


class SplitByAffinities(SeededStep):
    """Number the objects of a class, and cut them where affinities say that voxels do not belong together.

    A mutex watershed (Wolf et al. 2018) of the probabilities of affinities: those of one step along one axis hold
    voxels together, all longer ones keep them apart, the most certain first. Each object is cut in its own box, so the
    result does not depend on blocks. Where no step goes along z, each slice is numbered by itself. Cutting takes 128
    bytes for each voxel of the box, and 44 more for each affinity.
    """

    reads_probabilities: ClassVar[bool] = True

    name: Literal["split_by_affinities"] = "split_by_affinities"
    affinities: Annotated[dict[Annotated[ClassName, BeforeValidator(as_word)], Triple], Field(min_length=1)]
    """The classes that are affinities, each with the steps `[z, y, x]` from a voxel to its partner, as `offsets` of the
    labels has them."""
    largest_box_vox: Annotated[int, Field(gt=0, le=_MOST)] = 1 << 24
    """Objects in larger boxes are left whole, and it is said how many."""

    @model_validator(mode="after")
    def _check(self) -> SplitByAffinities:
        require_one(self, "min_seed_vox", "min_seed_nm3", least=0)
        seen: dict[Triple, str] = {}
        for name, offset in self.affinities.items():
            if not any(offset):
                raise ValueError(f"affinities: '{name}' compares a voxel with itself; leave it out")
            if offset in seen:
                raise ValueError(f"affinities: '{seen[offset]}' and '{name}' are both {[*offset]}; leave one out")
            seen[offset] = name
        if not any(map(is_face_step, seen)):
            raise ValueError(
                "affinities: none leads to the next voxel along an axis, such as [0, -1, 0], so nothing would be joined"
            )
        if all(map(is_face_step, seen)):
            raise ValueError(
                "affinities: all lead to the next voxel, so nothing would be kept apart; give one that leads farther, "
                "such as [0, -6, 0], which the network has to learn, too"
            )
        return self

    @property
    def bytes_per_voxel(self) -> int:
        """Of the mask and the clusters, and of each affinity."""
        return VOXEL_BYTES + EDGE_BYTES * len(self.affinities)

    @property
    def joins(self) -> Connectivity:
        """Across faces, as edges do."""
        along_z = any(is_face_step(offset) and offset[0] for offset in self.affinities.values())
        return 6 if along_z else 4

    def chosen(self, classes: Classes) -> tuple[str, ...]:
        """The classes that it is for; affinities are none of them."""
        return tuple(name for name in super().chosen(classes) if name not in self.affinities or name in self.classes)

    def problem(self, classes: Classes) -> str | None:
        """As for every step; and affinities are classes that overlap others."""
        for name in self.affinities:
            if name not in classes.foreground:
                return f"affinities: there is no class '{name}'; there are {', '.join(classes.foreground)}"
            if name in self.classes:
                return f"classes: '{name}' is an affinity; leave it out"
        if classes.exclusive:
            return "affinities: these classes exclude each other, so none of them is an affinity"
        if not self.chosen(classes):
            return "affinities: all classes are affinities; the objects need a class, that of the offset [0, 0, 0]"
        return super().problem(classes)

    def require_probabilities(self, maps: LabelMaps) -> None:
        """Make sure that the affinities are known.

        Raises:
            RunError: One is not.
        """
        self.require_known(tuple(self.affinities), maps)

    def cut(self, mask: np.ndarray, box: Box, maps: LabelMaps, class_name: str) -> np.ndarray:
        """See the class."""
        # Steps of one voxel first, then by their lengths: the order in which a recipe lists them does not matter.
        listed = sorted(self.affinities.items(), key=lambda one: (not is_face_step(one[1]), one[1]))
        known = [maps.probabilities[name].read(box) for name, _ in listed]
        offsets = [offset for _, offset in listed]
        from cristae.postprocessing.mutex_watershed import mutex_watershed  # compiles when it is imported

        pieces = in_order(mutex_watershed(mask, known, offsets))
        large = self.large_enough(np.bincount(pieces.ravel()), maps)
        large[0] = False
        if large[1:].all():
            return pieces
        if not large.any():
            return mask.astype(np.int32)
        apart = np.zeros(mask.shape, np.uint8)
        for affinity, offset in zip(known, offsets, strict=True):
            if is_face_step(offset):
                np.maximum(apart, 255 - affinity, out=apart)
        return flooded(apart, np.where(large[pieces], pieces, 0), mask, 6)
