"""How the labelled slices of a volume were chosen, and what that does to the spread of their mean.

A design is known where chance chose the slices: `random` (any n of N), `systematic` (every k-th, from a random start)
or `stratified` (two at random from each of n / 2 equal parts of the volume). Neighbouring slices show the same objects,
so a block of adjacent slices says nothing of the others: no interval for the volume can be made of it.

References:
    Cochran (1977), Sampling Techniques, chapters 2, 5, 5A and 8
    Gundersen and Jensen (1987), https://doi.org/10.1111/j.1365-2818.1987.tb02837.x
    Wolter (1984), https://doi.org/10.1080/01621459.1984.10477095
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

import numpy as np

from cristae.errors import ScoreError

Design = Literal["random", "systematic", "stratified"]
DESIGNS: Final[tuple[Design, ...]] = get_args(Design)
WHAT_TO_LABEL: Final = "label slices from all over the volume instead; --plan N says which"
_UNLIKELY: Final = 1e-3
"""Samples that chance gives more rarely than this were not drawn by chance."""
_EACH: Final = 2
"""Slices in each part of a stratified sample."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Which units of a population were labelled, and by which design."""

    design: Design
    strata: np.ndarray
    """(n,) int: the part of the population that each labelled unit lies in; rising, in each in the order of z."""
    sizes: np.ndarray
    """(strata,) units of the population in each part."""

    @classmethod
    def of(cls, design: Design, n: int, population: int) -> Sample:
        """A sample of `n` units of one population; for `stratified`, two from each of n / 2 equal parts."""
        if design != "stratified":
            return cls(design, np.zeros(n, np.int64), np.array([population]))
        return cls(design, np.repeat(np.arange(n // _EACH), _EACH), np.diff(_edges(population, n // _EACH)))

    @classmethod
    def together(cls, samples: Sequence[Sample]) -> Sample:
        """Samples of several populations, such as volumes, as one of their union."""
        first = np.cumsum([0, *(len(one.sizes) for one in samples)])
        strata = [one.strata + start for one, start in zip(samples, first, strict=False)]
        return cls(samples[0].design, np.concatenate(strata), np.concatenate([one.sizes for one in samples]))

    @property
    def n(self) -> int:
        """Labelled units."""
        return len(self.strata)

    @property
    def population(self) -> int:
        """Units that there are."""
        return int(self.sizes.sum())

    @property
    def counts(self) -> np.ndarray:
        """(strata,) labelled units of each part."""
        return np.bincount(self.strata, minlength=len(self.sizes))

    @property
    def weights(self) -> np.ndarray:
        """(n,) the fraction of the population that each labelled unit stands for; they sum to 1."""
        found: np.ndarray = (self.sizes / self.counts / self.population)[self.strata]
        return found

    @property
    def groups(self) -> np.ndarray:
        """(n,) units that are left out together while something is found for one of them."""
        return self.strata if self.design == "stratified" else np.arange(self.n)

    def variance(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Variance of the weighted mean of (..., n) values, and the degrees of freedom of its estimate, both (...).

        In each part the variance of single values is s^2, or for `systematic` half the mean square of the steps between
        neighbours, which a trend over the volume hardly changes; where neighbouring values go together that is too
        large, never too small. Finite population correction 1 - n / N. Degrees of freedom by Satterthwaite's formula,
        with the bias for parts of few units removed.
        """
        spreads, free = zip(*(self._spread(values[..., self.strata == part]) for part in self._parts), strict=True)
        counts, frees = self.counts, np.array(free)
        terms = np.square(self.sizes / self.population) * (1 / counts - 1 / self.sizes) * np.stack(spreads, axis=-1)
        total, squares = terms.sum(axis=-1), (np.square(terms) / (frees + 2)).sum(axis=-1)
        found = np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1) - 2, frees.sum())
        return total, np.clip(found, 1, frees.sum())

    @property
    def _parts(self) -> range:
        return range(len(self.sizes))

    def _spread(self, values: np.ndarray) -> tuple[np.ndarray, float]:
        """Variance of the values (..., n) of one part, and its degrees of freedom."""
        n = values.shape[-1]
        if self.design != "systematic":
            return values.var(axis=-1, ddof=1), n - 1
        steps: np.ndarray = np.square(np.diff(values, axis=-1)).sum(axis=-1) / (2 * (n - 1))
        return steps, 2 * (n - 1) ** 2 / (3 * n - 4)


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
    if n % _EACH or n < 2 * _EACH:
        raise ScoreError(f"a stratified sample has two slices in each part: an even number from 4 on, got {n}")
    edges = _edges(population, n // _EACH)
    parts = [a + rng.choice(b - a, _EACH, replace=False) for a, b in pairwise(edges)]
    return tuple(sorted(np.concatenate(parts).tolist()))


def sample_of(places: Sequence[int], population: int, stated: Design | None, *, where: str = "") -> Sample:
    """The sample that labelled slices are, by the design that was stated or is recognised.

    Args:
        places: Labelled slices among the `population`, rising.
        population: How many there are.
        stated: None recognises equal steps over the whole volume as systematic, and takes others as random.
        where: The volume, for messages.

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
            f"{where}the {n} labelled slices are neighbours ({at[0]} to {at[-1]} of {population}): they show the same "
            f"objects, so there is no valid interval for the whole volume; {WHAT_TO_LABEL}"
        )
    reach = (int(at[-1]) - int(at[0]) + 1) / population if n else 1.0
    chance = n * reach ** (n - 1) - (n - 1) * reach**n  # that n random places lie within a range as small as this
    if n > 2 and chance < _UNLIKELY:
        raise ScoreError(
            f"{where}the {n} labelled slices lie between {at[0]} and {at[-1]} of {population}, where chance hardly "
            f"ever puts all of them: there is no valid interval for the whole volume; {WHAT_TO_LABEL}"
        )
    even = n > 2 and steps.max() - steps.min() <= 1  # steps of 1 and 2 may be chance, too
    if stated == "systematic" and not even:
        raise ScoreError(
            f"{where}the labelled slices are not evenly spaced (steps of {steps.min()} to {steps.max()}), so they are "
            "no systematic sample; say --design random if chance chose them"
        )
    if stated == "stratified":
        return _stratified(at, population, where)
    return Sample.of(stated or ("systematic" if even and steps.min() > 1 else "random"), n, population)


def slabs_of(places: Sequence[int], population: int) -> tuple[np.ndarray, bool]:
    """Runs of neighbouring labelled slices.

    Returns:
        (n,) the run of each slice, and whether runs are longer than chance makes them, so that whole slabs were chosen.
    """
    at = np.asarray(places, np.int64)
    if not len(at) or len(at) == population:
        return np.zeros(len(at), np.int64), False
    runs = np.concatenate([[0], np.cumsum(np.diff(at) > 1)])
    count = int(runs[-1]) + 1
    by_chance = 1 / (1 - len(at) / population)
    return runs, count > 1 and len(at) / count > 1.5 * by_chance


def _stratified(at: np.ndarray, population: int, where: str) -> Sample:
    inside = np.histogram(at, _edges(population, len(at) // _EACH) - 0.5)[0]
    if len(at) % _EACH or (inside != _EACH).any():
        raise ScoreError(
            f"{where}a stratified sample has two slices in each of {len(at) // _EACH} equal parts of the volume, found "
            f"{', '.join(map(str, inside))} in them; say --design random if chance chose them"
        )
    return Sample.of("stratified", len(at), population)


def _edges(population: int, parts: int) -> np.ndarray:
    return np.rint(np.linspace(0, population, max(parts, 1) + 1)).astype(np.int64)
