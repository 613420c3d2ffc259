"""Where each section of a stack lies, from the displacements between neighbours and next but one.

Both kinds are reconciled by least squares that give little weight to what contradicts the rest, so that a section that
cannot be compared lies between its neighbours and moves nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage, signal, sparse
from scipy.sparse import linalg

from cristae.data.section_shifts import PairShift

_ROUNDS = 12
_MOST_TRUST = 4.0
"""A pair counts by the square of how clear it is beyond 1; more than this makes no difference."""
_SPRING = 1e-4
"""Weight by which a section stays with its neighbour where nothing certain is known."""
_TOLERANCE_VOX = 0.5
"""Contradictions up to this have full weight, at least; beyond, the usual one does."""
_LARGEST = 3
"""Steps that a summary names."""
_TREND = 11
"""Sections through whose positions a straight line is laid for what the stack drifts slowly."""
_AROUND, _LEAST = 25, 3
"""Steps around one that tell whether it stands out, and the sections that a drift can be told of."""
_LEAST_JUMP_VOX, _USUAL_STEPS = 1.5, 4
"""A step stands out that is so many voxels off the median of those around it, and so many times as far as is usual."""


@dataclass(frozen=True, eq=False)
class Positions:
    """Where the content of each section lies against the first one."""

    yx: np.ndarray
    """(n, 2) voxels (y, x)."""
    certain: np.ndarray
    """(n,) whether the step from the section before follows from what stands out; the first one is."""

    @property
    def steps(self) -> np.ndarray:
        """(n, 2) voxels (y, x) from the section before; 0 for the first one."""
        return np.diff(self.yx, axis=0, prepend=self.yx[:1])

    def jitter(self) -> np.ndarray:
        """(n, 2) what is left of the positions without what they drift slowly.

        Steps that stand out from the steps around them are taken away first, so that they leave nothing behind and do
        not bend the drift: a straight line through a few sections around each one.
        """
        count = len(self.yx)
        if count < _LEAST:
            return np.zeros_like(self.yx)
        off = self.steps - ndimage.median_filter(self.steps, (min(_AROUND, count), 1), mode="nearest")
        off[0] = 0
        sizes = np.linalg.norm(off, axis=1)
        jumps = sizes > max(_LEAST_JUMP_VOX, _USUAL_STEPS * float(np.median(sizes[1:])))
        jumped = np.cumsum(np.where(jumps[:, None], off, 0.0), axis=0)
        rest = self.yx - jumped
        window = min(_TREND, count - 1 + count % 2)
        return np.asarray(jumped + rest - signal.savgol_filter(rest, window, polyorder=1, axis=0))


@dataclass(frozen=True)
class Step:
    """How far a section lies from the one before."""

    slice: int
    y: float
    """Voxels."""
    x: float


@dataclass(frozen=True)
class Drift:
    """How far the sections of a stack lie off each other."""

    steps: int
    """From a section to the next."""
    certain: int
    """Steps that follow from the images; of the others nothing is known."""
    largest: tuple[Step, ...]
    """The certain ones, the largest first."""
    reach_vox: tuple[float, float]
    """Between the lowest and the highest place of any section (y, x), whatever lies between."""

    @property
    def known(self) -> bool:
        """Whether most steps follow from the images."""
        return self.steps > 0 and self.certain >= 0.5 * self.steps


def drift_of(pairs: Sequence[PairShift], slices: Sequence[int]) -> Drift:
    """Sum up displacements between sections that follow each other.

    Args:
        pairs: Between neighbours, and between sections with one or more between.
        slices: The sections, each the next one of the last.
    """
    first = slices[0] if slices else 0
    moved = [replace(pair, first=pair.first - first, second=pair.second - first) for pair in pairs]
    found = positions_of(moved, len(slices))
    places = np.flatnonzero(found.certain)
    places = places[places > 0]
    sizes = np.linalg.norm(found.steps[places], axis=1)
    order = places[np.argsort(-sizes, kind="stable")][:_LARGEST].tolist()
    largest = tuple(Step(first + z, *(round(float(one), 1) for one in found.steps[z])) for z in order)
    y, x = (round(float(side), 1) for side in np.ptp(found.yx, axis=0)) if len(slices) else (0.0, 0.0)
    return Drift(max(0, len(slices) - 1), len(places), largest, (y, x))


def positions_of(pairs: Sequence[PairShift], count: int) -> Positions:
    """Reconcile displacements.

    Args:
        pairs: Between neighbours, and between sections with one or more between.
        count: Sections.
    """
    known = [pair for pair in pairs if pair.certain]
    first = np.array([pair.first for pair in known] + list(range(count - 1)), np.int64)
    second = np.array([pair.second for pair in known] + list(range(1, count)), np.int64)
    wanted = np.array([[pair.y, pair.x] for pair in known] + [[0.0, 0.0]] * (count - 1)).reshape(-1, 2)
    trust = np.array([min(pair.clearness - 1, _MOST_TRUST) ** 2 for pair in known])
    weights = np.concatenate([trust, np.full(max(0, count - 1), _SPRING)])
    found, agreement = np.zeros((count, 2)), np.ones(len(known))
    if count > 1:
        rows = np.arange(len(first))
        shape = (len(first), count)
        differences = sparse.csr_matrix((np.ones(len(first)), (rows, second)), shape) - sparse.csr_matrix(
            (np.ones(len(first)), (rows, first)), shape
        )
        inner = differences[:, 1:]
        for _ in range(_ROUNDS):
            weighted = sparse.diags(weights)
            normal = (inner.T @ weighted @ inner).tocsc()
            found[1:] = linalg.spsolve(normal, inner.T @ (weighted @ wanted)).reshape(-1, 2)
            left = np.linalg.norm(found[second] - found[first] - wanted, axis=1)[: len(known)]
            scale = max(_TOLERANCE_VOX, 3 * float(np.median(left)) if len(left) else 0.0)
            agreement = 1 / (1 + (left / scale) ** 2) ** 2
            weights[: len(known)] = trust * agreement
    return Positions(found, _certain(first, second, agreement, count))


def _certain(first: np.ndarray, second: np.ndarray, agreement: np.ndarray, count: int) -> np.ndarray:
    """Steps within a pair that agrees with the positions, where such pairs hold both sections."""
    good = np.flatnonzero(agreement > 0.25)
    held = np.zeros(count, bool)
    held[first[good]] = held[second[good]] = True
    steps = np.zeros(count, bool)
    steps[:1] = True
    for a, b in zip(first[good].tolist(), second[good].tolist(), strict=True):
        steps[a + 1 : b + 1] |= held[a + 1 : b + 1] & held[a:b]
    return steps
