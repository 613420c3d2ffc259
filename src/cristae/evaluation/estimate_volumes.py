"""Volumes opened, counted slice by slice and turned into the populations that are estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cristae.data.address import place_of
from cristae.data.classes import Classes
from cristae.data.formats.paths import split_options
from cristae.data.image import Image
from cristae.errors import CristaeError, ScoreError, VoxelSizeError
from cristae.evaluation.blocks import blocks_of
from cristae.evaluation.comparison import Comparison
from cristae.evaluation.estimate_options import EstimateOptions, Whole
from cristae.evaluation.estimate_parts import Labelled, images_part, part_of
from cristae.evaluation.estimate_rows import Estimation
from cristae.evaluation.estimation import PartAmounts, Wanted, estimate_classes
from cristae.evaluation.object_boxes import Measure, count_in_boxes
from cristae.evaluation.scoring.evaluation import open_evaluations
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.evaluation.segmentation import Meaning, SegmentationSource
from cristae.evaluation.slice_amounts import Amounts, amounts_of
from cristae.evaluation.trained_slices import (
    check_runs,
    earlier_recipes,
    held_out_slices,
    made_by,
    trained_slices,
    trained_volumes,
)
from cristae.inference.prediction import Prediction, is_prediction, open_prediction
from cristae.progress import Progress

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe
    from cristae.recipe.run import Run

_FEW = 10
"""Labelled units below which the simulations say nothing."""
_BLANK = 0.5
"""With more slices than this share that are nothing but background, a truth looks as if they were not labelled."""


@dataclass(frozen=True)
class VolumeSource:
    """What is known of one volume."""

    prediction: SegmentationSource
    truth: SegmentationSource
    cell: Image | str | Path | None = None


@dataclass(frozen=True)
class Training:
    """Where it stands what the network was trained on."""

    runs: Sequence[Run] = ()
    recipe: Recipe | None = None


def estimate_volumes(
    sources: Sequence[VolumeSource],
    meaning: Meaning,
    options: EstimateOptions,
    training: Training,
    progress: Progress,
) -> Estimation:
    """Count all volumes and estimate their classes.

    Raises:
        ScoreError: The labels are no sample that intervals can be made of, or truth and prediction do not fit together.
        CristaeError: A file is missing or damaged.
    """
    whole: Whole = options.of or ("volume" if sources[0].cell is None else "cell")
    _check(sources, whole, options)
    found: list[Labelled] = []
    classes: Classes | None = None
    sized: set[bool] = set()
    for source in sources:
        for comparison in _comparisons(source, meaning, options, progress):
            if classes is not None and classes.scheme != comparison.truth.classes.scheme:
                raise ScoreError(
                    f"volume '{comparison.volume}': has the classes {comparison.truth.classes.listed}, another volume "
                    f"{classes.listed}; estimate volumes of the same classes together"
                )
            classes = comparison.truth.classes
            sized.add(comparison.voxel_size_nm is not None)
            found.append(_labelled(source, comparison, whole, options, training, progress))
    assert classes is not None, "there is at least one volume"
    if whole == "foreground" and classes.empty_id is None:
        raise ScoreError(
            f"the classes {classes.listed} have no background, so all voxels are foreground; leave --of out"
        )
    parts, unit = _populations(found, whole, options, progress)
    if len(sized) > 1:
        raise VoxelSizeError("some volumes have no voxel size, so they do not add up; give --voxel-size-nm Z Y X")
    total = None if whole == "foreground" else "volume_um3" if sized == {True} else "volume_vox"
    half = None if options.half_width_percent is None else options.half_width_percent / 100
    rows = estimate_classes(parts, Wanted(classes.foreground, f"fraction_of_{whole}", total, half))
    notes = _notes(parts[0].sample.design, options, sum(part.sample.n for part in parts))
    return Estimation(rows, unit, notes)


def estimate_objects(
    source: VolumeSource,
    meaning: Meaning,
    options: EstimateOptions,
    training: Training,
    measure: Measure,
    progress: Progress,
) -> Estimation:
    """Numbers and sizes of objects from labelled boxes of one volume.

    Raises:
        ScoreError: Boxes are of no grid or not labelled, there are several volumes or a mask, which have no effect.
        CristaeError: A file is missing or damaged, or the voxel size is not known.
    """
    if source.cell is not None:
        raise ScoreError("a mask of the cell has no effect on objects in boxes; leave out --cell, or --box")
    comparisons = _comparisons(source, meaning, options, progress)
    if len(comparisons) > 1:
        raise ScoreError("boxes are of one volume, and these are unrelated images")
    (comparison,) = comparisons
    trained = _trained(source, comparison, options, training, progress)
    counted = count_in_boxes(
        comparison, options.box, trained=trained, guard_nm=options.guard_nm, measure=measure, progress=progress
    )
    n = counted.sample.n
    few = () if n >= _FEW else (_few(n),)
    return Estimation(counted.rows(), "box", ("design random: boxes of those that fill the volume, by chance", *few))


def _populations(
    found: Sequence[Labelled], whole: Whole, options: EstimateOptions, progress: Progress
) -> tuple[list[PartAmounts], str]:
    """Unrelated images as one population, each volume as its own; and what a unit is."""
    if len(found) > 1 and all(len(one.amounts.slices) == 1 for one in found):
        if options.design not in (None, "random"):
            raise ScoreError(f"unrelated images have no order, so their design is random, not {options.design}")
        return [images_part(found, whole)], "image"
    made = [part_of(one, whole, progress) for one in found]
    if len({(part.sample.design, unit) for part, unit in made}) > 1:
        raise ScoreError(
            "the volumes were labelled by different designs (random, systematic, slabs); say the one that holds for "
            "all by --design, or estimate them one by one"
        )
    return [part for part, _ in made], made[0][1]


def _check(sources: Sequence[VolumeSource], whole: Whole, options: EstimateOptions) -> None:
    masked = [source.cell is not None for source in sources]
    if whole == "cell" and not all(masked):
        raise ScoreError("fractions of the cell need a mask of it for each volume (--cell)")
    if whole != "cell" and any(masked):
        raise ScoreError(f"a mask of the cell has no effect on fractions of the {whole}; leave it or --of out")
    if len(sources) > 1 and (options.slices is not None or options.trained not in (None, "none")):
        raise ScoreError("slices are numbers in one volume; with several, let the labels say which slices they are of")


def _comparisons(
    source: VolumeSource, meaning: Meaning, options: EstimateOptions, progress: Progress
) -> Sequence[Comparison]:
    how = ScoreOptions(binarize=options.binarize, merge=options.merge, voxel_size_nm=options.voxel_size_nm)
    opened = open_evaluations(
        {"prediction": source.prediction}, source.truth, meaning, mask=source.cell, options=how, progress=progress
    )
    return opened[0].comparisons


def _labelled(
    source: VolumeSource,
    comparison: Comparison,
    whole: Whole,
    options: EstimateOptions,
    training: Training,
    progress: Progress,
) -> Labelled:
    depth, first = comparison.shape[0], comparison.first_slice
    chosen = options.labelled
    for text, slices in (("--slices", chosen), ("--trained", options.trained_on)):
        if beyond := [z for z in slices or () if not first <= z < first + depth]:
            raise ScoreError(
                f"{text}: slice {beyond[0]} is not among the predicted slices {first} to {first + depth - 1} of "
                f"'{comparison.volume}'"
            )
    trained = _trained(source, comparison, options, training, progress)
    counted = chosen
    if chosen is not None and options.trained_on is None:  # what a network learned from is labelled, said or not
        counted = tuple({*chosen, *trained})
    with progress.task("Counting voxels", len(blocks_of(*comparison.images)), unit="blocks") as task:
        amounts = amounts_of(comparison, of=whole, labelled=counted, advance=task.advance)
    if chosen is not None and (amounts.labelled[np.isin(amounts.slices, chosen)] == 0).any():
        lone = amounts.slices[np.isin(amounts.slices, chosen) & (amounts.labelled == 0) & (amounts.size > 0)]
        if len(lone):
            raise ScoreError(f"--slices: slice {lone[0]} of '{comparison.volume}' has no labels in the truth")
    _warn_of_blank(comparison.volume, amounts, options, progress)
    return Labelled(comparison.volume, amounts, trained, options.design)


def _warn_of_blank(volume: str, amounts: Amounts, options: EstimateOptions, progress: Progress) -> None:
    """Warn where slices seem to be taken for labelled that are not."""
    known = amounts.labelled > 0
    blank = np.count_nonzero(known & (amounts.truth.sum(axis=1) == 0) & (amounts.predicted.sum(axis=1) > 0))
    if options.slices is None and blank > _BLANK * np.count_nonzero(known):
        progress.warn(
            f"volume '{volume}': {blank} of {np.count_nonzero(known)} slices that count as labelled are nothing but "
            "background, where the prediction finds something; if they were not labelled, say which were with --slices"
        )


def _trained(
    source: VolumeSource, comparison: Comparison, options: EstimateOptions, training: Training, progress: Progress
) -> frozenset[int]:
    """Slices whose labels the network has seen; warns where nobody knows."""
    if options.trained_on is not None:
        return options.trained_on
    prediction = _prediction(source.prediction)
    unseen: frozenset[int] = frozenset()
    if prediction is not None:
        unseen = held_out_slices(prediction.attributes, prediction.volume_shape)
    labels = comparison.truth.labels
    if training.runs:
        if prediction is not None:
            check_runs(prediction.attributes, training.runs)
        seen = _seen_by(training.runs, comparison, progress)
        if not seen and comparison.truth.volume_shape[0] > 1:
            _warn_of_copies(training.runs, comparison, progress)
        return seen - unseen
    if prediction is not None and training.recipe is not None and training.recipe.data.train:
        seen = trained_slices(training.recipe, labels)
        if seen or made_by(prediction.attributes, training.recipe):
            return seen - unseen
    covered = range(comparison.first_slice, comparison.first_slice + comparison.shape[0])
    if not unseen.issuperset(covered):
        progress.warn(
            f"volume '{comparison.volume}': nothing says which slices the network was trained on. Labels that it has "
            "seen make its error look smaller than it is: name its run (--run), the slices (--trained), or say "
            "--trained none"
        )
    return frozenset()


def _seen_by(runs: Sequence[Run], comparison: Comparison, progress: Progress) -> frozenset[int]:
    """Slices that runs, and those whose weights they started from, were trained on."""
    labels = comparison.truth.labels
    seen = set[int]().union(*(trained_slices(run.recipe, labels) for run in runs))
    for run in runs:
        for recipe in earlier_recipes(run):
            try:
                seen |= trained_slices(recipe, labels)
            except CristaeError as error:
                progress.warn(
                    f"{run.path}: the data of '{recipe.name}', whose weights it started from, cannot be opened "
                    f"({error}); if it was trained on slices that are labelled here, name all of these with --trained"
                )
    return frozenset(seen)


def _warn_of_copies(runs: Sequence[Run], comparison: Comparison, progress: Progress) -> None:
    """Warn where the truth may be other files of a volume that was trained on."""
    alike = {name for run in runs for name in trained_volumes(run.recipe, comparison.truth.volume_shape)}
    if alike:
        progress.warn(
            f"volume '{comparison.volume}': its labels are other files than the network was trained with, but it was "
            f"trained on a volume of the same shape ({', '.join(sorted(alike))}). If it is the same, say which slices "
            "were trained on with --trained, or --trained none if it is not"
        )


def _prediction(source: SegmentationSource) -> Prediction | None:
    if isinstance(source, Prediction):
        return source
    if not isinstance(source, str | Path):
        return None
    path = place_of(split_options(source)[0])
    return open_prediction(path) if is_prediction(path) else None


def _notes(design: str, options: EstimateOptions, n: int) -> tuple[str, ...]:
    how = {
        "random": "any slices, chosen by chance",
        "systematic": "evenly spaced slices from a random start; with correlated neighbours the interval is too wide",
        "stratified": "two slices by chance from each of equal parts",
    }[design]
    stated = "as stated" if options.design is not None else "as recognised; --design says otherwise"
    notes = [f"design {design} ({how}), {stated}"]
    if n < _FEW:
        notes.append(_few(n))
    return tuple(notes)


def _few(n: int) -> str:
    return f"{n} labelled units: below {_FEW}, intervals are less sure than they look"
