"""Predicting regions of images that are at hand, as training's validation does: the same code as for whole volumes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.inference.blocks import plan_blocks
from cristae.inference.labels import labels_of
from cristae.inference.plan import DEEP_CORE
from cristae.inference.predictor import Predictor


@dataclass(frozen=True, eq=False)
class PredictedBlock:
    """A part of one region."""

    region: int
    """Which of the regions, by place."""
    box: Box
    """Where it lies in its image."""
    probabilities: Tensor
    """float32 (K, Z, Y, X) on the predictor's device."""
    labels: np.ndarray
    """uint8 (1, Z, Y, X) ids, or (K, Z, Y, X) masks of overlapping classes."""


def predict_regions(
    predictor: Predictor, regions: Iterable[tuple[Image, Box]], *, threshold: float = 0.5
) -> Iterator[PredictedBlock]:
    """Predict boxes of images, block by block; each voxel of each box comes exactly once.

    The networks' mode (training or evaluation) is what it was when the iteration ends.

    Args:
        predictor: Networks and what they need; its images are read in raw grey values.
        regions: Images with the boxes wanted.
        threshold: See `labels_of`.
    """
    with predictor.predicting():
        for place, (image, box) in enumerate(regions):
            for block in plan_blocks(box, _block_shape(box)):
                found = predictor.probabilities(image, block.core)
                labels = labels_of(found, predictor.fusion, threshold).cpu().numpy()
                yield PredictedBlock(place, block.core, found, labels)


def _block_shape(box: Box) -> tuple[int, int, int]:
    """Whole slices where they are not huge, several together where they are small."""
    _, y, x = (min(side, limit) for side, limit in zip(box.shape, (1, 2048, 2048), strict=True))
    return max(1, DEEP_CORE // max(1, y * x)), max(1, y), max(1, x)
