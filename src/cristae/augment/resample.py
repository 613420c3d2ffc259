"""Batches moved: exactly where voxels only change places, and otherwise by one resampling, from the patches with their
margin to what the network sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.augment.form import where_chosen
from cristae.augment.mapping import Affine, Places
from cristae.data.affinities import UNKNOWN_ID

Interpolation = Literal["linear", "cubic", "nearest"]
_EXACT = 1 << 24
"""Whole numbers that float32 has."""
_ROUNDING = 1e-2
"""Voxels by which float32 places may be wrong, with much to spare."""


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
    """What lies at `places` of a batch with its margin: the image and its filtered copies interpolated, all else from
    the nearest voxel.

    What lies outside of what was read does not count.

    Args:
        batch: With its margin.
        places: Of all voxels of the image that the network sees, and of the target with its frame.
        interpolation: Of the image in the plane; along z, `cubic` is linear.
    """
    image = batch.image.unsqueeze(1) if batch.flat else batch.image  # (n, C, Z, Y, X)
    channels = image.shape[1]
    image = image if batch.filtered is None else torch.cat([image, batch.filtered], dim=1)
    shown = places.centre((batch.n_slices, *batch.size[-2:]))
    if interpolation == "nearest":
        (image,), _ = _nearest([image], shown)
    else:
        image = _in_plane(_along_z(image.float(), shown.z()), shown, interpolation)
    size = (1, *batch.framed_size) if batch.flat else batch.framed_size
    maps = [_with_slices(tensor, batch) for tensor in (batch.target, batch.valid, *batch.optional_maps())]
    found, inside = _nearest(maps, places.centre(size))
    target, valid, *optional = (
        new.reshape(*old.shape[: old.ndim - len(batch.framed_size)], *batch.framed_size)
        for new, old in zip(found, (batch.target, batch.valid, *batch.optional_maps()), strict=True)
    )
    counts = valid if inside is None else valid & inside.view_as(valid)
    if inside is not None and target.dtype == torch.int32:  # object ids
        target = torch.where(inside.view_as(target), target, UNKNOWN_ID)
    image, filtered = image[:, :channels], None if batch.filtered is None else image[:, channels:]
    image = image.squeeze(1) if batch.flat else image
    moved = replace(batch, image=image, filtered=filtered, target=target, valid=counts, margin=())
    return moved.with_optional_maps(optional)


def _with_slices(tensor: Tensor, batch: Batch) -> Tensor:
    """A map (n, ..., *T) as (n, K, Z, Y, X)."""
    stored = batch.valid.shape[1:]
    return tensor.reshape(len(tensor), -1, *(1,) * (3 - len(stored)), *stored)


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
    planes = [sample[:, level] for sample, levels in zip(image, index.tolist(), strict=True) for level in levels]
    return torch.stack(planes).view(*index.shape, *planes[0].shape).transpose(1, 2)


def _in_plane(image: Tensor, places: Places, interpolation: Interpolation) -> Tensor:
    """(n, C, Z, Y', X') at the places of each slice; where all slices move alike they are channels of one plane."""
    count, channels, n_slices, *sides = image.shape
    if interpolation == "linear" and min(sides) > 1 and _affine_on_cpu(places):
        from cristae.augment.affine_cpu import linear

        rows, columns = (places.separable(axis, offset=(side - 1) / 2) for axis, side in enumerate(sides))
        return linear(image, rows, columns)
    _, levels, *size = places.shape
    planes = image.flatten(1, 2) if levels == 1 else image.transpose(1, 2).flatten(0, 1)
    if interpolation == "linear":
        grid = torch.empty(count, levels, 2, *size, device=image.device)  # from -1 to 1, x first
        for axis, side in enumerate(sides):
            places.values(axis, scale=2 / max(1, side - 1), out=grid[:, :, 1 - axis])
        found = _bilinear(planes, grid.flatten(0, 1).movedim(1, -1))
    else:
        y, x = (places.values(axis, offset=(side - 1) / 2).flatten(0, 1) for axis, side in enumerate(sides))
        found = _bicubic(planes, y, x)
    if levels == 1:
        return found.view(count, channels, n_slices, *size)
    return found.view(count, n_slices, channels, *size).transpose(1, 2)


def _affine_on_cpu(places: Places) -> bool:
    """Whether `affine_cpu` moves voxels, which is quicker and takes a compiler along."""
    return places.plane is None and places.device.type == "cpu"


def _bilinear(planes: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(planes, grid, "bilinear", padding_mode="border", align_corners=True)


def _bicubic(planes: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(N, C, Y', X') of planes at (N, Y', X') from their first voxel: Keys' cubic convolution, a = -1/2.

    Keys (1981), https://doi.org/10.1109/TASSP.1981.1163711. PyTorch's own has a = -3/4, which does not even keep a
    ramp. The two inner voxels of an axis are one linear interpolation, so nine bilinear ones give it.
    """
    y_scale, x_scale = (2 / max(1, side - 1) for side in planes.shape[2:])
    columns = [(at * x_scale - 1, weight) for at, weight in _cubic_taps(x)]
    found: Tensor | None = None
    for at, weight in _cubic_taps(y):
        for column, share in columns:
            taken = _bilinear(planes, torch.stack([column, at * y_scale - 1], dim=-1)) * (weight * share).unsqueeze(1)
            found = taken if found is None else found + taken
    assert found is not None
    return found


def _cubic_taps(at: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Where to interpolate linearly along an axis, and with which weights."""
    first = at.floor()
    t = at - first
    inner = 1 + (t - t**2) / 2
    following = (4 * t**2 - 3 * t**3 + t) / 2
    return [(first - 1, (2 * t**2 - t**3 - t) / 2), (first + following / inner, inner), (first + 2, (t**3 - t**2) / 2)]


def _nearest(maps: Sequence[Tensor], places: Places) -> tuple[list[Tensor], Tensor | None]:
    """The voxels of maps (n, K, Z, Y, X) that are nearest to places, and whether a place is inside, bool (n, Z, Y, X).

    None instead of the latter where all are. Outside, voxels are those of the border.
    """
    stored = maps[0].shape[2:]
    level = np.floor(places.z() + stored[0] / 2).astype(int)
    in_stack, counts = (level >= 0) & (level < stored[0]), None
    inside = bool(in_stack.all() and np.less(places.bound, np.array(stored[1:]) / 2 - _ROUNDING).all())
    if inside and _affine_on_cpu(places):
        from cristae.augment.affine_cpu import nearest

        rows, columns = (places.separable(axis, offset=stored[1 + axis] / 2) for axis in (0, 1))
        return nearest(maps, level, rows, columns), None
    row, column = (places.values(axis, offset=stored[1 + axis] / 2).floor_() for axis in (0, 1))
    if not inside:
        in_plane = (row >= 0) & (row < stored[1]) & (column >= 0) & (column < stored[2])
        counts = in_plane & torch.from_numpy(in_stack).to(places.device, non_blocking=True)[..., None, None]
        row, column = row.clamp_(0, stored[1] - 1), column.clamp_(0, stored[2] - 1)
    if stored[1] * stored[2] > _EXACT:
        row, column = row.long(), column.long()
    number = row.mul_(stored[2]).add_(column).long()
    level = level.clip(0, stored[0] - 1)
    return [_taken(_slices(one, level).flatten(3), number) for one in maps], counts


def _taken(planes: Tensor, number: Tensor) -> Tensor:
    """Voxels (n, K, Z, Y', X') of planes (n, K, Z, Y * X) by their numbers (n, L, Y', X')."""
    count, channels, n_slices, _ = planes.shape
    index = number.flatten(2).unsqueeze(1).expand(count, channels, n_slices, -1)
    return planes.gather(3, index).view(count, channels, n_slices, *number.shape[2:])
