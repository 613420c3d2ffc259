"""Members that are chosen on some slices, to be scored on others: no score is of what it was chosen by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np

from cristae.evaluation.ensembles.member_maps import MemberMaps
from cristae.evaluation.ensembles.selection import select_greedily, survey_members
from cristae.metrics.ensembling.criterion import CountScore, VoxelCriterion

_GROUPS = 5
"""Into which the slices of one training are cut."""


@dataclass(frozen=True)
class Ranked:
    """Members as some slices rank them, and the ensemble that is best on these."""

    order: tuple[int, ...]
    """The best first."""
    weights: tuple[int, ...]
    """How often greedy selection took each."""

    def top(self, k: int) -> tuple[int, ...]:
        """Weights of the best k, each once."""
        return tuple(int(member in self.order[:k]) for member in range(len(self.order)))


def rank_members(
    maps: MemberMaps,
    left_out: Sequence[Collection[int]],
    criterion: VoxelCriterion | CountScore,
    *,
    steps: int = 20,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Ranked, ...]:
    """Rank members and select an ensemble without some units, for each group of units that is left out.

    Args:
        maps: What members say of all units.
        left_out: Units that a choice may not see; an empty group sees all. At least one unit must be left.
        criterion: What is made best.
        steps: Of a greedy selection.
        advance: Called after each group.

    Raises:
        ScoreError: No unit is left, or the score is undefined for every choice.
    """
    known: dict[frozenset[int], Ranked] = {}
    found = []
    for group in left_out:
        key = frozenset(group)
        if key not in known:
            seen = maps.of_units([unit for unit in range(maps.n_units) if unit not in key])
            order = survey_members(seen, criterion).order
            known[key] = Ranked(order, select_greedily(seen, criterion=criterion, steps=steps).weights)
        found.append(known[key])
        advance()
    return tuple(found)


def stretches(units: int) -> list[range]:
    """Units cut to at most five stretches that follow each other, as even as can be; neighbouring slices are alike,
    so that units between others would not be new."""
    bounds = np.linspace(0, units, min(_GROUPS, units) + 1).round().astype(int).tolist()
    return [range(start, stop) for start, stop in pairwise(bounds)]


def spread(units: int, voxels: int, most: int) -> range:
    """Every n-th unit, so that they have about `most` voxels together at the most.

    Example:
        >>> list(spread(6, voxels=600, most=300))
        [0, 2, 4]
    """
    return range(0, units, max(1, ceil(voxels / most)))
