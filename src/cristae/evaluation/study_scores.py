"""Scores of a study: of each member, their mean over folds or instances, and which members validate best."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from cristae.classical.config import RandomForestConfig
from cristae.metrics.score import Score
from cristae.metrics.table import describe_metric
from cristae.metrics.uncertainty.folds import mean_over_folds
from cristae.metrics.uncertainty.instances import deviation
from cristae.recipe.run import Run
from cristae.recipe.study import DEVIATION, MEAN, MemberState, Study, scored_vox
from cristae.training.validation_config import SMALLER_IS_BETTER

_ALL = "all"


def validation_of(run: Run, scores: Sequence[Score]) -> float | None:
    """What a member is ranked by: the best epoch by its first criterion; of a random forest the mean IoU."""
    if run.criteria:
        value: float | None = run.summary.get("kept", {}).get(run.criteria[0], {}).get("value")
        return value
    found = [one.value for one in _pooled(scores) if one.metric == "mIoU"]
    return None if not found or math.isnan(found[0]) else found[0]


def best_members(study: Study) -> tuple[str, ...]:
    """The members of the ensemble, in their order: all, or of each fold as many as `instances.best` says, those that
    validate best; of equals the earlier."""
    best = None if study.recipe.instances is None else study.recipe.instances.best
    chosen = set[str]()
    for members in _by_fold(study.members).values():
        chosen |= {one.run for one in sorted(members, key=lambda one: _rank(study, one))[:best]}
    return tuple(one.run for one in study.members if one.run in chosen)


def _rank(study: Study, member: MemberState) -> float:
    if member.validation is None:
        return math.inf
    recipe = study.recipe
    forest = isinstance(recipe.model, RandomForestConfig)
    ascending = not forest and recipe.training.criteria[0] in SMALLER_IS_BETTER
    return member.validation if ascending else -member.validation


def _by_fold(members: Sequence[MemberState]) -> Mapping[int | None, list[MemberState]]:
    found: dict[int | None, list[MemberState]] = defaultdict(list)
    for member in members:
        found[member.fold].append(member)
    return found


def study_scores(study: Study, scores: Mapping[str, Sequence[Score]], chosen: Sequence[str]) -> tuple[Score, ...]:
    """All rows of a study's table: those of each member, then the mean over folds, or over instances where there are no
    folds, of what is pooled over a member's volumes, and the deviation.

    Where each fold has several instances, its value is the mean over them. Scores that are undefined do not count.
    Members that are not `chosen` have rows, but do not enter the means.

    Args:
        study: All of its members are trained.
        scores: The rows of each member, by its name.
        chosen: The members of the ensemble.
    """
    rows = [replace(row, run=name) for name, found in scores.items() for row in found]
    groups = _by_fold([member for member in study.members if member.run in chosen])
    folds = None not in groups
    parts = [[one.run for one in members] for members in groups.values()]
    parts = parts if folds else [[name] for name in parts[0]]
    values: dict[tuple[str, str, str, float | None], list[float]] = defaultdict(list)
    first: dict[tuple[str, str, str, float | None], Score] = {}
    for part in parts:
        own: dict[tuple[str, str, str, float | None], list[float]] = defaultdict(list)
        for row in (row for name in part for row in _pooled(scores[name])):
            key = row.class_name, row.metric, row.rule, row.threshold
            first.setdefault(key, row)
            own[key] += [] if math.isnan(row.value) else [row.value]
        for key, found in own.items():
            values[key] += [fmean(found)] if found else []
    where = "over the tested parts of" if study.nested else "over"
    what = f"{where} {len(parts)} folds" if folds else f"over {len(parts)} of {len(study.members)} instances"
    for key, row in first.items():
        rows += _summed_up(row, values[key], what, _sizes(study) if folds else None)
    return tuple(rows)


def _pooled(scores: Sequence[Score]) -> list[Score]:
    """The rows of all volumes together; those of the only volume where there is one."""
    pooled = [row for row in scores if row.volume == _ALL]
    return pooled or list(scores)


def _sizes(study: Study) -> tuple[float, float]:
    """Voxels that a fold trains on and is scored on, on average."""
    train, scored = (fmean(sizes) for sizes in zip(*scored_vox(study.plan), strict=True))
    return train, scored


def _summed_up(row: Score, values: Sequence[float], what: str, sizes: tuple[float, float] | None) -> list[Score]:
    n = len(values)
    value = fmean(values) if values else float("nan")
    rule = f"{row.rule.split('; n=')[0]}; {what}"
    low = high = None
    if sizes is not None and n:
        found = mean_over_folds(values, *sizes, bounds=describe_metric(row.metric).bounds)
        low, high = found.low, found.high
        if low is not None:
            rule += "; interval: t, its variance corrected as folds share training data (Nadeau and Bengio 2003)"
    unit = "folds" if sizes is not None else "instances"
    mean = replace(row, run=MEAN, volume=_ALL, value=value, n=n, rule=f"{rule}; n={unit}", low=low, high=high)
    spread = deviation(values) if values else float("nan")
    plain = f"{row.rule.split('; n=')[0]}; sample deviation {what}; n={unit}"
    return [mean, replace(mean, run=DEVIATION, value=spread, rule=plain, low=None, high=None)]
