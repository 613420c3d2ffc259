"""Members chosen for an ensemble, and what is worth knowing about the choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from cristae.errors import ScoreError
from cristae.evaluation.ensembles.disagreement import count_doubts
from cristae.evaluation.ensembles.member_maps import MemberMaps
from cristae.evaluation.ensembles.selection import Step, Survey, TopK, select_greedily, survey_members, top_k_curve
from cristae.metrics.ensembling.criterion import VoxelCriterion
from cristae.metrics.ensembling.error_pairs import ErrorPairs
from cristae.metrics.ensembling.selective_risk import DoubtCounts

Rule = Literal["greedy", "top", "soup", "greedy-soup"]
GREEDY_STEPS = 20
"""Of a greedy selection where no size is given."""
_QUANTILES = tuple(np.linspace(0.1, 1, 10).round(10).tolist())


@dataclass(frozen=True)
class EnsembleOptions:
    """How members are chosen. The fields are the options of `cristae ensemble`.

    Raises:
        ScoreError: A word is not known, or the size is no number of members.
    """

    rule: Rule = "greedy"
    """`greedy`: one by one, with replacement, whichever makes the average best; how often a run was taken is its
    weight. `top`: the best runs by themselves, with equal weights. `soup`: one run whose weights are the mean of all;
    `greedy-soup`: the mean of those that make it better."""
    size: int | None = None
    """`greedy`: the largest sum of weights, 20 by default. `top`: how many runs, by default the number whose average
    is best. Not for soups."""
    criterion: VoxelCriterion = "miou"
    """What is made best on the validation regions: `miou`, `f1` or `accuracy`."""
    begin_with: int = 0
    """`greedy`: begin with this many of the best runs, each once."""
    test: bool = False
    """Also score the averages of the best runs on the test regions of the first run's recipe, which nothing is chosen
    by."""

    def __post_init__(self) -> None:
        """Check the words and numbers."""
        for name, known in (("rule", Rule), ("criterion", VoxelCriterion)):
            if getattr(self, name) not in get_args(known):
                words = ", ".join(get_args(known))
                raise ScoreError(f"{name}: expected one of {words}, got '{getattr(self, name)}'")
        if self.size is not None and self.size < 1:
            raise ScoreError(f"size: an ensemble has at least one member, got {self.size}")
        if self.begin_with < 0:
            raise ScoreError(f"begin_with: cannot be less than 0, got {self.begin_with}")
        if self.begin_with and self.rule != "greedy":
            raise ScoreError(f"begin_with: belongs to the rule 'greedy', not to '{self.rule}'")
        if self.soup and self.size is not None:
            raise ScoreError(f"size: the rule '{self.rule}' decides by itself how many runs it takes; leave size out")
        if self.soup and (self.criterion != "miou" or self.test):
            raise ScoreError(f"the rule '{self.rule}' goes by the validation mIoU alone; leave out criterion and test")

    @property
    def soup(self) -> bool:
        """Whether weights are averaged instead of probabilities."""
        return self.rule in ("soup", "greedy-soup")


@dataclass(frozen=True, eq=False)
class OnRegions:
    """What was found on some regions."""

    voxels: int
    slices: int
    scores: tuple[float, ...]
    """Of each run by itself."""
    top_k: tuple[TopK, ...]
    errors: ErrorPairs
    doubts: DoubtCounts | None
    """Of the chosen ensemble; None where it has a single member."""
    members: int
    """Of the chosen ensemble."""

    def to_dict(self) -> dict[str, Any]:
        """The same for a JSON file; what is undefined is None."""
        values = np.array([one for one in self.scores if not math.isnan(one)])
        doubts = self.doubts
        return {
            "voxels": self.voxels,
            "slices": self.slices,
            "single": {
                "scores": [_number(one) for one in self.scores],
                "mean": _number(values.mean()) if values.size else None,
                "sd": _number(values.std(ddof=1)) if values.size > 1 else None,
            },
            "top_k": [
                {
                    "k": one.k,
                    "members": list(one.members),
                    "score": _number(one.score),
                    "low": one.interval.low,
                    "high": one.interval.high,
                    "units": one.interval.n,
                    "reason": one.interval.reason,
                }
                for one in self.top_k
            ],
            "error_correlation": _matrix(self.errors.correlation()),
            "double_fault": _matrix(self.errors.double_fault()),
            "disagreement": None
            if doubts is None
            else {
                "error_rate": _number(doubts.error_rate),
                "auroc": _number(doubts.auroc()),
                "aurc": _number(doubts.aurc()),
                "excess_aurc": _number(doubts.excess_aurc()),
                "quantiles": [vars(one) for one in doubts.quantiles(_QUANTILES)],
            },
        }


@dataclass(frozen=True, eq=False)
class ChosenEnsemble:
    """The result of `ensemble`."""

    path: Path
    """The ensemble file; of a soup the new run folder."""
    rule: Rule
    criterion: VoxelCriterion
    runs: tuple[str, ...]
    """All that could be chosen."""
    weights: tuple[int, ...]
    """How much each run counts; 0 is left out."""
    score: float
    """Of the chosen ensemble on the validation regions that it was chosen by."""
    steps: tuple[Step, ...] = ()
    """Of a greedy selection."""
    validation: OnRegions | None = None
    """None of a soup."""
    test: OnRegions | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same for a JSON file."""
        regions: Mapping[str, OnRegions | None] = {"validation": self.validation, "test": self.test}
        return {
            "rule": self.rule,
            "criterion": self.criterion,
            "runs": list(self.runs),
            "weights": list(self.weights),
            "score": _number(self.score),
            "steps": [{"member": step.member, "score": _number(step.score)} for step in self.steps],
            **{name: found.to_dict() for name, found in regions.items() if found is not None},
        }


def choose_members(
    path: Path,
    runs: Sequence[str],
    validation: MemberMaps,
    test: MemberMaps | None,
    options: EnsembleOptions,
    advance: Callable[[], None] = lambda: None,
) -> ChosenEnsemble:
    """Choose members by what they say of the validation voxels.

    Args:
        path: Where the ensemble will be.
        runs: Names of the members.
        validation: What all of them say there.
        test: And on voxels that nothing is chosen by.
        options: By which rule.
        advance: Called after each step of a greedy selection, or once.

    Raises:
        ScoreError: There are fewer members than are asked for, or the score is undefined.
    """
    survey, n = survey_members(validation, options.criterion), len(runs)
    for name, number in (("size", options.size if options.rule == "top" else 1), ("begin_with", options.begin_with)):
        if number is not None and number > n:
            raise ScoreError(f"{name}: {number} members cannot be taken of {n} run{'' if n == 1 else 's'}")
    curve = top_k_curve(validation, survey.order, criterion=options.criterion)
    steps: tuple[Step, ...] = ()
    if options.rule == "greedy":
        found = select_greedily(
            validation,
            criterion=options.criterion,
            steps=options.size or GREEDY_STEPS,
            begin_with=survey.order[: options.begin_with],
            advance=advance,
        )
        weights, score, steps = found.weights, found.score, found.path
    else:
        best = curve[(options.size or _best_k(curve)) - 1]
        weights, score = tuple(int(member in best.members) for member in range(n)), best.score
        advance()
    tested = None
    if test is not None:
        tested = _on_regions(
            test,
            survey_members(test, options.criterion),
            top_k_curve(test, survey.order, criterion=options.criterion),
            weights,
        )
    own = _on_regions(validation, survey, curve, weights)
    return ChosenEnsemble(path, options.rule, options.criterion, tuple(runs), weights, score, steps, own, tested)


def _best_k(curve: Sequence[TopK]) -> int:
    """The smallest of equals; what is undefined is never best."""
    return max(curve, key=lambda one: (-math.inf if math.isnan(one.score) else one.score, -one.k)).k


def _on_regions(maps: MemberMaps, survey: Survey, curve: tuple[TopK, ...], weights: Sequence[int]) -> OnRegions:
    members = int(np.count_nonzero(weights))
    doubts = count_doubts(maps, weights) if members > 1 else None
    voxels = maps.truth.shape[1]
    return OnRegions(voxels, maps.n_units, survey.scores, curve, survey.errors, doubts, members)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _matrix(values: np.ndarray) -> list[list[float | None]]:
    return [[_number(one) for one in row] for row in values]
