"""How much each voxel of a patch counts in pixelwise loss terms."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from cristae.config import Config


class NoWeighting(Config):
    """Every voxel counts the same."""

    name: Literal["none"] = "none"

    def weights(self, target: np.ndarray, valid: np.ndarray) -> np.ndarray | None:
        """None, which stands for 1 everywhere."""
        return None


class SampleForegroundWeighting(Config):
    """Foreground voxels weigh as much as the patch's background has voxels for each of them.

    Zhang et al. (2018), https://arxiv.org/abs/1811.11729, adaptive sample-wise weighting.
    """

    name: Literal["sample_bf"] = "sample_bf"
    cap: Annotated[float, Field(gt=0)] | None = None
    """Largest weight of a foreground voxel; null for none. The paper: 2000 for microtubules, 1000 for Golgi."""

    def weights(self, target: np.ndarray, valid: np.ndarray) -> np.ndarray | None:
        """min(B / F, cap) on foreground, 1 elsewhere, counted over the patch's valid voxels; all 1 when F is 0.

        There is no lower bound: a patch with more foreground than background has weights below 1.

        Args:
            target: (*S) ids, where any but 0 is foreground, or (K, *S) masks, where each class has its own B and F.
            valid: bool (*S).

        Returns:
            float32 of the shape of `target`.
        """
        masks = (target if target.ndim > valid.ndim else target[None]) != 0
        weights = np.ones(masks.shape, np.float32)
        n_valid = np.count_nonzero(valid)
        for mask, weight in zip(masks, weights, strict=True):
            foreground = mask & valid
            n_foreground = np.count_nonzero(foreground)
            if n_foreground:
                ratio = (n_valid - n_foreground) / n_foreground
                weight[foreground] = ratio if self.cap is None else min(ratio, self.cap)
        return weights.reshape(target.shape)
