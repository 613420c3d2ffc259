"""Raw patches to normalised ones, each by the mapping of its volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from cristae.augment import Batch
from cristae.data.box import Box, Triple
from cristae.data.mirror import mirrored_positions
from cristae.preprocess.normalize import Normalizer


def normalized(raw: Batch, normalizers: Mapping[str, Normalizer]) -> Batch:
    """A batch with float32 images and copies, without the voxels around them that only their normalisation needs.

    Args:
        raw: Patches with the reach of the normalisers around them; where slices have their own mapping, or the reach is
            not 0, with the shapes of their volumes.
        normalizers: By volume name.
    """
    used = [normalizers[name] for name in raw.volumes]
    alike = used[0].placeless and all(normalizer is used[0] for normalizer in used)

    def numbers(images: Tensor) -> Tensor:
        if alike:
            return used[0].apply(images)
        shapes = raw.volume_shapes or (None,) * len(used)
        return torch.stack([_at_place(*one) for one in zip(used, images, raw.boxes, shapes, strict=True)])

    copies = None if raw.filtered is None else numbers(raw.filtered)
    return replace(raw, image=numbers(raw.image), filtered=copies)


def _at_place(normalizer: Normalizer, image: Tensor, box: Box, shape: Triple | None) -> Tensor:
    """The numbers of one patch, (C, Y, X) or (C, Z, Y, X), whose target lies in `box`."""
    if normalizer.placeless:
        return normalizer.apply(image)
    assert shape is not None
    depth = image.shape[-3]  # a flat patch has its slices as channels
    first = box.start[0] - (depth - box.shape[0]) // 2
    return normalizer.at(image, mirrored_positions(first, first + depth, shape[0]))
