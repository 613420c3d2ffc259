"""Histograms of grey values that are collected block by block and add up.

Values are kept as ordered whole numbers: an integer is its own key, a float is the key of its bit pattern, which grows
with the value. As long as there are at most 65,536 different keys every one has its own bin and all percentiles are
exact; this always holds for 8- and 16-bit images. Beyond that, low bits are dropped until the bins suffice: a float
percentile is then off by about 1 part in 10,000 of itself (64-bit floats are rounded to 32 bits first). How many bits
are dropped depends only on the set of voxels, so that neither the order of blocks nor the way they are added changes
the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import Image
from cristae.errors import VolumeError
from cristae.progress import Progress

MAX_BINS = 65_536
_BLOCK: Triple = (16, 512, 512)
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, eq=False)
class IntensityHistogram:
    """Counts of grey values in growing order; histograms of parts add up with `+` to the histogram of the whole."""

    kind: str
    """An integer type such as 'uint16', or 'float'."""
    keys: np.ndarray
    """int64 keys of the occupied bins, growing."""
    counts: np.ndarray
    """int64 voxels in each bin."""
    shift: int
    """Low bits dropped from the keys; 0 means that every value has its own bin."""
    low: float
    """Smallest value."""
    high: float
    """Largest value."""

    @classmethod
    def empty(cls, dtype: np.dtype[Any]) -> IntensityHistogram:
        """No voxels yet, of images stored as `dtype`."""
        none = np.zeros(0, np.int64)
        return cls(_kind(dtype), none, none, 0, np.inf, -np.inf)

    @classmethod
    def of(cls, values: np.ndarray) -> IntensityHistogram:
        """Count the values of an array of any shape.

        Raises:
            VolumeError: The type is not a real number, or a float is NaN or infinite.
        """
        if values.size == 0:
            return cls.empty(values.dtype)
        kind = _kind(values.dtype)
        if kind == "float" and not np.isfinite(values).all():
            raise VolumeError("NaN or infinite grey values; replace them before use")
        keys, counts = _count(_keys(values.ravel()))
        return _fit_bins(cls(kind, keys, counts, 0, float(values.min()), float(values.max())))

    @property
    def size(self) -> int:
        """Number of voxels counted."""
        return int(self.counts.sum())

    @property
    def values(self) -> np.ndarray:
        """float64 grey value that stands for each bin: the value itself when `shift` is 0, else the bin's middle."""
        middle = (self.keys << self.shift) + ((1 << self.shift) >> 1)
        return _values(middle, self.kind).clip(self.low, self.high)

    def __add__(self, other: IntensityHistogram) -> IntensityHistogram:
        """The histogram of both parts together.

        Raises:
            VolumeError: They are stored as different types, so that their greys are not on one scale.
        """
        return add_up((self, other))

    def percentile(self, percent: float) -> float:
        """The smallest grey value that at least `percent` % of the voxels do not exceed (the inverted distribution)."""
        if percent <= 0:
            return self.low
        if percent >= 100:
            return self.high
        reached = np.cumsum(self.counts)
        needed = percent / 100 * reached[-1]
        return float(self.values[np.searchsorted(reached, needed - 1e-9 * reached[-1])])

    def mean_and_deviation(self) -> tuple[float, float]:
        """Mean and standard deviation of the voxels (divided by their number, not by one less); where bins are shared,
        of the bins' middles."""
        values, size = self.values, self.size
        mean = float(values @ self.counts) / size
        return mean, float(np.sqrt((values - mean) ** 2 @ self.counts / size))

    def share_outside(self, low: float, high: float) -> float:
        """Fraction of voxels below `low` or above `high`."""
        outside = (self.values < low) | (self.values > high)
        return float(self.counts[outside].sum() / max(1, self.size))

    def without(self, ignored: Sequence[float]) -> IntensityHistogram:
        """The histogram without the bins of some grey values."""
        gone = _keys_of(ignored, self.kind) >> self.shift
        keep = ~np.isin(self.keys, gone)
        if keep.all():
            return self
        rest = self.values[keep]
        low, high = (float(rest[0]), float(rest[-1])) if len(rest) else (np.inf, -np.inf)
        return IntensityHistogram(self.kind, self.keys[keep], self.counts[keep], self.shift, low, high)


def histogram_of(
    image: Image, box: Box | None = None, *, max_voxels: int | None = None, progress: Progress | None = None
) -> IntensityHistogram:
    """Count the grey values of an image, block by block.

    Args:
        image: A grey image of any size.
        box: The part to count; None counts the whole image.
        max_voxels: Stop at about this many, taken from blocks spread evenly over the box; None counts all.
        progress: Where to show how far it is.

    Raises:
        VolumeError: The image has colours, or a float image holds NaN or infinite values (says where).
    """
    require_grey(image)
    blocks = list(_spread(box or Box.of_shape(image.shape), max_voxels))
    with (progress or Progress()).task("grey values", len(blocks), unit="blocks") as task:

        def of_blocks() -> Iterator[IntensityHistogram]:
            yield IntensityHistogram.empty(image.dtype)
            for block in blocks:
                yield IntensityHistogram.of(read_finite(image, block))
                task.advance()

        return add_up(of_blocks())


def add_up(histograms: Iterable[IntensityHistogram]) -> IntensityHistogram:
    """The histogram of all parts together, one or more. Many bins are added at once, so that thousands of small parts
    cost no more than a few large ones.

    Raises:
        VolumeError: They are stored as different types, so that their greys are not on one scale.
    """
    waiting: list[IntensityHistogram] = []
    n_bins = 0
    for one in histograms:
        if waiting and one.kind != waiting[0].kind:
            raise VolumeError(
                f"some images are stored as {waiting[0].kind} and others as {one.kind}, whose grey values are not on "
                "one scale; convert them to one type, or normalise each volume by itself (scope: volume)"
            )
        waiting.append(one)
        n_bins += len(one.keys)
        if n_bins > 4 * MAX_BINS:
            waiting = [_merged(waiting)]
            n_bins = len(waiting[0].keys)
    return _merged(waiting)


def _merged(parts: Sequence[IntensityHistogram]) -> IntensityHistogram:
    shift = max(part.shift for part in parts)
    keys = np.concatenate([part.keys >> (shift - part.shift) for part in parts])
    order = np.argsort(keys, kind="stable")
    keys, counts = _sum_equal(keys[order], np.concatenate([part.counts for part in parts])[order])
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return _fit_bins(IntensityHistogram(parts[0].kind, keys, counts, shift, low, high))


def require_grey(image: Image) -> None:
    """Refuse colours.

    Raises:
        VolumeError: The image has some.
    """
    if image.colors != 1:
        raise VolumeError(f"{image.path}: {image.colors} colour channels; convert the image to grey values first")


def read_finite(image: Image, block: Box) -> np.ndarray:
    """The grey values of a block.

    Raises:
        VolumeError: Some are NaN or infinite; says where.
    """
    values = image.read(block)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        z, y, x = (
            int(first) + start for first, start in zip(np.argwhere(~np.isfinite(values))[0], block.start, strict=True)
        )
        raise VolumeError(
            f"{image.path}: slice {z} holds NaN or infinite grey values (first at y {y}, x {x}); "
            "replace them, for instance by the slice's median, or crop the volume"
        )
    return values


def _spread(box: Box, max_voxels: int | None) -> Iterator[Box]:
    """Blocks that cover the box, or some of them that follow a golden-ratio walk, in reading order."""
    shape = tuple(min(size, block) for size, block in zip(box.shape, _BLOCK, strict=True))
    if box.size == 0:
        return
    if max_voxels is None or box.size <= max_voxels:
        yield from box.blocks(shape)
        return
    small = (1, *(min(size, 256) for size in box.shape[1:]))
    counts = tuple(-(-size // step) for size, step in zip(box.shape, small, strict=True))
    wanted = max(1, round(max_voxels / np.prod(small)))
    places = (np.arange(1, wanted + 1) * _GOLDEN) % 1
    for index in np.unique((places * np.prod(counts)).astype(np.int64)):
        at = np.unravel_index(index, counts)
        start = tuple(int(a) * step for a, step in zip(at, small, strict=True))
        yield _block(box, start, small)


def _block(box: Box, start: Sequence[int], shape: Sequence[int]) -> Box:
    corner = Box((start[0], start[1], start[2]), (start[0] + shape[0], start[1] + shape[1], start[2] + shape[2]))
    return corner.shift(box.start).intersect(box)


def _kind(dtype: np.dtype[Any]) -> str:
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return "uint8"
    if dtype.kind == "f" or dtype == np.uint64:
        return "float"
    if dtype.kind in "iu":
        return dtype.newbyteorder("=").name
    raise VolumeError(f"grey values of type {dtype} are not real numbers; convert the image first")


def _keys(values: np.ndarray) -> np.ndarray:
    """Whole numbers in the order of the values: the value of an integer, the float32 bit pattern of a float."""
    if _kind(values.dtype) != "float":
        return values if values.dtype.itemsize <= 2 and values.dtype.kind != "b" else values.astype(np.int64)
    bits = (values.astype(np.float32) + np.float32(0)).view(np.int32)  # + 0 turns the negative zero into zero
    return np.where(bits < 0, bits ^ np.int32(0x7FFF_FFFF), bits)


def _keys_of(values: Sequence[float], kind: str) -> np.ndarray:
    """Keys of single grey values; those that the type cannot hold match nothing."""
    if kind == "float":
        return _keys(np.asarray(values, np.float32)).astype(np.int64)
    return np.asarray([int(v) for v in values if float(v).is_integer()], np.int64)


def _values(keys: np.ndarray, kind: str) -> np.ndarray:
    if kind != "float":
        return keys.astype(np.float64)
    bits = keys.clip(-(1 << 31), (1 << 31) - 1).astype(np.int32)
    return np.where(bits < 0, bits ^ np.int32(0x7FFF_FFFF), bits).view(np.float32).astype(np.float64)


def _count(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys and how often each occurs."""
    first = int(keys.min())
    if int(keys.max()) - first < 1 << 20:
        counts = np.bincount(keys.astype(np.int64) - first)
        occupied = np.flatnonzero(counts)
        return occupied + first, counts[occupied]
    ordered = np.sort(keys)
    return _sum_equal(ordered.astype(np.int64), np.ones(len(ordered), np.int64))


def _sum_equal(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys and their counts, from keys that do not fall."""
    if len(keys) == 0:
        return keys, counts
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(counts, starts)


def _fit_bins(histogram: IntensityHistogram) -> IntensityHistogram:
    """Drop low bits of the keys until there are few enough bins."""
    keys, drop = histogram.keys, 0
    while len(keys) > MAX_BINS and np.count_nonzero(np.diff(keys >> drop)) >= MAX_BINS:
        drop += 1
    keys, counts = _sum_equal(keys >> drop, histogram.counts)
    return IntensityHistogram(histogram.kind, keys, counts, histogram.shift + drop, histogram.low, histogram.high)
