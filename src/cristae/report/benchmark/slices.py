"""The slices that the page shows: those on which methods disagree most, read from the predictions that were kept."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import pstdev

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import Image, VoxelSize
from cristae.data.open import Dataset, open_data
from cristae.data.volume import Volume
from cristae.inference.prediction import Prediction, open_prediction
from cristae.recipe.benchmark_folder import CELLS, HELD_OUT
from cristae.recipe.folder import RECIPE, STUDY, read_facts
from cristae.recipe.load import load_run_recipe
from cristae.report.benchmark.files import BenchmarkFiles, number
from cristae.report.preview import INVALID, stretch_contrast

SHOWN = 4
"""Slices of a page."""
MOST_METHODS = 24
"""Of a slice: the first in the ranking."""
MAX_PIXELS = 768
"""Longer sides are made smaller."""
_WIDEST = 2048
"""Voxels of a side; of larger slices the middle is shown, where structures can still be seen."""
_CANDIDATES = 12
"""Slices that are read to find where methods disagree."""
_SliceKey = tuple[str, int | None, int | None, str, int]
"""Cell, fold, instance, volume and z."""
_SliceScores = Mapping[_SliceKey, float]
_NAME = re.compile(r"(?P<volume>.+)-(?P<z>\d+)-(?P<y>\d+)-(?P<x>\d+)\.zarr")


@dataclass(frozen=True, eq=False)
class Answer:
    """What one method found in a slice."""

    cell: str
    ids: np.ndarray
    """(Y, X) uint8 class ids; 0 and 1 where classes overlap and one is shown."""
    score: float
    """Of the slice by itself; NaN where it is not in the tables."""


@dataclass(frozen=True, eq=False)
class ShownSlice:
    """A slice with its truth and what each method found."""

    volume: str
    z: int
    image: np.ndarray
    """(Y, X) uint8 grey, contrast stretched."""
    truth: np.ndarray
    """(Y, X) uint8 ids, 255 where not annotated."""
    second: np.ndarray | None
    """What a second annotator drew, in the same form; None where there is none."""
    answers: tuple[Answer, ...]
    classes: Classes
    class_name: str | None
    """The class that is shown where classes overlap; None where all are."""
    voxel_size_nm: VoxelSize | None
    step: int
    """Every how many voxels there is a pixel."""
    part: bool
    """Whether only the middle of the slice is shown."""
    dissent: float
    """Mean part of the methods that differ from most."""


@dataclass(frozen=True, eq=False)
class _Place:
    """A region that several methods have predicted, each in the same fold and instance."""

    split: str
    fold: int | None
    instance: int | None
    volume: str
    """As in the name of the file."""
    predictions: Mapping[str, Path]
    """By cell."""


@dataclass(frozen=True, eq=False)
class _Opened:
    """A region with its image and truth."""

    place: _Place
    volume: Volume
    second: Volume | None
    """With the labels of a second annotator."""
    classes: Classes
    box: Box


@dataclass(frozen=True, eq=False)
class _Candidate:
    opened: _Opened
    z: int
    scores: Mapping[str, float]
    """Of the slice, by cell."""

    @property
    def spread(self) -> float:
        """How much methods differ in their score of it."""
        known = [value for value in self.scores.values() if math.isfinite(value)]
        return pstdev(known) if len(known) > 1 else 0.0


def disagreeing_slices(files: BenchmarkFiles) -> tuple[ShownSlice, ...]:
    """The slices on which methods disagree most.

    Of the slices whose scores differ most among methods, those are taken on which most voxels are in dispute.

    Raises:
        CristaeError: Data or predictions are not where they were.
    """
    data, scores = cache(_data), _slice_scores(files)
    opened = [one for place in _places(files) if (one := _open(place, data)) is not None]
    candidates = [one for region in opened for one in _candidates(region, scores)]
    candidates.sort(key=lambda one: -one.spread)  # of equals the first in the order of the data
    read = [_read(files, one) for one in candidates[:_CANDIDATES]]
    return tuple(sorted(read, key=lambda one: -one.dissent)[:SHOWN])


def dissent(ids: Sequence[np.ndarray]) -> np.ndarray:
    """(Y, X) part of the methods that differ from most of them, 0 where all agree.

    Example:
        >>> dissent([np.array([[0, 1]]), np.array([[0, 1]]), np.array([[0, 2]])]).round(2).tolist()
        [[0.0, 0.33]]
    """
    stack = np.stack(ids)
    most = np.zeros(stack.shape[1:], np.int64)
    for one in np.unique(stack):
        np.maximum(most, np.count_nonzero(stack == one, axis=0), out=most)
    found: np.ndarray = 1 - most / len(stack)
    return found


def _places(files: BenchmarkFiles) -> list[_Place]:
    """Each region once: in the fold and instance in which most methods have predicted it, of equals the first."""
    found: dict[tuple[str, int | None, int | None, str], dict[str, Path]] = defaultdict(dict)
    for cell in files.order[:MOST_METHODS]:
        for fold, instance, path in _kept(files, cell):
            found[path.parent.name, fold, instance, path.name][cell] = path
    best: dict[str, _Place] = {}
    for (split, fold, instance, name), paths in sorted(found.items(), key=lambda one: _order(one[0])):
        known = _NAME.fullmatch(name)
        if known and (name not in best or len(paths) > len(best[name].predictions)):
            best[name] = _Place(split, fold, instance, known["volume"], paths)
    return list(best.values())


def _order(key: tuple[str, int | None, int | None, str]) -> tuple[int, int, str]:
    _, fold, instance, name = key
    return fold or 0, instance or 0, name


def _kept(files: BenchmarkFiles, cell: str) -> Iterator[tuple[int | None, int | None, Path]]:
    study = files.path / CELLS / cell
    if not (study / STUDY).is_file():
        return
    for member in read_facts(study / STUDY).get("members", ()):
        for path in sorted((study / member["run"] / HELD_OUT / files.split).glob("*.zarr")):
            yield member["fold"], member["instance"], path


def _open(place: _Place, data: Callable[[Path], Dataset]) -> _Opened | None:
    """None where the volume is not among the data, or its voxels are not those of the predictions."""
    path = next(iter(place.predictions.values()))
    first, run = open_prediction(path), path.parents[2]
    dataset = data(run)
    volume = next((one for one in dataset.volumes if one.name.replace("/", "-") == place.volume), None)
    if volume is None or not volume.labels or volume.image.shape[:3] != first.volume_shape:
        return None
    second = next((one for one in dataset.second if one.name == volume.name), None)
    return _Opened(place, volume, second, first.classes, first.box)


def _data(run: Path) -> Dataset:
    recipe = load_run_recipe(run / RECIPE)
    return open_data(recipe.data, recipe.folder)


def _candidates(opened: _Opened, scores: _SliceScores) -> Iterator[_Candidate]:
    place = opened.place
    for z in range(opened.box.start[0], opened.box.stop[0]):
        own = {cell: scores.get((cell, place.fold, place.instance, opened.volume.name, z), math.nan)
               for cell in place.predictions}  # fmt: skip
        yield _Candidate(opened, z, own)


def slice_metric(files: BenchmarkFiles) -> str:
    """The score that slices are compared by: the ranked one, or IoU where slices have no such score."""
    rows = files["slices"]
    return files.metric if rows and files.metric in rows[0] else "Jaccard"


def _slice_scores(files: BenchmarkFiles) -> _SliceScores:
    """The score of each slice; the mean over classes."""
    rows = [row for row in files["slices"] if row["split"] == files.split]
    key = slice_metric(files)
    values: dict[_SliceKey, list[float]] = defaultdict(list)
    for row in rows:
        if files.class_name not in ("all", "foreground", row["class"]):
            continue
        fold, instance = number(row, "fold"), number(row, "instance")
        name = (
            str(row["cell"]), None if math.isnan(fold) else int(fold), None if math.isnan(instance) else int(instance),
            str(row["volume"]), int(row["slice"]),
        )  # fmt: skip
        values[name].append(number(row, key))
    return {name: float(np.mean(own)) for name, own in values.items()}


def _read(files: BenchmarkFiles, candidate: _Candidate) -> ShownSlice:
    opened, volume, classes = candidate.opened, candidate.opened.volume, candidate.opened.classes
    window = _window(opened.box, candidate.z)
    step = math.ceil(max(window.shape[1:]) / MAX_PIXELS)
    shown = None if classes.exclusive else _shown_class(files, classes)
    answers = [
        Answer(cell, _ids(one.labels, classes, _inside(window, one.box), shown, step), candidate.scores[cell])
        for cell, one in _predictions(opened).items()
    ]
    disputed = dissent([one.ids for one in answers])
    return ShownSlice(
        volume=volume.name,
        z=candidate.z,
        image=stretch_contrast(_grey(volume.image, window, step)),
        truth=_annotated(volume, classes, window, shown, step),
        second=None if opened.second is None else _annotated(opened.second, classes, window, shown, step),
        answers=tuple(answers),
        classes=classes,
        class_name=shown,
        voxel_size_nm=volume.voxel_size_nm,
        step=step,
        part=window.shape[1:] != opened.box.shape[1:],
        dissent=float(disputed.mean()),
    )


def _annotated(volume: Volume, classes: Classes, window: Box, shown: str | None, step: int) -> np.ndarray:
    ids = _ids(volume.labels, classes, window, shown, step)
    if volume.valid is None:
        return ids
    return np.where(_plane(volume.valid, window, step) != 0, ids, INVALID).astype(np.uint8)


def _predictions(opened: _Opened) -> Mapping[str, Prediction]:
    """Of all methods whose prediction is of the same voxels and classes as the first."""
    found = {cell: open_prediction(path) for cell, path in opened.place.predictions.items()}
    return {cell: one for cell, one in found.items() if (one.box, one.classes) == (opened.box, opened.classes)}


def _window(box: Box, z: int) -> Box:
    """The slice z of a box, of large ones the middle."""
    ends = []
    for low, high in zip(box.start[1:], box.stop[1:], strict=True):
        cut = max(0, high - low - _WIDEST) // 2
        ends.append((low + cut, min(high, low + cut + _WIDEST)))
    return Box((z, ends[0][0], ends[1][0]), (z + 1, ends[0][1], ends[1][1]))


def _inside(window: Box, box: Box) -> Box:
    """The same window, counted from the corner of the prediction."""
    low = tuple(a - b for a, b in zip(window.start, box.start, strict=True))
    high = tuple(a - b for a, b in zip(window.stop, box.start, strict=True))
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _ids(labels: Sequence[Image], classes: Classes, window: Box, shown: str | None, step: int) -> np.ndarray:
    place = 0 if shown is None else classes.names.index(shown)
    return _plane(labels[place], window, step)


def _plane(image: Image, window: Box, step: int) -> np.ndarray:
    found: np.ndarray = image.read(window)[0, ::step, ::step].astype(np.uint8)
    return found


def _grey(image: Image, window: Box, step: int) -> np.ndarray:
    """Grey values; of larger pixels the mean."""
    plane = image.read(window)[0].astype(np.float32)
    if plane.ndim == 3:
        plane = plane[..., : 1 if plane.shape[-1] < 3 else 3].mean(axis=-1)
    if step == 1:
        return np.asarray(plane)
    height, width = (-(-side // step) * step for side in plane.shape)
    padded = np.pad(plane, ((0, height - plane.shape[0]), (0, width - plane.shape[1])), mode="edge")
    blocks = padded.reshape(height // step, step, width // step, step)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _shown_class(files: BenchmarkFiles, classes: Classes) -> str:
    return files.class_name if files.class_name in classes.names else classes.foreground[0]
