"""Which members an ensemble should have, and how often: greedy selection, and the best k by validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from cristae.errors import ScoreError
from cristae.evaluation.ensembles.member_maps import MemberMaps
from cristae.metrics.ensembling.criterion import CountScore, VoxelCriterion, score_of
from cristae.metrics.ensembling.error_pairs import ErrorPairs
from cristae.metrics.uncertainty.bootstrap import Interval, interval


@dataclass(frozen=True, eq=False)
class Survey:
    """The members one by one."""

    scores: tuple[float, ...]
    """Of each member."""
    errors: ErrorPairs
    """Where they are wrong together."""

    @property
    def order(self) -> tuple[int, ...]:
        """Members by falling score, ties to the lower; undefined scores come last."""
        values = [-np.inf if np.isnan(score) else score for score in self.scores]
        return tuple(sorted(range(len(values)), key=lambda place: (-values[place], place)))


@dataclass(frozen=True)
class Step:
    """One member added to the others."""

    member: int
    score: float
    """Of the ensemble with it."""


@dataclass(frozen=True)
class Selection:
    """What a greedy selection found."""

    weights: tuple[int, ...]
    """How often each member was taken, up to the best step."""
    path: tuple[Step, ...]
    """All steps; the score may fall again."""
    best_step: int
    """Number of steps, from 1, after which the score was highest, the earliest of equals."""

    @property
    def score(self) -> float:
        """Of the selected ensemble, on the voxels that it was selected on: it flatters."""
        return self.path[self.best_step - 1].score


@dataclass(frozen=True)
class TopK:
    """The average of the best k members."""

    k: int
    members: tuple[int, ...]
    """Which, the best first."""
    score: float
    interval: Interval
    """95 %, over the units."""


def survey_members(maps: MemberMaps, criterion: VoxelCriterion | CountScore = "miou") -> Survey:
    """Score every member by itself and count where they are wrong together.

    Args:
        maps: What they say.
        criterion: What they are judged by.
    """
    tables, errors = maps.empty_tables(len(maps)), ErrorPairs.empty(len(maps))
    for block in maps.blocks():
        labels = [maps.labels(one.astype(np.int64), 1) for one in block.maps]
        for place, found in enumerate(labels):
            tables[place] += maps.tables(block.truth, found)
        errors += ErrorPairs.of(np.stack([(found != block.truth).ravel() for found in labels]))
    return Survey(tuple(map(float, score_of(maps.classes, criterion)(tables))), errors)


def select_greedily(
    maps: MemberMaps,
    *,
    criterion: VoxelCriterion | CountScore = "miou",
    steps: int = 20,
    begin_with: Sequence[int] = (),
    advance: Callable[[], None] = lambda: None,
) -> Selection:
    """Add, step by step, the member with which the average of all that were added scores highest.

    A member may be added again, which gives it more weight. Ties go to the lower member, so that the result does not
    depend on anything else. The best prefix of the path is what is selected. With `begin_with` the path starts with
    those members, in order, as sorted initialisation does, which guards against overfitting to few voxels.

    Args:
        maps: Predictions of all members.
        criterion: What is made as large as possible.
        steps: Members to add in all, those of `begin_with` included; the sum of the weights is at most this.
        begin_with: Members that are added first.
        advance: Called after each step.

    Raises:
        ScoreError: There are no steps, or the score is undefined for every choice.

    References:
        Caruana, Niculescu-Mizil, Crew, Ksikes (2004), https://doi.org/10.1145/1015330.1015432, sections 2.1 to 2.3
    """
    if steps < max(1, len(begin_with)):
        raise ScoreError(f"a selection of {steps} steps cannot hold {max(1, len(begin_with))} members; allow more")
    weights, path = [0] * len(maps), list[Step]()
    for number in range(steps):
        candidates = [begin_with[number]] if number < len(begin_with) else range(len(maps))
        scores = _scores_with(maps, weights, candidates, criterion)
        best = max(range(len(scores)), key=lambda place: (scores[place], -place))
        weights[candidates[best]] += 1
        path.append(Step(candidates[best], float(scores[best])))
        advance()
    if all(step.score == -np.inf for step in path):
        raise ScoreError("the score is undefined for every choice of members: no class occurs in the truth or the maps")
    end = max(range(len(path)), key=lambda place: (path[place].score, -place)) + 1
    taken = [step.member for step in path[:end]]
    return Selection(tuple(taken.count(member) for member in range(len(maps))), tuple(path), end)


def _scores_with(
    maps: MemberMaps, weights: Sequence[int], candidates: Sequence[int], criterion: VoxelCriterion | CountScore
) -> np.ndarray:
    """Scores of the ensemble of these weights with each candidate added once; -inf where undefined."""
    tables = maps.empty_tables(len(candidates))
    total = sum(weights) + 1
    for block in maps.blocks():
        sums = block.fused(weights)
        for place, candidate in enumerate(candidates):
            tables[place] += maps.tables(block.truth, maps.labels(sums + block.maps[candidate], total))
    scores: np.ndarray = np.nan_to_num(score_of(maps.classes, criterion)(tables), nan=-np.inf)
    return scores


def top_k_curve(
    maps: MemberMaps, order: Sequence[int], *, criterion: VoxelCriterion | CountScore = "miou", seed: int = 0
) -> tuple[TopK, ...]:
    """Scores of the averages of the best 1, 2, ... n members, with their intervals over the units.

    Args:
        maps: Predictions, on the validation voxels or on others.
        order: Members, the best first, as the validation ranks them.
        criterion: What they are judged by.
        seed: Of the resampled units.
    """
    tables = maps.empty_tables(len(order), maps.n_units)
    for block in maps.blocks():
        for place, sums in enumerate(accumulate(block.maps[one].astype(np.int64) for one in order)):
            tables[place, block.unit] += maps.tables(block.truth, maps.labels(sums, place + 1))
    score, found = score_of(maps.classes, criterion), []
    for k, units in enumerate(tables, start=1):
        rows = units.reshape(len(units), -1).astype(np.float64)
        value = float(score(units.sum(0)))
        found.append(TopK(k, tuple(order[:k]), value, interval(rows, score, seed=seed)))
    return tuple(found)
