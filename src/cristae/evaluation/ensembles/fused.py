"""Predictions of several members, averaged where they are read: nothing is predicted or written again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image, Reader
from cristae.errors import RunError
from cristae.evaluation.ensembles.member_maps import decided
from cristae.inference.prediction import Prediction

Weights = Sequence[int]
"""How much each member counts; those of 0 are not read."""


def fused(predictions: Sequence[Prediction], weights_at: Callable[[int], Weights], threshold: float) -> Prediction:
    """The weighted average of what members say of one box.

    Args:
        predictions: Of the same box and classes, with probabilities.
        weights_at: The weights of all members in a slice of the volume.
        threshold: Of the probability, for classes that are decided by one.

    Returns:
        A prediction whose images are made as they are read: 8-bit means, and the labels that they lead to, without
        post-processing.

    Raises:
        RunError: Predictions are of other boxes or classes, or kept no probabilities.
    """
    first = predictions[0]
    for one in predictions:
        alike = (one.box, one.classes.scheme) == (first.box, first.classes.scheme)
        if not alike or len(one.probabilities) != first.classes.n_logits:
            raise RunError(
                f"{one.path}: cannot be averaged with {first.path}: both must be of the same box and classes, with "
                "probabilities"
            )

    def sums(box: Box, channels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Sums (C, Z, Y, X) of the maps, and how many were added (Z, 1, 1)."""
        weights = np.array([weights_at(first.box.start[0] + z) for z in range(box.start[0], box.stop[0])], np.int64)
        found = np.zeros((len(channels), *box.shape), np.int64)
        for one, own in zip(predictions, weights.T, strict=True):
            if own.any():
                found += own[:, None, None] * np.stack([one.probabilities[channel].read(box) for channel in channels])
        return found, weights.sum(1)[:, None, None]

    def mean_of(channel: int) -> Reader:
        def read(box: Box) -> np.ndarray:
            found, total = sums(box, [channel])
            mean: np.ndarray = np.rint(found[0] / total).astype(np.uint8)
            return mean

        return read

    def labels_of(place: int) -> Reader:
        def read(box: Box) -> np.ndarray:
            channels = range(first.classes.n_logits) if first.classes.softmax else [place]
            found: np.ndarray = decided(first.classes, threshold, *sums(box, channels))[0]
            return found

        return read

    return replace(
        first,
        labels=tuple(_as(image, labels_of(place)) for place, image in enumerate(first.labels)),
        probabilities=tuple(_as(image, mean_of(place)) for place, image in enumerate(first.probabilities)),
        disagreement=None,
    )


def _as(image: Image, reader: Reader) -> Image:
    return replace(image, reader=reader, dtype=np.dtype(np.uint8))
