"""Estimate organelle fractions, volumes and other totals, with intervals, from few labels and a prediction of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.analysis.config import AnalysisOptions
from cristae.analysis.tables import ObjectSize
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.files import require_new_file, write_together
from cristae.data.formats import open_image
from cristae.data.image import Image
from cristae.data.volume import Volume
from cristae.errors import ScoreError
from cristae.evaluation.estimate_options import EstimateOptions
from cristae.evaluation.estimate_rows import Estimation, estimates_csv, estimates_json
from cristae.evaluation.estimate_volumes import Training, VolumeSource, estimate_objects, estimate_volumes
from cristae.evaluation.object_boxes import Measure, plan_boxes
from cristae.evaluation.segmentation import Meaning, SegmentationSource
from cristae.evaluation.unit_estimates import estimate_table
from cristae.metrics.score import score_paths
from cristae.metrics.uncertainty.designs import Design, plan_units
from cristae.progress import Progress
from cristae.recipe.ensemble_file import RunEnsemble, flat_members
from cristae.recipe.run import Run
from cristae.workflows.analyze import analyze

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe

Sources = SegmentationSource | Sequence[SegmentationSource]


def estimate(
    prediction: Sources,
    truth: Sources | None = None,
    options: EstimateOptions = EstimateOptions(),
    *,
    recipe: Recipe | None = None,
    classes: Classes | None = None,
    cell: Image | str | Path | Sequence[Image | str | Path] | None = None,
    run: Run | RunEnsemble | str | Path | Sequence[Run | RunEnsemble | str | Path] = (),
    out: str | Path | None = None,
    progress: Progress = Progress(),
) -> Estimation:
    """Estimate how much of each class there is: prediction everywhere, corrected by labels of some slices.

    Args:
        prediction: A prediction or label file of a whole volume, or several of several volumes; or a table of units
            (.csv) with the columns unit, predicted and truth.
        truth: Labels of some slices of each volume, in the order of the predictions.
        options: What is estimated.
        recipe: The meaning of the values of label files; its training regions are not used to correct the prediction.
        classes: The meaning of class ids that are not a prediction's.
        cell: Masks of the cells that fractions are of, one for each volume.
        run: The runs that made the prediction, or the ensemble or study folder of them: labels that they were trained
            on are not used to correct it.
        out: Also write the estimates here, as .csv and .json.
        progress: Where to show progress.

    Returns:
        For each class the corrected estimate, the labels alone and the prediction alone, with intervals and reasons.

    Raises:
        ScoreError: The labels are no sample that intervals can be made of, or files do not fit together.
        RunError: The prediction was made by another run.
        OutputExistsError: There are estimates at `out` already.
        CristaeError: A file is missing or damaged.

    Example:
        >>> found = estimate("cell.zarr", "labels.tif", recipe=recipe, cell="cell-mask.tif")  # doctest: +SKIP
        >>> print(found.sentences[0])  # doctest: +SKIP
        mitochondria: 8.1 ± 0.6 % of the cell (95 % interval 7.5 to 8.8; ...)
    """
    if out is not None:
        for path in score_paths(Path(out)):
            require_new_file(path, what="the estimates")
    predictions: list[SegmentationSource] = _several(prediction)
    truths: list[SegmentationSource] = _several(truth)
    if _is_table(predictions):
        found = _of_table(predictions, truths, options, recipe, cell, run)
    else:
        cells: list[Image | str | Path] = _several(cell)
        given: list[Run | RunEnsemble | str | Path] = _several(run)
        sources = _paired(predictions, truths, cells)
        runs = [member.run for member in flat_members(given)]
        meaning = Meaning(classes, recipe, options.binarize)
        training = Training(runs, recipe)
        if options.box:
            if len(sources) > 1:
                raise ScoreError("boxes are places in one volume; estimate several one by one (--box)")
            found = estimate_objects(sources[0], meaning, options, training, _measure(options), progress)
        else:
            found = estimate_volumes(sources, meaning, options, training, progress)
    if out is not None:
        table, document = score_paths(Path(out))
        write_together({table: estimates_csv(found.rows).encode(), document: estimates_json(found).encode()})
        found = replace(found, path=table)
    return found


def plan_slices(
    volume: Image | Volume | str | Path, n: int, *, design: Design = "systematic", seed: int = 0
) -> tuple[int, ...]:
    """Which slices of a volume to label, so that they say something of the whole. See `plan_label_boxes` for objects.

    Args:
        volume: Any image or volume; only its number of slices matters.
        n: Slices to label.
        design: `systematic` (evenly spaced from a random start), `random`, or `stratified` (two by chance from each of
            n / 2 equal parts).
        seed: The same seed plans the same slices.

    Returns:
        Slice numbers from 0, rising.

    Raises:
        ScoreError: There are not so many slices, or a number that the design cannot have.
        CristaeError: The file is missing or damaged.
    """
    return plan_units(_shape(volume)[0], n, design, seed=seed)


def plan_label_boxes(volume: Image | Volume | str | Path, n: int, *, box_vox: Triple, seed: int = 0) -> tuple[Box, ...]:
    """Which boxes of a volume to label in 3D, by chance, so that numbers and sizes of objects can be estimated.

    Args:
        volume: Any image or volume; only its shape matters.
        n: Boxes to label.
        box_vox: Their edges in voxels (z, y, x); boxes fill the volume, and those at its far ends may be smaller.
        seed: The same seed plans the same boxes.

    Raises:
        ScoreError: There are not so many boxes, or they have no voxels.
        CristaeError: The file is missing or damaged.
    """
    return plan_boxes(_shape(volume), box_vox, n, seed=seed)


def _shape(volume: Image | Volume | str | Path) -> Triple:
    image = open_image(volume) if isinstance(volume, str | Path) else volume
    return image.image.shape if isinstance(image, Volume) else image.shape


def _measure(options: EstimateOptions) -> Measure:
    """Finds objects as `analyze` does."""
    settings = AnalysisOptions(min_um3=options.min_um3)

    def measure(volume: Volume, classes: Classes) -> Sequence[ObjectSize]:
        return analyze(volume, settings, classes=classes).objects

    return measure


def _several(given: Any) -> list[Any]:
    """One thing or several as a list; text is one thing."""
    if given is None:
        return []
    return [*given] if isinstance(given, list | tuple) else [given]


def _is_table(predictions: Sequence[SegmentationSource]) -> bool:
    return any(isinstance(one, str | Path) and str(one).lower().endswith(".csv") for one in predictions)


def _of_table(
    predictions: Sequence[SegmentationSource],
    truths: Sequence[SegmentationSource],
    options: EstimateOptions,
    recipe: object,
    cell: object,
    run: object,
) -> Estimation:
    unused = truths or recipe is not None or cell is not None or run not in ((), [])
    if unused or replace(options, design=None) != EstimateOptions() or len(predictions) > 1:
        raise ScoreError(
            "a table of units says all itself: give one table alone, with --design, --out and --json if wanted; its "
            "column `truth` must hold units that the network was not trained on"
        )
    table = predictions[0]
    assert isinstance(table, str | Path)
    note = "the truth of units that the network was trained on must be left empty: nothing here says which they are"
    return Estimation(estimate_table(Path(table), options.design), "unit", (note,))


def _paired(
    predictions: Sequence[SegmentationSource],
    truths: Sequence[SegmentationSource],
    cells: Sequence[Image | str | Path],
) -> list[VolumeSource]:
    if not predictions or len(predictions) != len(truths) or (cells and len(cells) != len(predictions)):
        raise ScoreError(
            f"there are {len(predictions)} predictions, {len(truths)} truths and {len(cells)} masks of cells; give one "
            "truth (--truth), and one mask (--cell) or none, for each prediction, in the same order"
        )
    masks: list[Image | str | Path | None] = [*cells] or [None] * len(predictions)
    return [VolumeSource(*each) for each in zip(predictions, truths, masks, strict=True)]
