"""How well labels lie on an image, without knowing what they show: by how much of them grey values and edges explain.

Structures are drawn where the image changes, so inside and outlines of labels can be predicted, if roughly, from grey
values, edges and spots around each voxel. A linear regression does it, whose coefficient of determination (R squared)
says how well. The image enters by the correlations of labels with its features alone, which a Fourier transform gives
for all displacements at once. Neither the contrast of the image nor what the classes mean matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

FEATURES_REACH = 16
"""Voxels (y, x) around a window that its features depend on."""
ODD = np.array([True, False, True, True, False, True])
"""Which features change their sign where dark and bright are exchanged."""
_SIGMAS_VOX = (1.0, 3.0)
_RIDGE = 1e-3
"""Of the mean variance of the features, so that features that say the same do no harm."""


def features_of(plane: np.ndarray) -> np.ndarray:
    """What a plane (Y, X) of grey values shows at two scales: grey value, edge and spot or line; (6, Y, X)."""
    low, high = np.percentile(plane, (0.5, 99.5))
    grey = np.clip(plane.astype(np.float32), low, high)
    found = []
    for sigma in _SIGMAS_VOX:
        smooth = ndimage.gaussian_filter(grey, sigma)
        found += [smooth, np.hypot(*np.gradient(smooth)), ndimage.gaussian_laplace(grey, 1.2 * sigma)]
    return np.stack(found)


def standardized(features: np.ndarray) -> np.ndarray:
    """Each feature (F, Y, X) with mean 0 and deviation 1; constant ones are 0."""
    centred = features - features.mean((1, 2), keepdims=True)
    deviation = centred.std((1, 2), keepdims=True)
    return np.asarray(centred / np.where(deviation > 1e-6, deviation, np.inf), np.float32)


def outlines(masks: np.ndarray) -> np.ndarray:
    """Where a mask (K, Y, X) changes to the next pixel, on both sides of the change; (Y, X)."""
    found = np.zeros(masks.shape[1:], bool)
    for axis in (0, 1):
        first, second = (np.moveaxis(masks, axis + 1, 1)[:, part] for part in (slice(None, -1), slice(1, None)))
        changes = (first != second).any(axis=0)
        line = np.moveaxis(found, axis, 0)
        line[:-1] |= changes
        line[1:] |= changes
    return found


def marks_of(masks: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """What is to be explained: each mask (K, Y, X), and the outlines of all, about their means where labels count."""
    marks = np.concatenate([masks, outlines(masks)[None]]).astype(np.float32)
    if valid is None:
        return np.asarray(marks - marks.mean((1, 2), keepdims=True))
    means = marks[:, valid].mean(1) if valid.any() else np.zeros(len(marks), np.float32)
    return np.asarray((marks - means[:, None, None]) * valid)


@dataclass(eq=False)
class LabelFit:
    """Sums over planes or windows from which the explained share of labels follows, for all displacements."""

    covariance: np.ndarray | float = 0.0
    """(F, F) of the features."""
    crossed: np.ndarray | float = 0.0
    """(K, F, Dy, Dx) of labels and features by displacement of the labels."""
    variance: np.ndarray | float = 0.0
    """(K,) of the labels."""

    def explained(self) -> np.ndarray:
        """(Dy, Dx) share of the labels' variance that features explain, 0 to 1: the mean over masks and outlines."""
        shares = self.shares()
        return np.asarray(shares.mean(0)) if len(shares) else np.zeros(np.shape(self.crossed)[2:])

    def shares(self) -> np.ndarray:
        """(K, Dy, Dx) by mask, of those that are somewhere and not everywhere."""
        crossed, variance = np.asarray(self.crossed), np.asarray(self.variance)
        there = variance > 0
        inverse = _inverse(np.asarray(self.covariance))
        share = np.einsum("kfyx,fg,kgyx->kyx", crossed[there], inverse, crossed[there], optimize=True)
        return np.asarray(share / variance[there][:, None, None])

    def relation(self, place: tuple[int, int]) -> np.ndarray:
        """(K, F) correlations of masks and outlines with features at a displacement; 0 of what is nowhere."""
        crossed, variance = np.asarray(self.crossed)[..., place[0], place[1]], np.asarray(self.variance)
        spread = np.sqrt(np.outer(variance, np.diag(np.asarray(self.covariance))))
        return np.asarray(np.divide(crossed, spread, out=np.zeros_like(crossed), where=spread > 0))


def _inverse(covariance: np.ndarray) -> np.ndarray:
    ridge = _RIDGE * np.trace(covariance) / len(covariance) or 1.0
    return np.linalg.inv(covariance + ridge * np.eye(len(covariance)))


def add_window(fit: LabelFit, features: np.ndarray, marks: np.ndarray, reach: tuple[int, int]) -> None:
    """Add a window of an image, and its labels displaced by up to `reach` voxels (y, x) to both sides.

    Args:
        fit: Where to add.
        features: (F, Y, X), standardized.
        marks: (K, Y + 2 reach, X + 2 reach) of `marks_of`.
        reach: Of the displacements.
    """
    count, area = len(features), features[0].size
    flat = features.reshape(count, area)
    fit.covariance = fit.covariance + flat @ flat.T
    middle = marks[:, reach[0] : marks.shape[1] - reach[0], reach[1] : marks.shape[2] - reach[1]]
    fit.variance = fit.variance + (middle**2).sum((1, 2), dtype=np.float64)
    if reach == (0, 0):
        crossed = marks.reshape(len(marks), area) @ flat.T
        fit.crossed = fit.crossed + crossed[..., None, None].astype(np.float64)
        return
    size = (fft.next_fast_len(marks.shape[1], real=True), fft.next_fast_len(marks.shape[2], real=True))
    spectrum = np.conj(fft.rfft2(features, s=size))[None] * fft.rfft2(marks, s=size)[:, None]
    crossed = fft.irfft2(spectrum, s=size)[..., : 2 * reach[0] + 1, : 2 * reach[1] + 1]
    # Labels displaced by +d show at x what was at x - d.
    fit.crossed = fit.crossed + crossed[..., ::-1, ::-1].astype(np.float64)
