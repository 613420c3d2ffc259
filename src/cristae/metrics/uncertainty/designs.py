"""How the labelled slices of a volume were chosen, and what that does to the spread of their mean.

A design is known where chance chose the slices: `random` (any n of N), `systematic` (every k-th, from a random start) or
`stratified` (two at random from each of n / 2 equal parts of the volume). Neighbouring slices show the same objects, so
a block of adjacent slices says nothing of the others: no interval for the volume can be made of it.

References:
    Cochran (1977), Sampling Techniques, chapters 2, 5, 5A and 8
    Gundersen and Jensen (1987), https://doi.org/10.1111/j.1365-2818.1987.tb02837.x
    Wolter (1984), https://doi.org/10.1080/01621459.1984.10477095
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from cristae.errors import ScoreError

Design = Literal["random", "systematic", "stratified"]
DESIGNS: Final[tuple[Design, ...]] = get_args(Design)
WHAT_TO_LABEL: Final = "label slices from all over the volume instead (--plan N says which)"
_UNLIKELY: Final = 1e-3
"""Samples that chance gives more rarely than this were not drawn by chance."""
_PER_STRATUM: Final = 2


@dataclass(frozen=True, eq=False)
class Sample:
    """Which units of a population were labelled, and by which design."""

    design: Design
    population: int
    """How many units there are, such as the slices of a volume."""
    strata: np.ndarray
    """(n,) int: the part of the volume that each labelled unit lies in; all 0 but for `stratified`. In order of z."""
    strata_sizes: np.ndarray
    """(strata,) units of the population in each part."""

    @classmethod
    def of(cls, design: Design, n: int, population: int) -> Sample:
        """A sample of `n` units of one population; for `stratified`, two from each of n / 2 equal parts."""
        if design != "stratified":
            return cls(design, population, np.zeros(n, np.int64), np.array([population]))
        sizes = np.diff(_edges(population, n // _PER_STRATUM))
        return cls(design, population, np.repeat(np.arange(n // _PER_STRATUM), _PER_STRATUM), sizes)

    @property
    def n(self) -> int:
        """Labelled units."""
        return len(self.strata)

    @property
    def weights(self) -> np.ndarray:
        """(n,) what fraction of the population each labelled unit stands for; they sum to 1."""
        found: np.ndarray = (self.strata_sizes / self._counts / self.population)[self.strata]
        return found

    @property
    def groups(self) -> np.ndarray:
        """(n,) units that are left out together while something is found for one of them."""
        return self.strata if self.design == "stratified" else np.arange(self.n)

    def variance(self, residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Variance of the weighted mean of (..., n) values, and the degrees of freedom of its estimate, both (...).

        `random`: s^2 / n. `systematic`: half the mean square of the steps between neighbours / n, which a trend over
        the volume hardly changes; with correlated neighbours it is too large, never too small. `stratified`: the
        squared differences within the parts. All with the finite population correction 1 - n / N.
        """
        n, one = self.n, np.ones(residuals.shape[:-1])
        rest = 1 - n / self.population
        if self.design == "random":
            return rest * residuals.var(axis=-1, ddof=1) / n, (n - 1) * one
        if self.design == "systematic":
            steps = np.square(np.diff(residuals, axis=-1)).sum(axis=-1) / (2 * (n - 1))
            return rest * steps / n, 2 * (n - 1) ** 2 / (3 * n - 4) * one
        parts = np.stack(
            [residuals[..., self.strata == one].var(axis=-1, ddof=1) for one in range(len(self.strata_sizes))], axis=-1
        )
        share = np.square(self.strata_sizes / self.population) * (1 / self._counts - 1 / self.strata_sizes)
        terms = np.maximum(share, 0) * parts
        total, inner = terms.sum(axis=-1), self._counts - 1
        squares = (np.square(terms) / (inner + 2)).sum(axis=-1)  # unbiased for normal values, unlike Satterthwaite's own
        free = np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1) - 2, inner.sum())
        return total, np.clip(free, 1, inner.sum())

    @property
    def _counts(self) -> np.ndarray:
        return np.bincount(self.strata, minlength=len(self.strata_sizes))


def plan_units(population: int, n: int, design: Design = "systematic", *, seed: int = 0) -> tuple[int, ...]:
    """Which of a volume's slices to label.

    Args:
        population: Slices that there are.
        n: Slices to label.
        design: How chance is to choose them.
        seed: The same seed plans the same slices.

    Returns:
        Slice numbers, rising, from 0.

    Raises:
        ScoreError: There are not so many slices, or a number that the design cannot have.

    Example:
        >>> plan_units(100, 10)
        (6, 16, 26, 36, 46, 56, 66, 76, 86, 96)
    """
    if not 1 <= n <= population:
        raise ScoreError(f"{n} slices cannot be chosen among {population}")
    rng = np.random.default_rng(seed)
    if design == "random":
        return tuple(sorted(rng.choice(population, n, replace=False).tolist()))
    if design == "systematic":
        step = population / n
        return tuple(np.floor(rng.uniform(0, step) + step * np.arange(n)).astype(int).tolist())
    if n % _PER_STRATUM or n < 2 * _PER_STRATUM or n > population:
        raise ScoreError(f"a stratified sample has two slices in each part: an even number from 4 on, got {n}")
    edges = _edges(population, n // _PER_STRATUM)
    parts = [a + rng.choice(b - a, _PER_STRATUM, replace=False) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return tuple(sorted(np.concatenate(parts).tolist()))


def sample_of(places: Sequence[int], population: int, stated: Design | None) -> Sample:
    """The sample that labelled slices are, by the design that was stated or is recognised.

    Args:
        places: Numbers of the labelled slices among the `population`, rising.
        population: How many there are.
        stated: None recognises equal steps over the whole volume as systematic, and takes others as random.

    Raises:
        ScoreError: The slices are one block of neighbours or lie in one part of the volume only, or do not follow the
            design that was stated.
    """
    at = np.asarray(places, np.int64)
    n = len(at)
    if n == population:
        return Sample.of("random", n, population)
    steps = np.diff(at)
    if n > 1 and (steps == 1).all():
        raise ScoreError(
            f"the {n} labelled slices are neighbours (slices {at[0]} to {at[-1]} of {population}): they show the same "
            "objects, so there is no valid interval for the whole volume; " + WHAT_TO_LABEL
        )
    even = n > 1 and steps.max() - steps.min() <= 1 and steps.min() > 1
    reach = (int(at[-1]) - int(at[0]) + 1) / population
    chance = n * reach ** (n - 1) - (n - 1) * reach**n  # that the range of n random places is at most this
    if n > 2 and chance < _UNLIKELY:
        raise ScoreError(
            f"the {n} labelled slices lie between slices {at[0]} and {at[-1]} of {population}, where chance hardly ever "
            "puts all of them: there is no valid interval for the whole volume; " + WHAT_TO_LABEL
        )
    if stated == "systematic" and not even:
        raise ScoreError(
            f"the labelled slices are not evenly spaced (steps of {steps.min()} to {steps.max()} slices), so they are no "
            "systematic sample; say --design random if chance chose them"
        )
    if stated == "stratified":
        return _stratified(at, population)
    return Sample.of(stated or ("systematic" if even else "random"), n, population)


def slabs_of(places: Sequence[int], population: int) -> tuple[np.ndarray, bool]:
    """Runs of neighbouring labelled slices.

    Returns:
        (n,) the run of each slice, and whether runs are longer than chance makes them, so that whole runs were chosen.
    """
    at = np.asarray(places, np.int64)
    runs = np.concatenate([[0], np.cumsum(np.diff(at) > 1)]) if len(at) else at
    count = int(runs[-1]) + 1 if len(at) else 0
    by_chance = 1 / (1 - len(at) / population) if len(at) < population else np.inf
    return runs, count > 1 and len(at) / count > 1.5 * by_chance


def _stratified(at: np.ndarray, population: int) -> Sample:
    found = Sample.of("stratified", len(at), population)
    edges = _edges(population, len(at) // _PER_STRATUM)
    inside = np.histogram(at, edges)[0]
    if len(at) % _PER_STRATUM or (inside != _PER_STRATUM).any():
        raise ScoreError(
            f"a stratified sample has two slices in each of {len(at) // 2} equal parts of the volume, found "
            f"{', '.join(map(str, inside))} in them; say --design random if chance chose them"
        )
    return found


def _edges(population: int, parts: int) -> np.ndarray:
    return np.rint(np.linspace(0, population, max(parts, 1) + 1)).astype(np.int64)
