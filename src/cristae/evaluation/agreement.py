"""Several segmentations of one volume aligned on their common part and counted, each with each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.data.geometry import Geometry, common_size, placement_hint
from cristae.data.image import Image, VoxelSize, check_voxel_size
from cristae.errors import ScoreError, VoxelSizeError
from cristae.evaluation.blocks import blocks_of
from cristae.evaluation.masks import mask_of, near
from cristae.evaluation.segmentation import (
    Meaning,
    Segmentation,
    SegmentationSource,
    meaning_for,
    open_segmentation,
)
from cristae.metrics.agreement import Agreement, check_participants
from cristae.metrics.agreement_counts import Cell
from cristae.progress import Progress

COMPARING = "Comparing"
"""The task of the progress while blocks are counted."""
_DEEP_VOXELS = 1 << 24
"""How large blocks may become in order to be deep."""


@dataclass(frozen=True)
class AgreementOptions:
    """How annotators and algorithms are compared. The fields are the options of `cristae agree`.

    Raises:
        ScoreError: Only one of `cell_from` and `margin_nm` is given.
        VoxelSizeError: The voxel size cannot be one.
    """

    binarize: float | None = None
    """The threshold of probability maps of one class."""
    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Classes that are merged before anything is counted: old names by new name."""
    over: Sequence[str] = ()
    """Classes, after merging, that a mean IoU of their own is taken over."""
    cell_from: str | None = None
    """A participant who labelled one cell: only voxels at most `margin_nm` from what it labels with any class but the
    background count, for all. Volume fractions are fractions of what each labels so there, which gives a cell also to
    those who do not separate cells (Guay et al. 2021)."""
    margin_nm: float | None = None
    """Needed with `cell_from`."""
    views: bool = False
    """Also show the surfaces of all on the page, side by side and from the same place."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x), where no file says it; needed only with `cell_from` or `views`."""

    def __post_init__(self) -> None:
        if (self.cell_from is None) != (self.margin_nm is None):
            raise ScoreError("a region around a cell needs both, whose cell (--cell-from) and how far (--margin-nm)")
        if self.voxel_size_nm is not None:
            check_voxel_size(self.voxel_size_nm)


@dataclass(frozen=True, eq=False)
class Panel:
    """Participants cropped to the part of the volume that all of them cover."""

    names: tuple[str, ...]
    segmentations: tuple[Segmentation, ...]
    inside: tuple[Image, ...]
    """Voxels count where none of these masks is 0."""
    first_slice: int
    """Slice of the volume that slice 0 of the images is."""
    reach_slices: int
    """How many slices away masks are read for each slice."""
    options: AgreementOptions
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x), where it is known."""

    @property
    def classes(self) -> Classes:
        """The classes of all."""
        return self.segmentations[0].classes

    def agreement(self, progress: Progress, *, counted: Agreement | None = None) -> Agreement:
        """Count every pair, block by block.

        Args:
            progress: Where to report.
            counted: What all blocks hold, counted elsewhere; None counts them here.

        Raises:
            ScoreError: An image holds something that is no class id, or nothing counts for any two.
        """
        agreement = self.count(self.blocks(), progress) if counted is None else counted
        empty = [pair.name for pair in agreement.pairs if pair.amounts[0].counted == 0]
        if len(empty) == len(agreement.pairs):
            raise ScoreError(
                "no voxel counts for any two participants: check the mask, and which slices they have labelled"
            )
        for name in empty:
            progress.warn(f"{name}: no voxel counts for both, so their scores are undefined")
        return agreement

    def nothing(self) -> Agreement:
        """Counts to which those of blocks can be added."""
        cell: Cell = "labelled" if self.options.cell_from else "mask" if self.inside else _usual_cell(self.classes)
        first = self.segmentations[0]
        return Agreement(first.volume, self.classes, self.names, cell, tuple(self.options.over))

    def count(self, blocks: Sequence[Box], progress: Progress) -> Agreement:
        """Count every pair in some blocks.

        Raises:
            ScoreError: An image holds something that is no class id.
        """
        agreement = self.nothing()
        with progress.task(COMPARING, len(blocks), unit="blocks") as task:
            for block in blocks:
                keep = None
                if self.inside:
                    keep = np.logical_and.reduce([image.read(block) != 0 for image in self.inside])
                if keep is None or keep.any():
                    self._count(agreement, block, keep)
                task.advance()
        return agreement

    def blocks(self) -> list[Box]:
        """Blocks of whole chunks; deep ones where masks look many slices around."""
        images = [image for one in self.segmentations for image in one.images]
        z, y, x = (max(image.chunks[axis] for image in images) for axis in range(3))
        deep = min(4 * self.reach_slices, images[0].shape[0], _DEEP_VOXELS // (y * x))
        return blocks_of(*images, replace(images[0], chunks=(max(z, deep), y, x)))

    def _count(self, agreement: Agreement, block: Box, keep: np.ndarray | None) -> None:
        labels = [one.read(block) for one in self.segmentations]
        valid = [None if one.valid is None else one.valid.read(block) for one in self.segmentations]
        for z in range(block.shape[0]):
            if keep is not None and not keep[z].any():
                continue
            place = self.first_slice + block.start[0] + z
            try:
                agreement.count(
                    place,
                    [[image[z] for image in one] for one in labels],
                    [None if one is None else one[z] for one in valid],
                    None if keep is None else keep[z],
                )
            except ScoreError as error:
                raise ScoreError(f"slice {place} of '{agreement.volume}': {error}") from error


def open_panel(
    participants: Mapping[str, SegmentationSource],
    meaning: Meaning,
    *,
    mask: Image | str | Path | None,
    options: AgreementOptions,
    progress: Progress,
) -> Panel:
    """Open what is compared, by name, and align it.

    Args:
        participants: What each participant has.
        meaning: What values mean; where nothing is given, a prediction among them says it for all.
        mask: Only voxels where this is not 0 count; of the common part or of the whole volume.
        options: How to compare.
        progress: Where to report how values were read.

    Raises:
        ScoreError: There are fewer than two participants, their shapes or classes differ, or values have no meaning.
        VoxelSizeError: Voxel sizes differ, or none is known although `options.cell_from` needs one.
        CristaeError: A file is missing or cannot be used.
    """
    names = tuple(participants)
    check_participants(names)
    if options.cell_from is not None and options.cell_from not in names:
        raise ScoreError(
            f"there is no participant '{options.cell_from}' to take the cell from; there are {', '.join(names)}"
        )
    if meaning.recipe is not None and meaning.threshold is not None:
        raise ScoreError("a recipe and a threshold say different things about the values; give one of them")
    opened = _opened(participants, meaning, progress)
    common, boxes = common_part(dict(zip(names, opened, strict=True)))
    inside = [] if mask is None else [_mask_on(common, mask, opened[0])]
    places = [one.geometry(f"'{name}'").crop(box) for name, one, box in zip(names, opened, boxes, strict=True)]
    places += [Geometry.of(image, "the mask") for image in inside]
    size = common_size(places, options.voxel_size_nm, progress)
    reach = 0
    if options.cell_from is not None and opened[0].classes.empty_id is None:
        raise ScoreError(
            f"the classes {opened[0].classes.listed} do not show where the cell of '{options.cell_from}' ends; give "
            "the region as a mask (--mask)"
        )
    if options.cell_from is not None and options.margin_nm is not None:
        place = names.index(options.cell_from)
        inside.append(_region(options.cell_from, opened[place], options.margin_nm, size).crop(boxes[place]))
        reach = int(options.margin_nm / size[0]) if size is not None else 0
    cropped = [one.crop(box).merge(options.merge) for one, box in zip(opened, boxes, strict=True)]
    if options.views and size is None:
        raise VoxelSizeError(
            "surfaces need the voxel size, which is in none of the files; give it with --voxel-size-nm Z Y X"
        )
    return Panel(names, tuple(cropped), tuple(inside), common.start[0], reach, options, size)


def common_part(segmentations: Mapping[str, Segmentation]) -> tuple[Box, tuple[Box, ...]]:
    """The part of the volume that all cover.

    Returns:
        The part, counted in the volume, and the same counted in each segmentation.

    Raises:
        ScoreError: They are not of one volume, or have no part in common.
    """
    every = list(segmentations.values())
    if len({one.volume_shape for one in every}) == 1:
        common = every[0].box
        for one in every[1:]:
            common = common.intersect(one.box)
        if common.size == 0:
            raise ScoreError(f"the participants cover no common part of the volume: {_listed(segmentations)}")
        return common, tuple(common.relative_to(one.box.start) for one in every)
    parts = {(one.part, one.whole_shape) for one in every if one.part is not None}
    if len({one.shape for one in every}) == 1 and len(parts) <= 1:
        common = next((part for part, _ in parts if part is not None), every[0].box)
        return common, (Box.of_shape(common.shape),) * len(every)
    raise ScoreError(
        f"the participants have different shapes (z, y, x): {_listed(segmentations)}. Compare labels of one volume."
        + next(filter(None, (placement_hint(every[0].geometry(""), one.geometry("")) for one in every[1:])), "")
    )


def _opened(participants: Mapping[str, SegmentationSource], meaning: Meaning, progress: Progress) -> list[Segmentation]:
    meaning = meaning_for(list(participants.values()), meaning)
    found = []
    for name, source in participants.items():
        try:
            one = open_segmentation(source, meaning, progress=progress)
        except ScoreError as error:
            raise ScoreError(f"'{name}': {error}") from error
        found.append(one)
    return found


def _usual_cell(classes: Classes) -> Cell:
    """With several classes those but the background make up the cell; one class alone has no cell around it.

    Without a background all voxels that count belong to the cell.
    """
    return "labelled" if classes.background_name is not None and len(classes.foreground) > 1 else "counted"


def _mask_on(common: Box, mask: Image | str | Path, first: Segmentation) -> Image:
    """The mask on the common part, which it may cover alone or with the rest of the volume."""
    image = mask_of(mask if isinstance(mask, Image) else open_image(mask))
    if image.shape == common.shape:
        return image
    if image.shape == first.volume_shape:
        return replace(image.crop(common), origin_nm=Geometry.of(image, "").crop(common).origin_nm)
    raise ScoreError(f"the mask {image.path} has shape {image.shape}, what is compared {common.shape} (z, y, x)")


def _region(name: str, one: Segmentation, margin_nm: float, voxel_size_nm: VoxelSize | None) -> Image:
    if voxel_size_nm is None:
        raise VoxelSizeError(
            f"the region around the cell of '{name}' needs the voxel size, which is in none of the files; give it with "
            "--voxel-size-nm Z Y X"
        )
    return near(one.foreground(), margin_nm, voxel_size_nm)


def _listed(segmentations: Mapping[str, Segmentation]) -> str:
    texts = []
    for name, one in segmentations.items():
        part = "" if one.part is None else f" (box {one.part} of a volume of {one.whole_shape})"
        texts.append(f"'{name}' {one.shape}{part}")
    return ", ".join(texts)
