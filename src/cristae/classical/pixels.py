"""The first stage: from grey values to the probabilities of every voxel, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cristae.classical.features import FeaturePlan, Smoothed
from cristae.classical.threads import side_by_side
from cristae.classical.trees import Trees
from cristae.data.box import Box, Triple
from cristae.data.image import Image
from cristae.preprocess.normalize import Normalizer

_BLOCK = {2: (1, 2048, 2048), 3: (32, 256, 256)}
"""Voxels (z, y, x) that are smoothed at once."""
_TILE = {2: (1, 64, 1024), 3: (8, 64, 128)}
"""Voxels (z, y, x) whose features are in memory at once, by each thread."""


def read_around(image: Image, box: Box, reach: Triple, normalizer: Normalizer) -> np.ndarray:
    """Normalised grey values float32 of a box and `reach` voxels on each side, mirrored outside the image."""
    wanted = box.grow(reach)
    there = wanted.intersect(Box.of_shape(image.shape))
    return _mirrored(normalizer.read(image, there), there, wanted)


def mirrored(grey: np.ndarray, box: Box, reach: Triple) -> np.ndarray:
    """The voxels of a box of an image in memory and `reach` voxels on each side, mirrored outside the image."""
    wanted = box.grow(reach)
    there = wanted.intersect(Box.of_shape(grey.shape))
    return _mirrored(grey[there.slices], there, wanted)


def _mirrored(grey: np.ndarray, there: Box, wanted: Box) -> np.ndarray:
    """Borders are mirrored without repeating the outermost voxel, again and again where the image is small."""
    before = np.subtract(there.start, wanted.start)
    after = np.subtract(wanted.stop, there.stop)
    if not (before.any() or after.any()):
        return grey
    return np.pad(grey, list(zip(before, after, strict=True)), mode="reflect")


def smooth_all(grey: np.ndarray, plan: FeaturePlan, threads: int = 1) -> Smoothed:
    """The smoothed images of all scales of a plan, for `FeaturePlan.stack`."""
    slowest_first = plan.scales[::-1]
    found = side_by_side(lambda scale: plan.smooth(grey, scale), slowest_first, threads)
    return dict(zip(slowest_first, found, strict=True))


def pixel_probabilities(
    grey: np.ndarray, plan: FeaturePlan, forests: Sequence[Trees], *, wanted: Box, threads: int
) -> np.ndarray:
    """Probabilities of the voxels of a box.

    Args:
        grey: float32 (Z, Y, X); its borders are mirrored.
        plan: The features that the forests know.
        forests: One or several.
        wanted: A box of `grey`.
        threads: How many to use.

    Returns:
        float32 (K, Z, Y, X), the classes of all forests one after the other.
    """
    result = np.empty((sum(trees.n_classes for trees in forests), *wanted.shape), np.float32)
    for block in wanted.blocks(_BLOCK[plan.ndim]):
        around = mirrored(grey, block, plan.reach)
        smoothed = smooth_all(around, plan, threads)
        target = result[(slice(None), *block.relative_to(wanted.start).slices)]

        def ask(tile: Box, around: np.ndarray = around, smoothed: Smoothed = smoothed) -> np.ndarray:
            features = plan.stack(around, smoothed, tile)
            flat = features.reshape(len(features), -1)
            answers = np.concatenate([trees.probabilities(flat) for trees in forests])
            return answers.reshape(-1, *tile.shape)

        tiles = list(Box.of_shape(block.shape).blocks(_TILE[plan.ndim]))
        for tile, answers in zip(tiles, side_by_side(ask, tiles, threads), strict=True):
            target[(slice(None), *tile.slices)] = answers
    return result
