"""The values that cells of a benchmark are compared by: one for each fold and instance, or one for each slice."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from cristae.metrics.table import describe_metric
from cristae.recipe.benchmark_tables import JobRow, ScoreRow, Split

ALL = "all"
Design = Literal["folds", "instances", "slices"]
"""What differs between the values of one cell: the fold, the seed alone, or nothing but the scored slice."""


@dataclass(frozen=True, order=True)
class Measure:
    """What is measured: a score of a class on one split, pooled over its voxels or averaged as its rule says."""

    split: Split
    class_name: str
    """`all` for the mean over the foreground classes, and for scores of all classes."""
    metric: str


@dataclass(frozen=True)
class Trial:
    """The value of one training."""

    fold: int | None
    instance: int | None
    value: float


Trials = Mapping[str, tuple[Trial, ...]]
"""Of each cell."""


def trials_of(scores: Sequence[ScoreRow]) -> dict[Measure, Trials]:
    """All values of all cells, by what is measured; undefined ones are left out.

    Beside the scores of each class there is their mean over the classes, where there are several. A fold whose truth
    lacks a class has the mean over the others, the same ones for all cells.
    """
    found: dict[Measure, dict[str, dict[_Key, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in scores:
        if row.volume == ALL and not math.isnan(row.value):
            of_cell = found[Measure(row.split, row.class_name, row.metric)][row.cell]
            of_cell.setdefault((row.fold, row.instance), row.value)
    for measure in [one for one in found if one.class_name != ALL]:
        mean = Measure(measure.split, ALL, measure.metric)
        if mean not in found:
            alike = [found[one] for one in found if (one.split, one.metric) == (measure.split, measure.metric)]
            if means := _means(alike):
                found[mean] = means
    return {
        measure: {
            cell: tuple(Trial(fold, instance, value) for (fold, instance), value in values.items())
            for cell, values in cells.items()
        }
        for measure, cells in sorted(found.items())
    }


_Key = tuple[int | None, int | None]
"""Fold and instance of a training."""


def _means(classes: Sequence[Mapping[str, Mapping[_Key, float]]]) -> dict[str, dict[_Key, float]]:
    """The means over the classes that count in a fold: a class does where every cell that has it has it there."""
    keys: dict[str, dict[_Key, None]] = defaultdict(dict)
    for one in classes:
        for cell, values in one.items():
            keys[cell] |= dict.fromkeys(values)
    means: dict[str, dict[_Key, float]] = defaultdict(dict)
    for fold in {fold: None for of_cell in keys.values() for fold, _ in of_cell}:
        of_fold = {cell: [key for key in of_cell if key[0] == fold] for cell, of_cell in keys.items()}
        counted = [one for one in classes if all(key in one[cell] for cell in one for key in of_fold[cell])]
        for cell, found in of_fold.items():
            if counted and all(cell in one for one in counted):
                means[cell] |= {key: fmean(one[cell][key] for one in counted) for key in found}
    return dict(means)


def split_to_rank(scores: Sequence[ScoreRow]) -> Split:
    """The split that cells are ranked on: the test regions where there are some."""
    return "test" if any(row.split == "test" for row in scores) else "validation"


def design_of(trials: Sequence[Trial]) -> Design:
    """What differs between the trainings of a cell."""
    if any(trial.fold is not None for trial in trials) and len({trial.fold for trial in trials}) > 1:
        return "folds"
    return "instances" if len(trials) > 1 else "slices"


def by_fold(trials: Sequence[Trial]) -> dict[int | None, float]:
    """The mean over the instances of each fold."""
    folds: dict[int | None, list[float]] = defaultdict(list)
    for trial in trials:
        folds[trial.fold].append(trial.value)
    return {fold: fmean(values) for fold, values in sorted(folds.items(), key=lambda one: one[0] or 0)}


def fold_sizes(jobs: Sequence[JobRow], split: Split) -> tuple[float, float]:
    """Voxels in a training part of a fold and in what is scored of a split, on average; as many in both where
    unknown."""
    train = [job.train_vox for job in jobs if job.train_vox]
    sizes = [job.test_vox if split == "test" else job.validate_vox for job in jobs]
    scored = [size for size in sizes if size]
    return (fmean(train), fmean(scored)) if train and scored else (1.0, 1.0)


def is_better(metric: str, first: float, second: float) -> bool:
    """Whether the first value of a score is better than the second."""
    return first < second if describe_metric(metric).better == "lower" else first > second
