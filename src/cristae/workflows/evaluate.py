"""Compare predictions with the truth and give scores."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.data.formats.paths import is_zarr
from cristae.data.image import Image
from cristae.data.volume import Volume
from cristae.errors import MissingFileError, ScoreError
from cristae.evaluation.comparison import compare
from cristae.evaluation.reference import Source, as_volume, judge_by, judged, of_prediction
from cristae.evaluation.scoring.score import require_new_scores, score
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.evaluation.truth import name_of
from cristae.inference.prediction import Prediction, is_prediction, open_prediction
from cristae.metrics.score import Score
from cristae.progress import Progress

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe


def evaluate(
    prediction: Prediction | Image | Source,
    truth: Volume | Image | Source,
    *,
    classes: Classes | None = None,
    box: Box | None = None,
    mask: Image | None = None,
    out: Source | None = None,
    run: str = "",
    options: ScoreOptions = ScoreOptions(),
    progress: Progress = Progress(),
) -> tuple[Score, ...]:
    """Score a prediction.

    Args:
        prediction: A prediction, or an image of class ids.
        truth: A volume with labels, or an image of class ids.
        classes: What the ids mean; None takes the prediction's own.
        box: The part of the volume to judge; None takes all that was predicted.
        mask: Only voxels where this is not 0 count.
        out: Also write the scores here, as .csv and .json, with tables of slices and threshold curves beside them.
        run: What stands in the `run` column; when empty, the prediction's file name.
        options: Which scores, by which rules.
        progress: Where to show how far it is.

    Returns:
        Rows of scores; `rule` tells the definition of each. Voxels that are not valid do not count.

    Raises:
        ScoreError: Shapes differ, or a value is not a class id.
        VoxelSizeError: Truth and prediction have different voxel sizes.
        LabelError: The truth has no labels, or label values that are not mapped.
        OutputExistsError: There are scores at `out` already.
    """
    require_new_scores(out)
    opened = _opened(prediction)
    if classes is None:
        if not isinstance(opened, Prediction):
            raise ScoreError(f"{opened.path}: what the values mean is not known; give `classes`")
        classes = opened.classes
    volume = as_volume(truth, classes)
    if isinstance(opened, Prediction):
        comparison = of_prediction(volume, opened, classes, options, box=box, mask=mask)
    else:
        comparison = compare(volume, (opened,), box=box, mask=mask, voxel_size_nm=options.voxel_size_nm)
    one = judged(run or name_of(opened.path), [comparison], classes, None, options)
    return score([one], out, progress)


def evaluate_paths(
    truth: Source,
    prediction: Source,
    *,
    recipe: Recipe | None = None,
    binarize: float | None = None,
    instances: bool = False,
    mask: Source | None = None,
    out: Source | None = None,
    options: ScoreOptions = ScoreOptions(),
    progress: Progress = Progress(),
) -> tuple[Score, ...]:
    """Score a prediction on disk: what `cristae evaluate` does.

    Args:
        truth: Labels: file, slice folder or glob; with a recipe also the name of one of its volumes.
        prediction: A prediction of `cristae predict`, labels or a map of scores in any format.
        recipe: Says which values stand for which class.
        binarize: The threshold of grey maps of one class. With a recipe, the prediction is such a map and the truth is
            read by the recipe; without, both are maps.
        instances: Both hold object ids, and objects are what is compared.
        mask: Only voxels where this image is not 0 count.
        out: Also write the scores here, as .csv and .json, with tables of slices and threshold curves beside them. An
            evaluation that was killed goes on where it stopped.
        options: Which scores, by which rules.
        progress: Where to show how far it is.

    Raises:
        ScoreError: It is not said what the values mean, or truth and prediction do not fit together.
        CristaeError: A file is missing or not usable, or there are scores at `out` already.
    """
    require_new_scores(out)
    judge = judge_by(truth, recipe, binarize, instances, mask, options, progress)
    return score([judge(name_of(Path(prediction)), Path(prediction))], out, progress)


def evaluate_folders(
    truth: Source,
    predictions: Source,
    *,
    recipe: Recipe | None = None,
    binarize: float | None = None,
    instances: bool = False,
    mask: Source | None = None,
    out: Source | None = None,
    options: ScoreOptions = ScoreOptions(),
    progress: Progress = Progress(),
) -> tuple[Score, ...]:
    """Score several methods, one sub-folder of `predictions` each; the folder that the truth lies in is skipped.

    A method's folder holds its slices, or one stack in a file. Other arguments, results and errors are those of
    `evaluate_paths`; the `run` column holds the folder's name.
    """
    require_new_scores(out)
    methods = _methods_in(Path(predictions), Path(truth))
    judge = judge_by(truth, recipe, binarize, instances, mask, options, progress)
    return score([judge(name_of(folder), _stack_in(folder)) for folder in methods], out, progress)


def _opened(prediction: Prediction | Image | Source) -> Prediction | Image:
    if isinstance(prediction, Prediction | Image):
        return prediction
    path = Path(prediction)
    return open_prediction(path) if is_prediction(path) else open_image(path)


def _methods_in(folder: Path, truth: Path) -> list[Path]:
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: there is no such folder of predictions")
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    fixed = truth if truth.exists() else Path(*takewhile(lambda part: not set(part) & set("*?["), truth.parts))
    around = (fixed.resolve(), *fixed.resolve().parents)
    methods = [path for path in found if path.resolve() not in around]
    if not methods:
        raise ScoreError(f"{folder}: has no sub-folder with predictions; put each method in a folder of its own")
    return methods


def _stack_in(folder: Path) -> Path:
    """The one file or Zarr that a folder holds, or the folder itself: a stack of slices, or a Zarr."""
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    alone = not is_zarr(folder) and len(inside) == 1 and (inside[0].is_file() or is_zarr(inside[0]))
    return inside[0] if alone else folder
