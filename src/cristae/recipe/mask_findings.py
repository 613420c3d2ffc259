"""Several masks, one for each class, as they were found: whether they overlap, and which slices they have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cristae.data.box import Box
from cristae.data.description import Match
from cristae.data.label_evidence import Place
from cristae.data.values import Context, packed_colors, whole_numbers
from cristae.errors import LabelError
from cristae.recipe.touching import slice_of

_SLICES = 8


@dataclass(frozen=True, eq=False)
class MaskFinding:
    """The mask of one class."""

    name: str
    path: str
    match: Match
    kind: Literal["numbers", "colors"]
    inside: str
    """Which values mean inside, as a recipe says it."""
    ranges: tuple[tuple[int, int], ...]
    """The same as inclusive ranges."""
    share: float
    counts: Mapping[int, int]
    """Voxels inside in each labelled slice (or image); 0 in those that were not looked at."""
    places: Sequence[Place]
    complete: bool
    questions: tuple[str, ...] = ()

    def area(self, place: Place) -> np.ndarray:
        """Where a slice's middle is inside, bool (Y, X)."""
        _, file, z = place
        rows, columns = (slice_of(side) for side in file.shape[1:])
        voxels = file.read(Box((z, rows.start, columns.start), (z + 1, rows.stop, columns.stop)))
        context = Context(str(file.path), "")
        read = packed_colors if self.kind == "colors" else whole_numbers
        values = read(voxels, file, context)[0]
        inside = [(values >= low) & (values <= high) for low, high in self.ranges]
        union: np.ndarray = np.logical_or.reduce(inside)
        return union


@dataclass(frozen=True, eq=False)
class MaskFindings:
    """All masks of an image together."""

    masks: tuple[MaskFinding, ...]
    overlap: float
    """Part of the voxels in any mask that are in several, of those that were looked at."""
    labelled: tuple[int, ...]
    """Slices (or images) for which every class has a mask."""
    slices: tuple[int, ...] | None = None
    """The image slices that the mask slices belong to, where the user had to say so."""
    profiles: None = None

    @property
    def overlapping(self) -> bool:
        """Whether a voxel can have several classes."""
        return self.overlap > 0

    @property
    def about_overlap(self) -> str:
        """How much they do."""
        return f"{self.overlap:.2%} of the voxels in any mask are in several, so classes may overlap"

    @property
    def complete(self) -> bool:
        """Whether every labelled slice was looked at."""
        return all(mask.complete for mask in self.masks)

    @property
    def foreground(self) -> tuple[str, ...]:
        """The classes, in the order of the masks."""
        return tuple(mask.name for mask in self.masks)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The background first, unless classes overlap."""
        return self.foreground if self.overlapping else ("background", *self.foreground)

    @property
    def counts(self) -> np.ndarray:
        """(labelled, classes) voxels in each labelled slice; 0 in those that were not looked at."""
        rows = [[mask.counts.get(number, 0) for mask in self.masks] for number in self.labelled]
        return np.array(rows, np.int64).reshape(len(self.labelled), -1)

    @property
    def filled(self) -> tuple[int, ...]:
        """Labelled slices (or images) in which a class was seen."""
        return tuple(self.labelled[place] for place in np.flatnonzero(self.counts.any(axis=1)).tolist())


def combine_masks(masks: Sequence[MaskFinding], slices: tuple[int, ...] | None) -> MaskFindings:
    """Compare masks with each other.

    Args:
        masks: One for each class.
        slices: The image slices that their slices belong to, where the user had to say so.

    Raises:
        LabelError: No slice has a mask of each class, or a class is called background.
    """
    if taken := [mask.name for mask in masks if mask.name == "background"]:
        raise LabelError(f"--mask {taken[0]}=...: the background is what lies in no mask; leave it out")
    by_number = [{number: (number, file, z) for number, file, z in mask.places} for mask in masks]
    common = sorted(set.intersection(*(set(places) for places in by_number)))
    if not common:
        raise LabelError(f"no slice has a mask of each of {', '.join(mask.name for mask in masks)}; give masks that do")
    several = inside = 0
    for place in np.unique(np.linspace(0, len(common) - 1, min(_SLICES, len(common))).round().astype(int)):
        areas = [mask.area(found[common[int(place)]]) for mask, found in zip(masks, by_number, strict=True)]
        how_many = np.sum(areas, axis=0)
        several, inside = several + int((how_many > 1).sum()), inside + int((how_many > 0).sum())
    return MaskFindings(tuple(masks), several / max(inside, 1), tuple(common), slices)
