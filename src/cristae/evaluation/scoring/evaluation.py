"""What is evaluated: predictions aligned with their truth, by run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.data.formats.paths import Reading, is_array_folder, split_options
from cristae.data.image import Image
from cristae.data.names import name_of
from cristae.data.pairing import find_match, pair_files
from cristae.errors import LabelError, MissingFileError, ScoreError
from cristae.evaluation.comparison import Comparison, align
from cristae.evaluation.scoring.borders import check_thresholds, scored_classes
from cristae.evaluation.scoring.settings import OF_OBJECTS, ScoreOptions, Scoring, thresholds_of
from cristae.evaluation.segmentation import (
    Meaning,
    Segmentation,
    SegmentationSource,
    meaning_for,
    open_segmentation,
    open_segmentations,
)
from cristae.progress import Progress


@dataclass(frozen=True)
class Evaluation:
    """Everything that is scored for one run."""

    scoring: Scoring
    comparisons: tuple[Comparison, ...]
    """One for each volume."""

    @property
    def names(self) -> str:
        """The volumes, for messages."""
        return ", ".join(f"'{comparison.volume}'" for comparison in self.comparisons[:5])


def open_evaluations(
    predictions: Mapping[str, SegmentationSource],
    truth: SegmentationSource,
    meaning: Meaning,
    *,
    mask: Image | str | Path | None,
    options: ScoreOptions,
    progress: Progress,
) -> list[Evaluation]:
    """Open predictions and their truth, and align them.

    Args:
        predictions: By the name of the run. Where the truth is unrelated images, each is a folder with one file for
            each image, named like it or so that one number or word says which image it is of.
        truth: Opened once for all of them, unless each prediction says itself what the values mean.
        meaning: What the values mean.
        mask: Only voxels where this is not 0 count.
        options: How to score.
        progress: Where to report how values were read.

    Raises:
        CristaeError: Something is missing, damaged, does not fit, or has no known meaning.
    """
    if meaning.objects:
        _check_objects(meaning, options)
    inside = open_image(mask) if isinstance(mask, str | Path) else mask
    given = meaning.known_classes is not None
    truths = open_segmentations(truth, meaning.of_truth, role="truth", progress=progress) if given else ()
    found = []
    for run, source in predictions.items():
        own = meaning_for([source], meaning)
        opened = truths or open_segmentations(truth, own, role="truth", progress=progress)
        pairs = [
            (one, open_segmentation(part, own, role="prediction", like=one.geometry("the truth"), progress=progress))
            for one, part in zip(opened, _one_for_each(opened, source, progress), strict=True)
        ]
        found.append(_evaluation(run, pairs, options, inside, progress))
    return found


def predictions_in(folder: str | Path, truth: SegmentationSource) -> dict[str, Path]:
    """The predictions of several methods, one sub-folder each; the folder that the truth lies in is left out.

    A method's folder holds its slices, or one stack in a file.

    Raises:
        MissingFileError: There is no such folder.
        ScoreError: It has no sub-folder with predictions.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: there is no such folder of predictions")
    around: tuple[Path, ...] = ()
    if isinstance(truth, str | Path):
        path = Path(split_options(truth)[0])
        fixed = path if path.exists() else Path(*takewhile(lambda part: not set(part) & set("*?["), path.parts))
        around = (fixed.resolve(), *fixed.resolve().parents)
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    folders = [path for path in inside if path.resolve() not in around]
    names = [name_of(path) for path in folders]
    whole = {path.name if names.count(name) > 1 else name: path for name, path in zip(names, folders, strict=True)}
    methods = {name: _stack_in(path) for name, path in whole.items()}
    if not methods:
        raise ScoreError(f"{folder}: has no sub-folder with predictions; put each method in a folder of its own")
    return methods


def _evaluation(
    run: str,
    pairs: Sequence[tuple[Segmentation, Segmentation]],
    options: ScoreOptions,
    mask: Image | None,
    progress: Progress,
) -> Evaluation:
    box, size = options.box, options.voxel_size_nm
    merged = [(truth.merge(options.merge), prediction.merge(options.merge)) for truth, prediction in pairs]
    comparisons = tuple(align(*pair, box=box, mask=mask, voxel_size_nm=size, progress=progress) for pair in merged)
    classes = scored_classes(comparisons[0].truth.classes, options)
    if options.binarize is not None and len(classes.foreground) != 1:
        raise ScoreError(
            f"{pairs[0][1].path}: a probability map at a threshold is of one class, but the recipe has "
            f"{', '.join(classes.foreground)}; merge them with --merge NAME=A+B, or leave --binarize out for labels"
        )
    chosen = {}
    if options.thresholds_from is not None:
        table = Path(options.thresholds_from)
        chosen = thresholds_of(table, run)
        _check_chosen(table, {name for name, _ in chosen}, run, comparisons, classes)
        check_thresholds(table, classes)
    return Evaluation(Scoring(run, classes, options.binarize, options, chosen), comparisons)


def _one_for_each(
    truths: Sequence[Segmentation], source: SegmentationSource, progress: Progress
) -> Sequence[SegmentationSource]:
    """The prediction of each truth: the source itself for one, the file of its name for each unrelated image.

    Raises:
        MissingFileError: An image has no prediction.
    """
    if len(truths) == 1:
        return [source]
    plain, reading = split_options(source) if isinstance(source, str | Path) else ("", Reading())
    folder = Path(plain) if plain else None
    if folder is None or not folder.is_dir():
        raise MissingFileError(f"{source}: expected a folder with a prediction for each of the {len(truths)} images")
    files = {name_of(file): file for file in sorted(folder.iterdir()) if not file.name.startswith(".")}
    names = [truth.volume.rsplit("/", 1)[-1] for truth in truths]
    missing = [truth.volume for truth, name in zip(truths, names, strict=True) if name not in files]
    if not missing:
        return [reading.on(files[name]) for name in names]
    listed = list(files)
    try:
        match = find_match(names, listed, where=str(folder))
    except LabelError:
        match = "order"
    if match == "order":  # names alone may say what is scored against what
        raise MissingFileError(
            f"{folder}: has no prediction for {', '.join(missing[:6])}; name each file like its image"
        )
    pairs = {truth: listed[place] for place, truth in pair_files(names, listed, match, where=str(folder)).items()}
    progress.say(f"{folder}: files are paired by their {match}: {files[pairs[0]].name} is scored with {names[0]}")
    return [reading.on(files[pairs[place]]) for place in range(len(names))]


def _check_objects(meaning: Meaning, options: ScoreOptions) -> None:
    """Refuse what would have no effect where objects are compared."""
    if options.over:
        raise ScoreError("object ids have no classes to average over; leave --over out, or --objects")
    if meaning.recipe is not None or meaning.threshold is not None or meaning.classes is not None or options.merge:
        raise ScoreError("object ids need no recipe, no threshold and no merging of classes; give --objects alone")
    given = {
        "intervals (--unit)": options.unit is not None,
        "chosen thresholds (--thresholds-from)": options.thresholds_from is not None,
        "surface tolerance (--tolerance-nm)": options.tolerance_nm is not None,
        "background to be scored (--complement)": options.complement,
        "borders (--border)": options.borders is not None,
    }
    if unused := [name for name, is_given in given.items() if is_given]:
        raise ScoreError(f"scores of object ids have no {unused[0]}; leave it out, or --objects")
    if not set(OF_OBJECTS) & set(options.scores):
        raise ScoreError(
            f"object ids have no scores of {', '.join(options.scores)}; there are {', '.join(OF_OBJECTS)} (--scores)"
        )


def _check_chosen(
    path: Path, names: Collection[str], run: str, comparisons: Sequence[Comparison], classes: Classes
) -> None:
    """Refuse thresholds that would have no effect."""
    if not any(comparison.maps for comparison in comparisons):
        raise ScoreError(
            f"{path}: thresholds are for probability maps, but of '{run}' there are only labels; leave "
            "--thresholds-from out, or give maps (--binarize, or a prediction made with --probabilities)"
        )
    if not set(names) & set(classes.foreground):
        raise ScoreError(
            f"{path}: has thresholds for {', '.join(sorted(names))}, but what is scored is "
            f"{', '.join(classes.foreground)}; use the same class names"
        )


def _stack_in(folder: Path) -> Path:
    """The one file or Zarr that a folder holds, or the folder itself: a stack of slices, a Zarr or an N5."""
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    alone = not is_array_folder(folder) and len(inside) == 1 and (inside[0].is_file() or is_array_folder(inside[0]))
    return inside[0] if alone else folder
