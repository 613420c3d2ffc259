"""Compare annotators and algorithms with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.files import require_new_file, write_together
from cristae.data.formats import open_image
from cristae.data.image import Image, VoxelSize
from cristae.errors import ScoreError, VoxelSizeError
from cristae.evaluation.cells import near
from cristae.evaluation.comparison import agreed_voxel_size, blocks_of
from cristae.evaluation.masks import mask_of
from cristae.evaluation.participants import (
    Participant,
    Source,
    lay_together,
    open_participants,
)
from cristae.metrics.agreement import Agreement, Cell, check_participants
from cristae.metrics.agreement_scores import confusions_csv
from cristae.metrics.merging import merge_classes, merge_images
from cristae.metrics.score import score_paths, scores_csv, scores_json
from cristae.progress import Progress

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe

_DEEP_VOXELS = 1 << 24
"""How large blocks may become in order to be deep."""


def agree(
    participants: Mapping[str, Source],
    *,
    classes: Classes | None = None,
    recipe: Recipe | None = None,
    binarize: float | None = None,
    merge: Mapping[str, Sequence[str]] | None = None,
    over: Sequence[str] = (),
    mask: Image | str | Path | None = None,
    cell_from: str | None = None,
    margin_nm: float | None = None,
    voxel_size_nm: VoxelSize | None = None,
    out: str | Path | None = None,
    progress: Progress = Progress(),
) -> Agreement:
    """Compare any number of annotators and algorithms, each with each.

    All are read once, block by block, and the one named by `cell_from` once more. Voxels that are not valid for one of
    two do not count for that pair.

    Args:
        participants: What each has, by name: predictions, volumes with labels, images of class ids, or paths.
        classes: What ids mean; None takes the classes of a prediction, or those of the recipe.
        recipe: Says which label values stand for which class.
        binarize: Instead of both, the threshold of grey maps of one class.
        merge: Classes to be taken together, old names by new name.
        over: Classes, after merging, that a mean IoU of their own is taken over.
        mask: Only voxels where this is not 0 count. Volume fractions are shares of it.
        cell_from: A participant who labelled one cell: only voxels at most `margin_nm` from what it labels with any
            class but the background count, for all. Volume fractions are shares of what each labels so there, which
            gives a cell also to those who do not separate cells (Guay et al. 2021).
        margin_nm: Needed with `cell_from`.
        voxel_size_nm: (z, y, x), where no file says it; needed only with `cell_from`.
        out: Also write the scores here, as .csv and .json, with the confusions and a page beside them.
        progress: Where to show how far it is.

    Returns:
        The counts of every pair; its `scores()` are the rows of the table.

    Raises:
        ScoreError: There are fewer than two participants, their shapes or classes differ, or nothing counts.
        VoxelSizeError: Voxel sizes differ, or none is known although `cell_from` needs one.
        CristaeError: A file is missing or not usable, or there are scores at `out` already.

    Example:
        >>> from cristae import Classes, image_of_array
        >>> import numpy as np
        >>> anna, bert = (image_of_array(np.array([ids])) for ids in ([0, 0, 1, 1], [0, 1, 1, 1]))
        >>> agreement = agree({"anna": anna, "bert": bert}, classes=Classes(names=("background", "mito")))
        >>> agreement.pair("anna", "bert").tables[0].counts
        array([[1, 1],
               [0, 2]])
    """
    _check_out(out)
    check_participants(tuple(participants))
    _check_cell(cell_from, margin_nm, tuple(participants))
    known, opened = open_participants(
        participants, classes=classes, recipe=recipe, threshold=binarize, progress=progress
    )
    if cell_from is not None and not known.background:
        raise ScoreError(
            f"the classes {known.listed} do not say where the cell of '{cell_from}' ends; give the region as --mask"
        )
    said = {f"'{one.name}'": one.voxel_size_nm for one in opened}
    size = agreed_voxel_size(said, voxel_size_nm, flat=opened[0].shape[0] == 1)
    common, boxes = lay_together(opened)
    inside = [] if mask is None else [_mask_of(mask, common, opened[0])]
    if cell_from is not None and margin_nm is not None:
        place = tuple(participants).index(cell_from)
        inside.append(_region(opened[place], margin_nm, size).crop(boxes[place]))
    laid = [one.crop(box) for one, box in zip(opened, boxes, strict=True)]
    if merge:
        known, lookup = merge_classes(known, merge)
        exclusive = known.exclusive
        laid = [replace(one, labels=merge_images(one.labels, lookup, exclusive=exclusive)) for one in laid]
    cell: Cell = "labelled" if cell_from else "mask" if mask is not None else _usual_cell(known)
    agreement = Agreement(opened[0].volume, known, tuple(participants), cell, tuple(over))
    reach = int(margin_nm / size[0]) if margin_nm is not None and size is not None else 0
    _count(agreement, laid, inside, _blocks(laid, reach), common.start[0], progress)
    if out is not None:
        _write(agreement, Path(out))
    return agreement


def _usual_cell(classes: Classes) -> Cell:
    """With several classes those but the background make up the cell; one class alone has no cell around it.

    Without a background every voxel that counts belongs to the cell.
    """
    return "labelled" if classes.background_name is not None and len(classes.foreground) > 1 else "counted"


def _check_cell(cell_from: str | None, margin_nm: float | None, names: Sequence[str]) -> None:
    if (cell_from is None) != (margin_nm is None):
        raise ScoreError("a region round a cell needs both, whose cell it is (--cell-from) and how far (--margin-nm)")
    if cell_from is not None and cell_from not in names:
        raise ScoreError(f"there is no participant '{cell_from}' to take the cell from; there are {', '.join(names)}")


def _mask_of(mask: Image | str | Path, common: Box, first: Participant) -> Image:
    """The mask on the common part, which it may cover alone or with the rest of the volume."""
    image = mask_of(mask if isinstance(mask, Image) else open_image(mask))
    if image.shape == common.shape:
        return image
    if image.shape == first.volume_shape:
        return image.crop(common)
    raise ScoreError(f"the mask {image.path} has shape {image.shape}, what is compared {common.shape} (z, y, x)")


def _region(participant: Participant, margin_nm: float, voxel_size_nm: VoxelSize | None) -> Image:
    if voxel_size_nm is None:
        raise VoxelSizeError(
            f"the region round the cell of '{participant.name}' needs the voxel size, which no file says; give it with "
            "--voxel-size-nm Z Y X"
        )
    return near(participant.cell(), margin_nm, voxel_size_nm)


def _blocks(participants: Sequence[Participant], reach: int) -> list[Box]:
    """Blocks of whole chunks; deep ones where slices up to `reach` away are looked at for each of them."""
    images = [image for one in participants for image in one.labels]
    z, y, x = (max(image.chunks[axis] for image in images) for axis in range(3))
    deep = min(4 * reach, images[0].shape[0], _DEEP_VOXELS // (y * x))
    return blocks_of(*images, replace(images[0], chunks=(max(z, deep), y, x)))


def _count(
    agreement: Agreement,
    participants: Sequence[Participant],
    inside: Sequence[Image],
    blocks: Sequence[Box],
    first_slice: int,
    progress: Progress,
) -> None:
    with progress.task("Comparing", len(blocks), unit="blocks") as task:
        for block in blocks:
            keep = None
            if inside:
                keep = np.logical_and.reduce([image.read(block) != 0 for image in inside])
            if keep is None or keep.any():
                _count_block(agreement, participants, block, keep, first_slice)
            task.advance()
    empty = [pair.name for pair in agreement.pairs if pair.amounts[0].counted == 0]
    if len(empty) == len(agreement.pairs):
        raise ScoreError(
            "no voxel counts for any two participants: check the mask, and which slices they have labelled"
        )
    for name in empty:
        progress.warn(f"{name}: no voxel counts for both, so their scores are undefined")


def _count_block(
    agreement: Agreement,
    participants: Sequence[Participant],
    block: Box,
    keep: np.ndarray | None,
    first_slice: int,
) -> None:
    labels = [[image.read(block) for image in one.labels] for one in participants]
    valid = [None if one.valid is None else one.valid.read(block) for one in participants]
    for z in range(block.shape[0]):
        if keep is not None and not keep[z].any():
            continue
        place = first_slice + block.start[0] + z
        try:
            agreement.count(
                place,
                [[image[z] for image in one] for one in labels],
                [None if one is None else one[z] for one in valid],
                None if keep is None else keep[z],
            )
        except ScoreError as error:
            raise ScoreError(f"slice {place} of '{agreement.volume}': {error}") from error


def _outputs(out: Path) -> tuple[Path, Path]:
    """The table of confusions and the page that belong to a table of scores."""
    return out.with_name(f"{out.stem}.confusions.csv"), out.with_name(f"{out.stem}-report.html")


def _check_out(out: str | Path | None) -> None:
    if out is not None:
        for path in (*score_paths(Path(out)), *_outputs(Path(out))):
            require_new_file(path, what="the scores")


def _write(agreement: Agreement, out: Path) -> None:
    from cristae.report.agreement_page import agreement_page

    confusions, page = _outputs(out)
    table, document = score_paths(out)
    scores = agreement.scores()
    contents = {
        table: scores_csv(scores),
        document: scores_json(scores),
        confusions: confusions_csv(agreement),
        page: agreement_page(out.stem, agreement),
    }
    write_together({path: text.encode() for path, text in contents.items()})
