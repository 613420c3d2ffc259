"""Channels with mean 0 and length 1, so that the correlation of two is the product of their rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.evaluation.features.store import FeatureStore

LEAST_SPREAD = 1e-5
"""Of a channel's largest magnitude: what varies less is constant as far as float32 can tell."""
_ROWS = 256
"""Channels whose float64 copy is in memory at once."""


@dataclass(frozen=True, eq=False)
class Standard:
    """What is taken off each channel, and what it is then multiplied with."""

    mean: np.ndarray
    """(N,) float64, over all pixels of all places."""
    factor: np.ndarray
    """(N,) float64: one over the length of what is left; 0 of constant channels."""

    @property
    def alive(self) -> np.ndarray:
        """(N,) bool: channels that vary, so that they have correlations."""
        return self.factor > 0

    def rows(self, store: FeatureStore, place: int, first: int, last: int, out: np.ndarray | None = None) -> np.ndarray:
        """Standardised features float32 (last - first, P) at a place."""
        found = store.read(place, first, last)
        result = found if out is None else out
        for start in range(0, len(found), _ROWS):
            some = slice(start, min(start + _ROWS, len(found)))
            at = slice(first + some.start, first + some.stop)
            result[some] = (found[some] - self.mean[at, None]) * self.factor[at, None]
        return result


def standardise(store: FeatureStore) -> Standard:
    """Mean and spread of every channel, in float64 and with bounded memory.

    The sums of squares of places are joined around their common mean, so that nothing cancels.

    References:
        Chan, Golub, LeVeque (1983), Algorithms for computing the sample variance, https://doi.org/10.2307/2683386
    """
    mean, factor = np.zeros(store.channels), np.zeros(store.channels)
    for first in range(0, store.channels, _ROWS):
        last = min(first + _ROWS, store.channels)
        means, squares = np.zeros((2, store.places, last - first))
        low, high = np.full(last - first, np.inf), np.full(last - first, -np.inf)
        for place in range(store.places):
            values = store.read(place, first, last).astype(np.float64)
            means[place] = values.mean(axis=1)
            squares[place] = ((values - means[place][:, None]) ** 2).sum(axis=1)
            low, high = np.minimum(low, values.min(axis=1)), np.maximum(high, values.max(axis=1))
        mean[first:last] = means.mean(axis=0)
        total = squares.sum(axis=0) + store.pixels * ((means - mean[first:last]) ** 2).sum(axis=0)
        varies = high - low > LEAST_SPREAD * np.maximum(np.abs(low), np.abs(high))
        factor[first:last][varies] = 1 / np.sqrt(total[varies])
    return Standard(mean, factor)
