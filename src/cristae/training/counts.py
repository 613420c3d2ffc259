"""Voxel counts on the device where the labels already are, equal to those of `cristae.metrics.confusion`."""

from __future__ import annotations

import torch
from torch import Tensor

from cristae.errors import ScoreError
from cristae.metrics.confusion import Confusion


def count_on_device(truth: Tensor, prediction: Tensor, n_classes: int, valid: Tensor | None = None) -> Confusion:
    """Count pairs of true and predicted class; only the table leaves the device.

    Counts are integers from start to end, so the order in which a GPU adds them changes nothing, and torch's
    deterministic mode allows it.

    Args:
        truth: Ids from 0 to `n_classes` - 1, or one mask of an overlapping class; uint8 or bool of any shape.
        prediction: The same of the prediction, of the same shape and device.
        n_classes: K, background included; 2 for masks, at most 256.
        valid: Same shape, 0 where a voxel does not count; what the two hold there is ignored.

    Returns:
        What `Confusion.of` counts.

    Raises:
        ScoreError: Shapes differ, types are others, or a voxel that counts holds something that is not an id.
    """
    for what, tensor in (("prediction", prediction), ("its valid mask", valid)):
        if tensor is not None and tensor.shape != truth.shape:
            shapes = f"truth has shape {tuple(truth.shape)}, {what} has shape {tuple(tensor.shape)}"
            raise ScoreError(f"{shapes}; they must be equal")
    for what, tensor in (("truth", truth), ("prediction", prediction)):
        if tensor.dtype not in (torch.uint8, torch.bool):
            raise ScoreError(f"{what} must hold class ids in one byte each (uint8 or bool), got {tensor.dtype}")
    if truth.device.type == "cpu":  # the same memory; NumPy counts twice as fast as torch does there
        return Confusion.of(truth.numpy(), prediction.numpy(), n_classes, None if valid is None else valid.numpy())
    return _count_by_torch(truth, prediction, n_classes, valid)


def _count_by_torch(truth: Tensor, prediction: Tensor, n_classes: int, valid: Tensor | None) -> Confusion:
    """One pass on any device, with a further row and column for labels out of range."""
    side, top = n_classes + 1, min(n_classes, 255)
    codes = truth.byte().clamp(max=top).to(torch.uint8 if side * side <= 256 else torch.int32)
    codes *= side
    codes += prediction.byte().clamp(max=top)
    if valid is not None:
        codes *= valid != 0
    counts = torch.bincount(codes.reshape(-1), minlength=side * side).cpu().numpy().reshape(side, side)
    if valid is not None:
        counts[0, 0] -= valid.numel() - int(torch.count_nonzero(valid))
    for what, out_of_range in (("truth", counts[n_classes].sum()), ("prediction", counts[:, n_classes].sum())):
        if out_of_range:
            raise ScoreError(f"{what} holds ids other than 0 to {n_classes - 1} in {out_of_range} voxels")
    return Confusion(counts[:n_classes, :n_classes].copy())
