"""Images that are out of focus, and images that were sharpened: Gaussian blur in the plane of the slices."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field, PositiveFloat
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.augment.draws import change_some, over_slices, rising, slice_count
from cristae.augment.form import AugmentationConfig, Generators, Probability

_TRUNCATE = 4.0
"""Standard deviations at which the Gaussian is cut off, as scipy does."""


Sigma = Annotated[float, Field(ge=0.2, le=20)]
"""Standard deviation of a Gaussian in voxels; below 0.2 it changes nothing that could be seen."""
SigmaRange = Annotated[tuple[Sigma, Sigma], AfterValidator(rising)]


class Blur(AugmentationConfig):
    """Blur the slices of a patch in their plane, as a microscope that is out of focus does."""

    name: Literal["blur"] = "blur"
    sigma_vox: SigmaRange = (0.5, 1.5)
    """The standard deviation of the Gaussian is drawn evenly between these, in voxels."""
    per_slice: bool = False
    """Draw anew for each slice of a patch, instead of once for all."""
    probability: Probability = 0.2
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        count = slice_count(batch.image) if self.per_slice else 1
        return change_some(
            batch,
            generators,
            self.probability,
            lambda g: g.uniform(*self.sigma_vox, count),
            lambda image, sigma: gaussian_blur(image, over_slices(sigma, image), self.sigma_vox[1]),
        )


class Sharpen(AugmentationConfig):
    """Sharpen the slices of a patch in their plane (unsharp mask), as the software of some microscopes does."""

    name: Literal["sharpen"] = "sharpen"
    amount: PositiveFloat = 1.0
    """The difference to the blurred image is added once more, times a factor drawn evenly from 0 to amount."""
    sigma_vox: Sigma = 1.0
    """Standard deviation of the blur, in voxels."""
    probability: Probability = 0.2
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        return change_some(batch, generators, self.probability, lambda g: g.uniform(0, self.amount, 1), self._sharpened)

    def _sharpened(self, image: Tensor, factor: Tensor) -> Tensor:
        sigma = torch.full_like(factor, self.sigma_vox)
        blurred = gaussian_blur(image, over_slices(sigma, image), self.sigma_vox)
        return image + over_slices(factor, image) * (image - blurred)


def gaussian_blur(image: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Blur along y and x; beyond the border the voxels of the border go on.

    Sums of shifted images instead of a convolution: the same bytes whatever else is in the batch, and no reduced
    precision on GPUs.

    Args:
        image: (B, C, *S).
        sigma: Standard deviations in voxels, broadcasting over `image`; 0 leaves a slice as it is.
        largest: No sigma is above this.
    """
    reach = int(_TRUNCATE * largest + 0.5)
    weights = [_weight(distance, sigma) for distance in range(reach + 1)]
    total = weights[0] + 2 * sum(weights[1:], start=torch.zeros_like(sigma))
    weights = [weight / total for weight in weights]
    for axis in (-2, -1):
        image = _weighted(image, weights, axis)
    return image


def _weight(distance: int, sigma: Tensor) -> Tensor:
    inside = (_TRUNCATE * sigma + 0.5).floor() >= distance
    return inside * torch.exp(-0.5 * (distance / sigma.clamp(min=1e-6)) ** 2)


def _weighted(image: Tensor, weights: list[Tensor], axis: int) -> Tensor:
    """The sum of the image and of its shifts to both sides, `weights[d]` being that of distance d."""
    reach, size = len(weights) - 1, image.shape[axis]
    beyond = list(image.shape)
    beyond[axis] = reach
    first, last = image.narrow(axis, 0, 1).expand(beyond), image.narrow(axis, size - 1, 1).expand(beyond)
    padded = torch.cat([first, image, last], dim=axis)
    result = image * weights[0]
    for distance, weight in enumerate(weights[1:], start=1):
        both = padded.narrow(axis, reach - distance, size) + padded.narrow(axis, reach + distance, size)
        result.addcmul_(both, weight)
    return result
