"""How much each voxel of a patch counts in pixelwise loss terms."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.targets.form import Statistics, TargetConfig, TargetMaps


class NoWeighting(TargetConfig):
    """Every voxel counts the same."""

    name: Literal["none"] = "none"

    def __call__(self, target: Tensor, valid: Tensor, statistics: Statistics) -> TargetMaps:
        """The labels as they are, without weights."""
        return TargetMaps(target)


class SampleForegroundWeighting(TargetConfig):
    """Foreground voxels weigh as much as the patch's background has voxels for each of them.

    Zhang et al. (2018), https://arxiv.org/abs/1811.11729, adaptive sample-wise weighting.
    """

    name: Literal["sample_bf"] = "sample_bf"
    cap: Annotated[float, Field(gt=0)] | None = None
    """Largest weight of a foreground voxel; null for none. The paper: 2000 for microtubules, 1000 for Golgi."""

    def check(self, classes: Classes) -> None:
        """Raises: RecipeError: There is no background to weigh foreground by."""
        if not classes.background:
            raise RecipeError(
                f"{self.name} weighs foreground by the voxels of the background, but data.classes has "
                "`background: false`; set `name: none`"
            )

    def __call__(self, target: Tensor, valid: Tensor, statistics: Statistics) -> TargetMaps:
        """Weights min(B / F, cap) on foreground, 1 elsewhere, counted over the patch's valid voxels; 1 when F is 0.

        There is no lower bound: a patch with more foreground than background has weights below 1. Of ids, any but 0
        is foreground; of masks, each class has its own B and F.
        """
        masks = (target if target.ndim > valid.ndim else target.unsqueeze(1)) != 0
        foreground = masks & valid.unsqueeze(1)
        n_foreground = foreground.flatten(2).sum(2)
        n_background = valid.flatten(1).sum(1, keepdim=True) - n_foreground
        # In float64, so that counts of any size are divided exactly and only the quotient is rounded.
        exact = torch.float32 if target.device.type == "mps" else torch.float64
        ratio = n_background.to(exact) / n_foreground.to(exact)
        if self.cap is not None:
            ratio = ratio.clamp(max=self.cap)
        of_sample = ratio.float().view(*ratio.shape, *[1] * (valid.ndim - 1))
        return TargetMaps(target, weight=torch.where(foreground, of_sample, 1.0).view(target.shape))
