"""The truth, opened once, and predictions in any form laid on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.data.image import Image
from cristae.data.open import open_volume
from cristae.data.volume import Volume
from cristae.errors import LabelError, ScoreError
from cristae.evaluation.comparison import Comparison, blocks_of, compare, covered_part
from cristae.evaluation.predicted import require_finished
from cristae.evaluation.scoring.score import Judged
from cristae.evaluation.scoring.settings import ScoreOptions, Scoring, thresholds_of
from cristae.evaluation.truth import name_of, open_truth, predicted_labels, prediction_files, require_labels
from cristae.inference.prediction import Prediction, is_prediction, open_prediction
from cristae.metrics.binary import BINARY_CLASSES, check_threshold, score_map
from cristae.metrics.merging import merge_classes, merge_images
from cristae.progress import Progress

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe

Source = str | Path
Judge = Callable[[str, Path], Judged]
"""Lays the prediction of a path, of a run of this name, on the truth."""
_Laid = tuple[tuple[Image, ...], tuple[Image, ...]]
"""Labels and maps of scores, of which one may be empty."""
OBJECTS = Classes(names=("background", "objects"))
"""What maps of object ids hold."""
OF_OBJECTS = ("partition", "detection", "instances")
"""Families of scores that object ids have."""
_WHAT_VALUES_MEAN = (
    "give a recipe, which says which label values stand for which class (--recipe), a threshold between 0 and 1 "
    "for grey maps of one class (--binarize 0.5), or say that they are object ids (--instances)"
)


def judge_by(
    truth: Source,
    recipe: Recipe | None,
    binarize: float | None,
    instances: bool,
    mask: Source | None,
    options: ScoreOptions,
    progress: Progress,
) -> Judge:
    """Open the truth and choose how predictions are read; arguments and errors are those of `evaluate_paths`."""
    if instances:
        _check_of_objects(recipe, binarize, options)
    if binarize is not None:
        check_threshold(binarize)
    require_labels(Path(truth))
    inside = None if mask is None else open_image(mask)
    if instances:
        return _by_objects(truth, inside, options)
    if recipe is not None:
        return _by_recipe(truth, recipe, binarize, inside, options, progress)
    if binarize is not None:
        return _by_threshold(truth, binarize, inside, options)
    return _by_prediction(truth, inside, options)


def _check_of_objects(recipe: Recipe | None, binarize: float | None, options: ScoreOptions) -> None:
    """Refuse what would be left aside where objects are compared."""
    if recipe is not None or binarize is not None or options.merge:
        raise ScoreError("object ids need no recipe, no threshold and no merging of classes; give --instances alone")
    given = {
        "intervals (--unit)": options.unit is not None,
        "chosen thresholds (--thresholds-from)": options.thresholds_from is not None,
        "surface tolerance (--tolerance-nm)": options.tolerance_nm is not None,
        "background to be scored (--complement)": options.complement,
    }
    if unused := [name for name, is_given in given.items() if is_given]:
        raise ScoreError(f"scores of object ids have no {unused[0]}; leave it out, or --instances")
    if not set(OF_OBJECTS) & set(options.groups):
        raise ScoreError(
            f"object ids have no scores of {', '.join(options.groups)}; there are {', '.join(OF_OBJECTS)} (--scores)"
        )


def of_prediction(
    truth: Volume,
    prediction: Prediction,
    classes: Classes,
    options: ScoreOptions,
    *,
    box: Box | None = None,
    mask: Image | None = None,
) -> Comparison:
    """Lay a prediction of our own on the truth, with the maps of scores that it kept.

    Raises:
        ScoreError: The prediction was made for other classes.
    """
    found = prediction.classes
    if found.scheme != classes.scheme:
        raise ScoreError(
            f"{prediction.path}: was made for the classes {found.listed}, but the truth has "
            f"{classes.listed}; compare it with truth of the same classes"
        )
    return compare(
        truth,
        prediction.labels,
        maps=_kept_maps(prediction),
        made_by=prediction,
        box=box,
        mask=mask,
        voxel_size_nm=options.voxel_size_nm,
    )


def judged(
    run: str, comparisons: Sequence[Comparison], classes: Classes, threshold: float | None, options: ScoreOptions
) -> Judged:
    """What is judged under one name, with classes taken together as asked for."""
    if options.merge:
        merged, lookup = merge_classes(classes, options.merge)
        comparisons = [_merge(comparison, classes, merged, lookup) for comparison in comparisons]
        classes = merged
    chosen = {}
    if options.thresholds_from is not None:
        chosen = thresholds_of(options.thresholds_from, run)
        _check_chosen(options.thresholds_from, {name for name, _ in chosen}, run, comparisons, classes)
    return Judged(Scoring(run, classes, threshold, options, chosen), tuple(comparisons))


def _check_chosen(
    path: Path, names: Collection[str], run: str, comparisons: Sequence[Comparison], classes: Classes
) -> None:
    """Refuse thresholds that would be left aside."""
    if not any(comparison.maps for comparison in comparisons):
        raise ScoreError(
            f"{path}: thresholds are for maps of scores, but of '{run}' there are only labels; leave --thresholds-from "
            "out, or give maps (--binarize, or a prediction made with --probabilities)"
        )
    if not set(names) & set(classes.foreground):
        raise ScoreError(
            f"{path}: has thresholds for {', '.join(sorted(names))}, but what is judged is "
            f"{', '.join(classes.foreground)}; name the classes alike"
        )


def as_volume(truth: Volume | Image | Source, classes: Classes) -> Volume:
    """Truth of class ids in any form as a volume with labels."""
    if isinstance(truth, Volume):
        return truth
    if isinstance(truth, Image):
        return Volume(name=name_of(truth.path), image=truth, labels=(truth,), voxel_size_nm=truth.voxel_size_nm)
    require_labels(Path(truth))
    return open_volume(truth, labels=str(truth), classes=classes, name=name_of(Path(truth)))


def _by_objects(truth: Source, mask: Image | None, options: ScoreOptions) -> Judge:
    reference = _bare_volume(truth)

    def judge(run: str, path: Path) -> Judged:
        require_finished(path)
        comparison = compare(reference, (open_image(path),), mask=mask, voxel_size_nm=options.voxel_size_nm)
        return Judged(Scoring(run, OBJECTS, None, options), (comparison,), objects=True)

    return judge


def _by_recipe(
    truth: Source, recipe: Recipe, binarize: float | None, mask: Image | None, options: ScoreOptions, progress: Progress
) -> Judge:
    known = open_truth(truth, recipe)

    def lay(volume: Volume, file: Path) -> Comparison:
        opened = open_prediction(file) if is_prediction(file) else None
        if opened is not None and binarize is None:
            return of_prediction(volume, opened, known.classes, options, mask=mask)
        if opened is None:
            _check_shape(volume, file)
        labels, maps = (
            (predicted_labels(file, known, progress), ()) if binarize is None else _map_at(file, opened, binarize)
        )
        size = options.voxel_size_nm
        return compare(volume, labels, maps=maps, threshold=binarize, made_by=opened, mask=mask, voxel_size_nm=size)

    def judge(run: str, path: Path) -> Judged:
        found = [lay(volume, file) for volume, file in prediction_files(known.volumes, path)]
        one = judged(run, found, known.classes, binarize, options)
        if binarize is not None and len(one.scoring.classes.foreground) != 1:
            names = ", ".join(one.scoring.classes.foreground)
            raise ScoreError(
                f"{path}: a map of scores at a threshold answers for one class, but the recipe has {names}; take them "
                "together with --merge NAME=A+B, or leave --binarize out for labels"
            )
        return one

    return judge


def _by_threshold(truth: Source, threshold: float, mask: Image | None, options: ScoreOptions) -> Judge:
    reference = _bare_volume(truth)
    truth_map = score_map(reference.image, blocks=blocks_of)

    def judge(run: str, path: Path) -> Judged:
        opened = open_prediction(path) if is_prediction(path) else None
        if opened is None:
            _check_shape(reference, path)
        labels, maps = _map_at(path, opened, threshold)
        comparison = compare(
            reference,
            labels,
            maps=maps,
            truth_map=truth_map,
            threshold=threshold,
            made_by=opened,
            mask=mask,
            voxel_size_nm=options.voxel_size_nm,
        )
        return judged(run, [comparison], BINARY_CLASSES, threshold, options)

    return judge


def _by_prediction(truth: Source, mask: Image | None, options: ScoreOptions) -> Judge:
    """The prediction itself says what its ids mean, and the truth has the same."""

    def judge(run: str, path: Path) -> Judged:
        if not is_prediction(path):
            open_image(path), open_image(truth)  # a file that is missing or damaged is the first thing to tell
            raise ScoreError(f"{path} and {truth}: what their values mean is not known; {_WHAT_VALUES_MEAN}")
        opened = open_prediction(path)
        try:
            volume = as_volume(truth, opened.classes)
            comparison = of_prediction(volume, opened, opened.classes, options, mask=mask)
        except LabelError as error:
            raise LabelError(f"{error}\n  Or {_WHAT_VALUES_MEAN}.") from error
        return replace(judged(run, [comparison], opened.classes, None, options), hint=f"Or {_WHAT_VALUES_MEAN}.")

    return judge


def _bare_volume(truth: Source) -> Volume:
    image = open_image(truth)
    return Volume(name_of(Path(truth)), image, (image,), voxel_size_nm=image.voxel_size_nm)


def _check_shape(truth: Volume, prediction: Path) -> None:
    """Tell other shapes at once, before all values of the prediction are looked through."""
    if truth.labels:
        covered_part(truth.name, truth.labels[0].shape, open_image(prediction).shape)


def _map_at(path: Path, opened: Prediction | None, threshold: float) -> _Laid:
    """A map of scores of one class; or the labels of a prediction, which were made at one half."""
    if opened is None:
        require_finished(path)
        return (), (score_map(open_image(path), blocks=blocks_of),)
    if len(opened.classes.foreground) != 1:
        names = ", ".join(opened.classes.names)
        raise ScoreError(f"{path}: has the classes {names}; a threshold judges one class, give a recipe instead")
    if opened.probabilities:
        return (), _kept_maps(opened)
    if threshold == 0.5:
        return opened.labels, ()
    raise ScoreError(
        f"{path}: holds labels only, made at a fixed threshold; repeat `cristae predict` with --probabilities, or "
        "give --binarize 0.5 to judge the labels as they are"
    )


def _kept_maps(prediction: Prediction) -> tuple[Image, ...]:
    """The probabilities of the foreground classes, in the order of their names; empty when they were not kept."""
    if not prediction.probabilities:
        return ()
    named = dict(zip(prediction.channel_names, prediction.probabilities, strict=True))
    return tuple(named[name] for name in prediction.classes.foreground)


def _merge(comparison: Comparison, classes: Classes, merged: Classes, lookup: np.ndarray) -> Comparison:
    """The comparison of the merged classes. A map of one class stays; maps of several add up to that of their union."""
    exclusive = classes.exclusive
    maps = comparison.maps
    if len(maps) == len(classes.foreground) and len(maps) > 1:
        places = lookup[len(classes.names) - len(maps) :] - (1 if merged.background_name else 0)
        maps = tuple(_sum(maps, places == new) for new in range(len(merged.foreground))) if exclusive else ()
    return replace(
        comparison,
        truth=merge_images(comparison.truth, lookup, exclusive=exclusive) if comparison.truth else (),
        prediction=merge_images(comparison.prediction, lookup, exclusive=exclusive) if comparison.prediction else (),
        maps=maps,
    )


def _sum(maps: Sequence[Image], members: np.ndarray) -> Image:
    """The probability of any of some exclusive classes, 8-bit like theirs."""
    chosen = [image for image, member in zip(maps, members, strict=True) if member]

    def read(box: Box) -> np.ndarray:
        total = sum(image.read(box).astype(np.uint16) for image in chosen)
        return np.minimum(total, 255).astype(np.uint8)

    return chosen[0] if len(chosen) == 1 else replace(chosen[0], reader=read)
