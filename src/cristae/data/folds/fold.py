"""One fold of a cross-validation: what it trains on, what it holds out, and the gap between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cristae.data.folds.pool import Pool, counts_within, in_words, joined, kept, meets
from cristae.data.folds.units import Unit
from cristae.data.splits import Part


@dataclass(frozen=True, eq=False)
class Fold:
    """One split of the pool: what it trains on, what it validates and, of nested folds, what it tests.

    Two voxels that count in different ones of these lie farther apart than the guard.
    """

    number: int
    """From 1."""
    train: tuple[Part, ...]
    validate: tuple[Part, ...]
    train_counts: np.ndarray
    """(256,) voxels of each class id that are trained on."""
    validate_counts: np.ndarray
    """(256,) voxels of each class id that are validated."""
    gap_counts: np.ndarray
    """(256,) voxels of each class id that are neither, nor tested, because they lie in the gap."""
    units: tuple[str, ...]
    """What is validated, in words."""
    tested: Tested | None = None
    """Of a nested fold."""

    @property
    def scored(self) -> tuple[Part, ...]:
        """What the fold is scored on: each labelled voxel of the pool is scored by one of all folds."""
        return self.validate if self.tested is None else self.tested.parts

    @property
    def scored_counts(self) -> np.ndarray:
        """(256,) voxels of each class id there."""
        return self.validate_counts if self.tested is None else self.tested.counts


@dataclass(frozen=True, eq=False)
class Tested:
    """What a nested fold is scored on: neither trained on nor used to choose anything."""

    parts: tuple[Part, ...]
    counts: np.ndarray
    """(256,) voxels of each class id."""
    units: tuple[str, ...]
    """In words."""


@dataclass(frozen=True, eq=False)
class Folds:
    """The parts of the pool, and what folds are made of them."""

    pool: Pool
    where: Sequence[int]
    """The part of each unit, from 0."""
    count: int

    def fold(self, number: int) -> Fold:
        """The fold that validates the part of its number, from 1."""
        validate, counts, words = self._part(number - 1)
        return self._fold(number, validate, counts, words)

    def nested(self, number: int, *, stratify: bool) -> Fold:
        """The fold that tests the part of its number and validates the next one; where classes matter, the first of
        those behind it that leaves most of them to train on, then to validate."""
        others = [(number + step) % self.count for step in range(self.count - 1)]
        if not stratify:
            return self._nested(number, others[0])
        at_most = {other: self._worth_without_gap(number - 1, other) for other in others}
        found: list[tuple[tuple[int, ...], Fold]] = []
        for other in sorted(others, key=at_most.__getitem__, reverse=True):
            if any(worth >= at_most[other] for worth, _ in found):
                break  # no other can be better, and making a fold may mean reading
            fold = self._nested(number, other)
            found.append((self._worth(fold.train_counts, fold.validate_counts), fold))
        return max(found, key=lambda one: one[0])[1]

    def _nested(self, number: int, other: int) -> Fold:
        test, tested, names = self._part(number - 1)
        held, _, _ = self._part(other)
        validate = tuple(Part(part.volume, box) for part in held for box in kept(part, test, self.pool))
        units = self._units(other)
        words = in_words([unit for unit in units if meets(unit, validate)])
        return self._fold(
            number, validate, counts_within(self.pool, validate, units), words, Tested(test, tested, names)
        )

    def _fold(
        self,
        number: int,
        validate: tuple[Part, ...],
        counts: np.ndarray,
        words: tuple[str, ...],
        tested: Tested | None = None,
    ) -> Fold:
        held = validate if tested is None else (*tested.parts, *validate)
        train = tuple(Part(part.volume, box) for part in self.pool.parts for box in kept(part, held, self.pool))
        trained = counts_within(self.pool, train, self.pool.units)
        gap = self._total - trained - counts - (0 if tested is None else tested.counts)
        return Fold(number, train, validate, trained, counts, gap, words, tested)

    def _part(self, part: int) -> tuple[tuple[Part, ...], np.ndarray, tuple[str, ...]]:
        """A part of the pool: its regions, the voxels of each class id, and the same in words."""
        return joined(self.pool.units, self.where, part), self._sums[part], in_words(self._units(part))

    def _units(self, part: int) -> list[Unit]:
        return [unit for unit, own in zip(self.pool.units, self.where, strict=True) if own == part]

    @cached_property
    def _sums(self) -> list[np.ndarray]:
        """(256,) voxels of each class id in each part."""
        return [np.sum([unit.counts for unit in self._units(part)], axis=0) for part in range(self.count)]

    @cached_property
    def _total(self) -> np.ndarray:
        total: np.ndarray = np.sum(self._sums, axis=0)
        return total

    def _worth_without_gap(self, test: int, validate: int) -> tuple[int, ...]:
        validated = self._sums[validate]
        return self._worth(self._total - self._sums[test] - validated, validated)

    def _worth(self, *counts: np.ndarray) -> tuple[int, ...]:
        """Of each, whether there are voxels, and how many foreground classes they have."""
        ids = list(self.pool.classes.foreground_ids)
        return tuple(value for one in counts for value in (int(one.any()), int(np.count_nonzero(one[ids]))))
