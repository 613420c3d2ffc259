"""Compare predictions with the truth and give scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.files import require_new
from cristae.data.formats import open_image
from cristae.data.formats.paths import is_zarr
from cristae.data.image import Image
from cristae.data.open import open_volume
from cristae.data.volume import Volume
from cristae.errors import LabelError, MissingFileError, ScoreError
from cristae.inference.prediction import Prediction, is_prediction, open_prediction
from cristae.metrics.binary import BINARY_CLASSES, binary_image
from cristae.metrics.score import Score, score_paths, write_scores
from cristae.metrics.tally import Tally, scores_of, slice_scores_of
from cristae.progress import Progress
from cristae.workflows.comparison import blocks_of, compare, count
from cristae.workflows.predicted import require_finished
from cristae.workflows.truth import name_of, open_truth, predicted_labels, prediction_files, require_labels

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe

Source = str | Path
_WHAT_VALUES_MEAN = (
    "give a recipe, which says which label values stand for which class (--recipe), or a threshold between 0 and 1 "
    "for grey maps of one class (--binarize 0.5)"
)


def evaluate(
    prediction: Prediction | Image | Source,
    truth: Volume | Image | Source,
    *,
    classes: Classes | None = None,
    box: Box | None = None,
    mask: Image | None = None,
    out: Source | None = None,
    run: str = "",
    progress: Progress = Progress(),
) -> tuple[Score, ...]:
    """Score a prediction.

    Args:
        prediction: A prediction, or an image of class ids.
        truth: A volume with labels, or an image of class ids.
        classes: What the ids mean; None takes the prediction's own.
        box: The part of the volume to judge; None takes all that was predicted.
        mask: Only voxels where this is not 0 count.
        out: Also write the scores here, as .csv and .json, followed by those of each slice.
        run: What stands in the `run` column; when empty, the prediction's file name.
        progress: Where to show how far it is.

    Returns:
        Every metric of `metrics.table` for each class, pooled over voxels and as mean over slices, and mean IoU.
        Voxels that are not valid do not count.

    Raises:
        ScoreError: Shapes differ, or a value is not a class id.
        LabelError: The truth has no labels, or label values that are not mapped.
        OutputExistsError: There are scores at `out` already.
    """
    _check_out(out)
    opened = _opened(prediction)
    if classes is None:
        if not isinstance(opened, Prediction):
            raise ScoreError(f"{opened.path}: what the values mean is not known; give `classes`")
        classes = opened.classes
    if isinstance(opened, Prediction):
        _check_same_classes(opened, classes)
        labels, made_by = opened.labels, opened
    else:
        labels, made_by = (opened,), None
    comparison = compare(_as_volume(truth, classes), labels, made_by=made_by, box=box, mask=mask)
    return _finish([(run or name_of(opened.path), count([comparison], classes, progress))], out)


def evaluate_paths(
    truth: Source,
    prediction: Source,
    *,
    recipe: Recipe | None = None,
    binarize: float | None = None,
    mask: Source | None = None,
    out: Source | None = None,
    progress: Progress = Progress(),
) -> tuple[Score, ...]:
    """Score a prediction on disk: what `cristae evaluate` does.

    Args:
        truth: Labels: file, slice folder or glob; with a recipe also the name of one of its volumes.
        prediction: A prediction of `cristae predict`, or labels in any format.
        recipe: Says which values stand for which class.
        binarize: Instead of a recipe, the threshold of grey maps of one class.
        mask: Only voxels where this image is not 0 count.
        out: Also write the scores here, as .csv and .json, followed by those of each slice.
        progress: Where to show how far it is.

    Raises:
        ScoreError: It is not said what the values mean, or truth and prediction do not fit together.
        CristaeError: A file is missing or not usable, or there are scores at `out` already.
    """
    _check_out(out)
    judge = _judge(truth, recipe, binarize, mask, progress)
    return _finish([(name_of(Path(prediction)), judge(Path(prediction)))], out, binarize)


def evaluate_folders(
    truth: Source,
    predictions: Source,
    *,
    recipe: Recipe | None = None,
    binarize: float | None = None,
    mask: Source | None = None,
    out: Source | None = None,
    progress: Progress = Progress(),
) -> tuple[Score, ...]:
    """Score several methods, one sub-folder of `predictions` each; the folder that the truth lies in is skipped.

    A method's folder holds its slices, or one stack in a file. Other arguments, results and errors are those of
    `evaluate_paths`; the `run` column holds the folder's name.
    """
    _check_out(out)
    methods = _methods_in(Path(predictions), Path(truth))
    judge = _judge(truth, recipe, binarize, mask, progress)
    tallies = []
    for folder in methods:
        progress.say(f"Scoring {folder.name}")
        tallies.append((name_of(folder), judge(_stack_in(folder))))
    return _finish(tallies, out, binarize)


def _judge(
    truth: Source, recipe: Recipe | None, binarize: float | None, mask: Source | None, progress: Progress
) -> Callable[[Path], list[Tally]]:
    """A function that counts one prediction against the truth, which is opened once."""
    if recipe is not None and binarize is not None:
        raise ScoreError("a recipe and a threshold say different things about the values; give one of them")
    require_labels(Path(truth))
    inside = None if mask is None else open_image(mask)
    if binarize is not None:
        reference = _binary_volume(open_image(truth), binarize, name_of(Path(truth)))

        def judge_binary(path: Path) -> list[Tally]:
            return _count_binary(reference, path, binarize, inside, progress)

        return judge_binary
    if recipe is not None:
        known = open_truth(truth, recipe)

        def judge_recipe(path: Path) -> list[Tally]:
            comparisons = []
            for volume, file in prediction_files(known.volumes, path):
                opened = open_prediction(file) if is_prediction(file) else None
                if opened is not None:
                    _check_same_classes(opened, known.classes)
                labels = opened.labels if opened else predicted_labels(file, known, progress)
                comparisons.append(compare(volume, labels, made_by=opened, mask=inside))
            return count(comparisons, known.classes, progress)

        return judge_recipe

    def judge_ids(path: Path) -> list[Tally]:
        if not is_prediction(path):
            open_image(path), open_image(truth)  # a file that is missing or damaged is the first thing to tell
            raise ScoreError(f"{path} and {truth}: what their values mean is not known; {_WHAT_VALUES_MEAN}")
        opened = open_prediction(path)
        try:
            comparison = compare(_as_volume(truth, opened.classes), opened.labels, made_by=opened, mask=inside)
            return count([comparison], opened.classes, progress)
        except LabelError as error:
            raise LabelError(f"{error}\n  Or {_WHAT_VALUES_MEAN}.") from error

    return judge_ids


def _count_binary(
    reference: Volume, path: Path, threshold: float, mask: Image | None, progress: Progress
) -> list[Tally]:
    if not is_prediction(path):
        require_finished(path)
        scores = binary_image(open_image(path), threshold, blocks=blocks_of)
        return count([compare(reference, (scores,), mask=mask)], BINARY_CLASSES, progress)
    opened = open_prediction(path)
    if len(opened.classes.foreground) != 1:
        names = ", ".join(opened.classes.names)
        raise ScoreError(f"{path}: has the classes {names}; a threshold judges one class, give a recipe instead")
    if opened.probabilities:
        scores = binary_image(opened.probabilities[-1], threshold, blocks=blocks_of)
    elif threshold == 0.5:
        scores = opened.labels[0]
    else:
        raise ScoreError(
            f"{path}: holds labels only, made at a fixed threshold; repeat `cristae predict` with --probabilities, or "
            "give --binarize 0.5 to judge the labels as they are"
        )
    comparison = compare(reference, (scores,), made_by=opened, mask=mask)
    return count([comparison], BINARY_CLASSES, progress)


def _opened(prediction: Prediction | Image | Source) -> Prediction | Image:
    if isinstance(prediction, Prediction | Image):
        return prediction
    path = Path(prediction)
    return open_prediction(path) if is_prediction(path) else open_image(path)


def _as_volume(truth: Volume | Image | Source, classes: Classes) -> Volume:
    if isinstance(truth, Volume):
        return truth
    if isinstance(truth, Image):
        return Volume(name=name_of(truth.path), image=truth, labels=(truth,))
    require_labels(Path(truth))
    return open_volume(truth, labels=str(truth), classes=classes, name=name_of(Path(truth)))


def _binary_volume(image: Image, threshold: float, name: str) -> Volume:
    return Volume(name=name, image=image, labels=(binary_image(image, threshold, blocks=blocks_of),))


def _check_same_classes(prediction: Prediction, classes: Classes) -> None:
    found = prediction.classes
    if (found.names, found.exclusive) != (classes.names, classes.exclusive):
        raise ScoreError(
            f"{prediction.path}: was made for the classes {', '.join(found.names)}, but the truth has "
            f"{', '.join(classes.names)}; compare it with truth of the same classes"
        )


def _check_out(out: Source | None) -> None:
    for path in () if out is None else score_paths(Path(out)):
        require_new(path, what="the scores")


def _finish(
    tallies: Sequence[tuple[str, Sequence[Tally]]], out: Source | None, threshold: float | None = None
) -> tuple[Score, ...]:
    """The scores of each run, from its name and counts; the file has those of each slice too."""
    scores = [score for run, group in tallies for score in scores_of(group, run=run, threshold=threshold)]
    if out is not None:
        slices = (slice_scores_of(one, run=run, threshold=threshold) for run, group in tallies for one in group)
        write_scores(Path(out), [*scores, *chain.from_iterable(slices)])
    return tuple(scores)


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
