"""Numbers drawn for some of the samples of a batch, and the change of their images, with their filtered copies.

What changes an image changes its filtered copies in the same way, by the same numbers and about the same means: those
of the image. A change of grey values that keeps their order commutes with the filter, so that the copies are those of
the changed image; blur, marks and stripes would be seen in them, too, where they are not small. Noise is small: it is
added to the image alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from pydantic import AfterValidator, PositiveFloat
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.augment.form import Generators

Draw = Callable[[np.random.Generator], np.ndarray]
"""Draws the numbers of one sample, always as many."""


def rising(limits: tuple[float, float]) -> tuple[float, float]:
    """Make sure that numbers can be drawn between limits."""
    if limits[0] > limits[1]:
        raise ValueError(f"the first limit must not be above the second, got {list(limits)}")
    return limits


PositiveRange = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(rising)]
"""Limits above 0 that numbers are drawn between."""


def change_some(
    batch: Batch, generators: Generators, probability: float, draw: Draw, change: Callable[[Tensor, Tensor], Tensor]
) -> Batch:
    """Change the images of the samples that are drawn, and their copies; no work is done for the others.

    Args:
        batch: It is not changed.
        generators: One for each sample; each draws whether it applies, then `draw`.
        probability: How often a sample is changed.
        draw: (n,) numbers of one sample.
        change: Of the images (N, C, *S) and numbers (N, n) of the chosen samples, to images of the same shape. Where
            there are filtered copies, it gets both as (N, 1 + A, 1, Z, Y, X), the image first.
    """
    drawn = [(generator.random() < probability, draw(generator)) for generator in generators]
    index = [i for i, (applies, _) in enumerate(drawn) if applies]
    if not index:
        return batch
    image, filtered = batch.image, batch.filtered
    numbers = torch.from_numpy(np.stack([drawn[i][1] for i in index])).to(image.dtype)
    where = torch.tensor(index).to(image.device, non_blocking=True)
    numbers, some = numbers.to(image.device, non_blocking=True), image.index_select(0, where)
    if filtered is None:
        return replace(batch, image=image.index_copy(0, where, change(some, numbers)))
    own = some[:, None, None] if batch.flat else some[:, None]
    changed = change(torch.cat([own, filtered.index_select(0, where).unsqueeze(2)], dim=1), numbers)
    own, copies = changed[:, 0].reshape(some.shape), changed[:, 1:, 0]
    return replace(batch, image=image.index_copy(0, where, own), filtered=filtered.index_copy(0, where, copies))


def slice_count(image: Tensor) -> int:
    """Slices of a patch: Z of (B, C, Z, Y, X), and C of (B, C, Y, X), whose channels are neighbouring slices."""
    return image.shape[-3]


def over_slices(numbers: Tensor, image: Tensor) -> Tensor:
    """Numbers (B, n) of n slices, or n = 1 for all alike, shaped to broadcast over `image`."""
    return numbers.view(len(numbers), *[1] * (image.ndim - 4), -1, 1, 1)


def over_planes(plane: Tensor, image: Tensor) -> Tensor:
    """One plane (B, Y, X) for each sample, shaped to broadcast over all slices of `image`."""
    return plane.view(len(plane), *[1] * (image.ndim - 3), *plane.shape[1:])


def plane_mean(image: Tensor) -> Tensor:
    """The mean of each slice, shaped to broadcast over `image`; of filtered copies that of the image before them.

    Axis by axis, so that no sum is split among threads: the same bytes whatever their number.
    """
    own = image[:, :1] if image.ndim == 6 else image
    return own.mean(-1, keepdim=True).mean(-2, keepdim=True)


def patch_mean(image: Tensor) -> Tensor:
    """The mean of each sample, its slices taken together, shaped to broadcast over `image`."""
    return plane_mean(image).mean(dim=tuple(range(1, image.ndim - 2)), keepdim=True)
