"""Batches moved: exactly where voxels only change places, and otherwise by one resampling, from the patches with their
margin to what the network sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.augment.form import where_chosen
from cristae.augment.mapping import Affine, Places

Interpolation = Literal["linear", "cubic", "nearest"]


def permuted(batch: Batch, moves: Affine) -> Batch:
    """A batch without margin, mirrored and turned by quarters; only for samples whose `moves` are exact."""
    plane = moves.plane[:, :, :2]
    turned = plane[:, 0, 0] == 0
    mirrored = {
        -3: moves.along_z[:, 0] < 0,
        -2: plane.sum(axis=2)[np.arange(len(plane)), turned.astype(int)] < 0,
        -1: plane.sum(axis=2)[np.arange(len(plane)), 1 - turned.astype(int)] < 0,
    }
    if turned.any():
        batch = batch.map(partial(_transposed_where, _mask(turned, batch)))
    for dimension, chosen in mirrored.items():
        if chosen.any():
            batch = batch.map(partial(_mirrored_where, _mask(chosen, batch), dimension))
    return batch


def _mask(chosen: np.ndarray, batch: Batch) -> Tensor:
    return torch.from_numpy(chosen).to(batch.image.device, non_blocking=True)


def _transposed_where(mask: Tensor, tensor: Tensor) -> Tensor:
    return where_chosen(mask, tensor.mT, tensor)


def _mirrored_where(mask: Tensor, dimension: int, tensor: Tensor) -> Tensor:
    return where_chosen(mask, tensor.flip(dimension), tensor)


def resampled(batch: Batch, places: Places, interpolation: Interpolation) -> Batch:
    """What lies at `places` of a batch with its margin: the image interpolated, all else from the nearest voxel.

    What lies outside of what was read does not count.

    Args:
        batch: With its margin.
        places: Of all voxels of the image that the network sees.
        interpolation: Of the image in the plane; along z, `cubic` is linear.
    """
    y, x = places.dense()
    z = places.z()
    image = batch.image.unsqueeze(1) if batch.flat else batch.image  # (n, C, Z, Y, X)
    if interpolation == "nearest":
        image = _nearest_voxels(y, x, z, image.shape[2:]).of(image)
    else:
        image = _in_plane(_along_z(image.float(), z), y, x, interpolation)
    size = (1, *batch.target_size) if batch.flat else batch.target_size
    stored = (1, *batch.valid.shape[1:]) if batch.flat else batch.valid.shape[1:]
    voxels = _nearest_voxels(*_centre(y, x, z, size), stored)
    moved = replace(batch, image=batch.valid).map(partial(_nearest_of_target, voxels, batch.valid.ndim - 1))
    inside = voxels.inside.squeeze(1) if batch.flat else voxels.inside
    return replace(moved, image=image.squeeze(1) if batch.flat else image, valid=moved.valid & inside, margin=())


def _along_z(image: Tensor, z: np.ndarray) -> Tensor:
    """(n, C, Z, Y, X) at places (n, Z') along z, linear between slices."""
    at = (z + (image.shape[2] - 1) / 2).clip(0, image.shape[2] - 1)
    low = np.floor(at)
    fraction = (at - low).astype(np.float32)
    below = _slices(image, low.astype(int))
    if not fraction.any():
        return below
    above = _slices(image, np.minimum(low.astype(int) + 1, image.shape[2] - 1))
    share = torch.from_numpy(fraction).to(image.device, non_blocking=True)[:, None, :, None, None]
    return below * (1 - share) + above * share


def _slices(image: Tensor, index: np.ndarray) -> Tensor:
    """(n, C, Z', Y, X): the slices (n, Z') of each sample."""
    count, first = index.shape[1], int(index[0, 0])
    if np.array_equal(index, np.broadcast_to(first + np.arange(count), index.shape)):
        return image[:, :, first : first + count]
    chosen = torch.from_numpy(index).to(image.device, non_blocking=True)[:, None, :, None, None]
    return image.gather(2, chosen.expand(-1, image.shape[1], -1, *image.shape[3:]))


def _in_plane(image: Tensor, y: Tensor, x: Tensor, interpolation: Interpolation) -> Tensor:
    """(n, C, Z, Y', X') at places (n, L, Y', X') of each slice; with L = 1 all slices are channels of one plane."""
    count, channels, n_slices, *sides = image.shape
    grid = y.new_empty(*y.shape, 2)  # from -1 to 1, x first
    torch.mul(x, 2 / max(1, sides[1] - 1), out=grid[..., 0])
    torch.mul(y, 2 / max(1, sides[0] - 1), out=grid[..., 1])
    alike = y.shape[1] == 1
    planes = image.flatten(1, 2) if alike else image.transpose(1, 2).flatten(0, 1)
    mode = "bilinear" if interpolation == "linear" else "bicubic"
    found = F.grid_sample(planes, grid.flatten(0, 1), mode, padding_mode="border", align_corners=True)
    size = y.shape[2:]
    if alike:
        return found.view(count, channels, n_slices, *size)
    return found.view(count, n_slices, channels, *size).transpose(1, 2)


@dataclass(frozen=True, eq=False)
class _Voxels:
    """The voxels that are nearest to places."""

    in_plane: Tensor
    """int64 (n, L, Y, X): their numbers in a plane; at its border for places outside."""
    slices: np.ndarray
    """int (n, Z): their slices."""
    inside: Tensor
    """bool (n, Z, Y, X): whether the place is inside at all."""

    def of(self, stack: Tensor) -> Tensor:
        """Their values (n, C, Z, Y, X)."""
        count, channels = stack.shape[:2]
        planes = _slices(stack, self.slices).flatten(3)
        index = self.in_plane.flatten(2).unsqueeze(1).expand(count, channels, planes.shape[2], -1)
        return planes.gather(3, index).view(count, channels, *self.inside.shape[1:])


def _nearest_voxels(y: Tensor, x: Tensor, z: np.ndarray, stored: tuple[int, ...]) -> _Voxels:
    """Those of patches (Z, Y, X), at places (n, L, Y', X') and (n, Z') from the centre."""
    row, column = ((at + side / 2).floor().to(torch.int32) for at, side in ((y, stored[1]), (x, stored[2])))
    inside = (row >= 0) & (row < stored[1]) & (column >= 0) & (column < stored[2])
    number = row.clamp_(0, stored[1] - 1) * stored[2] + column.clamp_(0, stored[2] - 1)
    level = np.floor(z + stored[0] / 2).astype(int)
    in_stack = torch.from_numpy((level >= 0) & (level < stored[0])).to(y.device, non_blocking=True)
    return _Voxels(number.long(), level.clip(0, stored[0] - 1), inside & in_stack[..., None, None])


def _centre(y: Tensor, x: Tensor, z: np.ndarray, size: tuple[int, ...]) -> tuple[Tensor, Tensor, np.ndarray]:
    """Places of a target (Z, Y, X), which lies at the centre of the image."""
    rows, columns = (_middle(there, side) for there, side in zip(y.shape[2:], size[1:], strict=True))
    levels = _middle(z.shape[1], size[0])
    chosen = (slice(None), levels if y.shape[1] > 1 else slice(None), rows, columns)
    return y[chosen], x[chosen], z[:, levels]


def _middle(there: int, side: int) -> slice:
    return slice((there - side) // 2, (there + side) // 2)


def _nearest_of_target(voxels: _Voxels, ndim: int, tensor: Tensor) -> Tensor:
    """A map (n, ..., *T) of the target."""
    stored = tensor.shape[-ndim:]
    stack = tensor.reshape(len(tensor), -1, *(1,) * (3 - ndim), *stored)
    return voxels.of(stack).reshape(*tensor.shape[:-ndim], *voxels.inside.shape[-ndim:])
