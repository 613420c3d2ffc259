"""From probabilities to what is written: class ids, or one mask for each overlapping class, as uint8."""

from __future__ import annotations

import torch
from torch import Tensor

from cristae.inference.ensemble import Ensemble


def labels_of(probabilities: Tensor, ensemble: Ensemble, threshold: float) -> Tensor:
    """Decide the class of every voxel.

    Softmax classes: the most probable one. One sigmoid: foreground where it is strictly above the threshold. Merged
    binary structures: the highest probability where it is strictly above the threshold, else background. Ties go to the
    lower id. Overlapping classes: each has its own mask, 1 strictly above the threshold.

    Args:
        probabilities: float32 (K, Z, Y, X), channels as in `ensemble.channel_names`.
        ensemble: The classes of the result and how they came about.
        threshold: From 0 to 1.

    Returns:
        uint8 (1, Z, Y, X) of ids for exclusive classes, (K, Z, Y, X) of 0 and 1 for overlapping ones.
    """
    if ensemble.softmax:
        return probabilities.argmax(0, keepdim=True).to(torch.uint8)
    if ensemble.merged:
        best, place = probabilities.max(0, keepdim=True)
        return torch.where(best > threshold, place + 1, 0).to(torch.uint8)
    return (probabilities > threshold).to(torch.uint8)


def bytes_of(probabilities: Tensor) -> Tensor:
    """Probabilities, or fractions of the largest disagreement, as uint8: p x 255, rounded."""
    return (probabilities * 255).round_().to(torch.uint8)
