"""Working voxel size: reading a volume as if it had been recorded with other voxels, and bringing results back.

Grids share the outer corner of their first voxel: voxel i of a grid with size s covers i*s to (i+1)*s nm. Enlarging is
linear between voxel centres; shrinking averages over the area of the new voxel (so nothing aliases, constants and the
mean are kept). Each value depends only on its own place, never on the box that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import NO_SHIFT_NM, Image, VoxelSize, same_voxel_size, voxel_size_text
from cristae.data.volume import Volume
from cristae.errors import VoxelSizeError

Method = Literal["linear", "nearest"]
_SNAP = 1e-3
"""Where other axes are resampled, an axis whose sizes are nearer than this fraction of each other is copied."""
_MAX_SOURCE_VOXELS = 1 << 24
_EDGE = 1e-6
"""Fraction of a voxel within which two edges count as one."""


@dataclass(frozen=True)
class Grid:
    """The voxels of a volume: how many and how large."""

    shape: Triple
    voxel_size_nm: VoxelSize


def working_grid(source: Grid, voxel_size_nm: VoxelSize) -> Grid:
    """The grid of another voxel size that covers the same extent in nm, its last voxels reaching beyond if need be."""
    z, y, x = (
        max(1, math.ceil(n / _ratio(s, t) - _EDGE))
        for n, s, t in zip(source.shape, source.voxel_size_nm, voxel_size_nm, strict=True)
    )
    return Grid((z, y, x), voxel_size_nm)


def needed_box(target_box: Box, target: Grid, source: Grid, method: Method) -> Box:
    """The source voxels that the values of a target box depend on.

    Args:
        target_box: In voxels of `target`, inside it and not empty.
        target: The grid that is asked for.
        source: The grid that values are known on.
        method: How they are resampled.
    """
    spans = [taps.span for taps in _all_taps(target_box, target, source, method)]
    (z0, z1), (y0, y1), (x0, x1) = spans
    return Box((z0, y0, x0), (z1, y1, x1))


def resample_array(
    array: np.ndarray, source_box: Box, source: Grid, target_box: Box, target: Grid, *, method: Method
) -> np.ndarray:
    """Values of a target box from values known on a source box.

    Args:
        array: (Z, Y, X) or (C, Z, Y, X) values on `source_box`.
        source_box: In voxels of `source`; it must contain `needed_box`.
        source: The grid that values are known on.
        target_box: In voxels of `target`.
        target: The grid that is asked for.
        method: 'linear' (averaging where voxels grow) or 'nearest'.

    Returns:
        (Z, Y, X) or (C, Z, Y, X) of the array's type; integers are rounded.

    Raises:
        ValueError: The array does not fit its box, or the box holds too little.
    """
    first = array.ndim - 3
    if array.shape[first:] != source_box.shape:
        raise ValueError(f"array of shape {array.shape} does not fit its box {source_box}")
    needed = needed_box(target_box, target, source, method)
    if not source_box.contains(needed):
        raise ValueError(f"box {source_box} does not hold all of {needed}")
    taps = _all_taps(target_box, target, source, method)
    return _resample(array, taps, source_box.start, first, method)


def resample_image(image: Image, to: VoxelSize, *, method: Method) -> Image:
    """The image as if recorded at another voxel size, read lazily.

    Args:
        image: An image that knows its voxel size.
        to: Wanted voxel size in nm, (z, y, x).
        method: 'linear' for grey values and weights, 'nearest' for labels and masks.

    Returns:
        An image of the same type; the same image when the sizes are equal within 0.1 %.

    Raises:
        VoxelSizeError: The image does not know its voxel size.
    """
    size = image.voxel_size_nm
    if size is None:
        raise VoxelSizeError(
            f"{image.path}: the voxel size is not known, so it cannot be brought to {voxel_size_text(to)}; "
            "give it as voxel_size_nm of the volume (z, y, x)"
        )
    if same_voxel_size(size, to):
        return image
    source = Grid(image.shape, size)
    target = working_grid(source, to)
    z, y, x = (o + (t - s) / 2 for o, s, t in zip(image.origin_nm or NO_SHIFT_NM, size, to, strict=True))
    names = image.slice_names if target.shape[0] == image.shape[0] else None
    return replace(
        image,
        shape=target.shape,
        reader=_reader(image.read, source, target, method),
        chunks=_like_chunks(image.chunks, source, target),
        voxel_size_nm=to,
        origin_nm=(z, y, x),
        slice_names=names,
    )


def resample_volume(volume: Volume, to: VoxelSize) -> Volume:
    """The volume at another voxel size: grey values and weights linearly, labels and valid by the nearest voxel.

    Raises:
        VoxelSizeError: The volume's voxel size is not known.
    """
    size = volume.voxel_size_nm or volume.image.voxel_size_nm

    def part(image: Image, method: Method) -> Image:
        return resample_image(replace(image, voxel_size_nm=size), to, method=method)

    image = part(volume.image, "linear")
    slices = volume.labelled_slices
    if slices is not None and size is not None and image.shape != volume.image.shape:
        taps = _nearest_taps(0, image.shape[0], volume.image.shape[0], _ratio(size[0], to[0]))
        slices = tuple(int(z) for z in np.flatnonzero(np.isin(taps.index[:, 0], slices)))
    return replace(
        volume,
        image=image,
        labels=tuple(part(labels, "nearest") for labels in volume.labels),
        valid=volume.valid and part(volume.valid, "nearest"),
        weight=volume.weight and part(volume.weight, "linear"),
        voxel_size_nm=to,
        labelled_slices=slices,
    )


@dataclass(frozen=True, eq=False)
class _Taps:
    """For one axis: each target voxel is the weighted sum of a few source voxels."""

    index: np.ndarray
    """(n, k) source voxels."""
    weight: np.ndarray | None
    """(n, k) float64, 0 where there are fewer than k; None means k = 1 and copying."""

    @property
    def span(self) -> tuple[int, int]:
        return int(self.index.min()), int(self.index.max()) + 1


def _ratio(source_nm: float, target_nm: float) -> float:
    """Size of a target voxel in source voxels, exactly 1 when they are nearly equal."""
    ratio = target_nm / source_nm
    return 1.0 if abs(ratio - 1) <= _SNAP else ratio


def _all_taps(box: Box, target: Grid, source: Grid, method: Method) -> list[_Taps]:
    sizes = zip(box.start, box.stop, source.shape, source.voxel_size_nm, target.voxel_size_nm, strict=True)
    return [_taps(start, stop, n, _ratio(s, t), method) for start, stop, n, s, t in sizes]


def _taps(start: int, stop: int, n_source: int, ratio: float, method: Method) -> _Taps:
    if method == "nearest" or ratio == 1:
        return _nearest_taps(start, stop, n_source, ratio)
    return _area_taps(start, stop, n_source, ratio) if ratio > 1 else _linear_taps(start, stop, n_source, ratio)


def _nearest_taps(start: int, stop: int, n_source: int, ratio: float) -> _Taps:
    centre = (np.arange(start, stop) + 0.5) * ratio
    index = np.floor(centre + _EDGE).astype(np.int64).clip(0, n_source - 1)
    return _Taps(index[:, None], None)


def _linear_taps(start: int, stop: int, n_source: int, ratio: float) -> _Taps:
    place = ((np.arange(start, stop) + 0.5) * ratio - 0.5).clip(0, n_source - 1)
    below = np.floor(place).astype(np.int64)
    share = place - below
    above = np.where(share > 0, below + 1, below)
    return _Taps(np.stack([below, above], 1), np.stack([1 - share, share], 1))


def _area_taps(start: int, stop: int, n_source: int, ratio: float) -> _Taps:
    low = np.arange(start, stop) * ratio
    high = np.minimum(low + ratio, n_source)
    first = np.floor(low + _EDGE).astype(np.int64).clip(0, n_source - 1)
    last = np.ceil(high - _EDGE).astype(np.int64).clip(first + 1, n_source) - 1
    count = math.ceil(ratio) + 1  # of the ratio alone, so that the order of sums is the same in every box
    index = first[:, None] + np.arange(count)
    covered = np.minimum(index + 1, high[:, None]) - np.maximum(index, low[:, None])
    weight = np.where(index <= last[:, None], covered.clip(0), 0)
    return _Taps(np.minimum(index, last[:, None]), weight / weight.sum(1, keepdims=True))


def _resample(array: np.ndarray, taps: list[_Taps], start: Triple, first: int, method: Method) -> np.ndarray:
    """Apply the taps of the three axes, shrinking ones first; `first` is the position of z in the array."""
    dtype = array.dtype
    values = array if method == "nearest" else array.astype(_float_type(dtype), copy=False)
    order = sorted(range(3), key=lambda axis: -taps[axis].index.shape[1])
    for axis in order:
        index = taps[axis].index - start[axis]
        values = _gather(values, index, taps[axis].weight, first + axis)
    return np.rint(values).astype(dtype) if dtype.kind in "iub" and values.dtype.kind == "f" else values.astype(dtype)


def _gather(values: np.ndarray, index: np.ndarray, weight: np.ndarray | None, axis: int) -> np.ndarray:
    """Weighted sum of taken planes. Plain sums in a fixed order: a matrix product would differ with the box."""
    if weight is None:
        steps = index[:, 0]
        whole = len(steps) == values.shape[axis] and bool((steps == np.arange(len(steps))).all())
        return values if whole else values.take(steps, axis)
    shape = [1] * values.ndim
    shape[axis] = -1
    columns = weight.astype(values.dtype).T
    total = values.take(index[:, 0], axis)
    total *= columns[0].reshape(shape)
    for tap in range(1, index.shape[1]):
        part = values.take(index[:, tap], axis)
        part *= columns[tap].reshape(shape)
        total += part
    return total


def _float_type(dtype: np.dtype[Any]) -> type[np.floating]:
    return np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64


def _reader(
    read: Callable[[Box], np.ndarray], source: Grid, target: Grid, method: Method
) -> Callable[[Box], np.ndarray]:
    """Read a target box piece by piece, so that no more than about 16 million source voxels are held at once."""

    def piece(box: Box) -> np.ndarray:
        taps = _all_taps(box, target, source, method)
        needed = needed_box(box, target, source, method)
        return _resample(read(needed), taps, needed.start, 0, method)

    def reader(box: Box) -> np.ndarray:
        steps = _piece_shape(box, target, source)
        if steps == box.shape or box.size == 0:
            return piece(box)
        out: np.ndarray | None = None
        for inner in box.blocks(steps):
            values = piece(inner)
            out = np.empty((*box.shape, *values.shape[3:]), values.dtype) if out is None else out
            out[inner.relative_to(box.start).slices] = values
        assert out is not None
        return out

    return reader


def _piece_shape(box: Box, target: Grid, source: Grid) -> Triple:
    """The box, halved along its longest axis until the source voxels behind it are few enough."""
    ratios = [_ratio(s, t) for s, t in zip(source.voxel_size_nm, target.voxel_size_nm, strict=True)]
    shape = list(box.shape)
    while math.prod(n * r + 2 for n, r in zip(shape, ratios, strict=True)) > _MAX_SOURCE_VOXELS and max(shape) > 1:
        longest = max(range(3), key=lambda axis: (shape[axis] > 1, shape[axis] * ratios[axis]))
        shape[longest] = -(-shape[longest] // 2)
    return shape[0], shape[1], shape[2]


def _like_chunks(chunks: Triple, source: Grid, target: Grid) -> Triple:
    ratios = [_ratio(s, t) for s, t in zip(source.voxel_size_nm, target.voxel_size_nm, strict=True)]
    z, y, x = (min(n, max(1, round(c / r))) for c, r, n in zip(chunks, ratios, target.shape, strict=True))
    return z, y, x
