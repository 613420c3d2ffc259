"""What the values of an image are like, found by going through it once or twice in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box
from cristae.data.formats.stream import bands
from cristae.data.image import Image
from cristae.progress import Progress, Task

MAX_VALUES = 64
"""An image with more distinct values than this is not taken for labels."""
PERCENTS = (0.1, 1.0, 5.0, 50.0, 95.0, 99.0, 99.9)
_BINS = 65536
_PACKED_BYTES = 8


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics over all finite values of an image."""

    minimum: float
    maximum: float
    percentiles: tuple[tuple[float, float], ...]
    """Percent and the smallest value that this fraction of the voxels does not exceed. Exact for integers; for floats
    within 1/65,536 of their range."""
    values: tuple[tuple[int, int], ...] | None
    """Distinct values with their voxel counts, when all are integers and at most 64. For colour images the values
    are the samples as the bytes of one number, first sample highest; floats, and samples of more than 8
    bytes together, are not listed."""
    not_finite: int
    """Voxels that are NaN or infinite."""
    constant_slices: tuple[tuple[int, float], ...]
    """Slices in which all voxels have one value, with that value."""
    wrapped: bool
    """Signed bytes that would be much smoother if they were read as unsigned ones."""


class _Counts:
    """Counts that grow block by block."""

    def __init__(self, image: Image) -> None:
        self.low, self.high = np.inf, -np.inf
        self.bad = 0
        self.values: dict[int, int] | None = {}
        self.slice_low = np.full(image.shape[0], np.inf)
        self.slice_high = np.full(image.shape[0], -np.inf)
        self.signed_steps = self.unsigned_steps = 0.0

    def add(self, z: int, pixels: np.ndarray, colors: int) -> None:
        finite = pixels if pixels.dtype.kind != "f" else pixels[np.isfinite(pixels)]
        self.bad += pixels.size - finite.size
        if finite.size:
            low, high = finite.min(), finite.max()
            self.low, self.high = min(self.low, low), max(self.high, high)
            self.slice_low[z] = min(self.slice_low[z], low)
            self.slice_high[z] = max(self.slice_high[z], high)
        if pixels.dtype == np.int8:
            self.signed_steps += _steps(pixels)
            self.unsigned_steps += _steps(pixels.view(np.uint8))
        if colors > 1 and (pixels.dtype.kind == "f" or colors * pixels.dtype.itemsize > _PACKED_BYTES):
            self.values = None
        if self.values is not None:
            self._count(_packed(pixels) if colors > 1 else finite)

    def _count(self, values: np.ndarray) -> None:
        assert self.values is not None
        found, counts = _distinct(values)
        whole = found.dtype.kind != "f" or bool((found == np.floor(found)).all())
        for value, count in zip(found.tolist(), counts.tolist(), strict=True) if whole else ():
            self.values[int(value)] = self.values.get(int(value), 0) + int(count)
        if not whole or len(self.values) > MAX_VALUES:
            self.values = None


def image_statistics(image: Image, *, progress: Progress = Progress()) -> ImageStatistics:
    """Go through all voxels: once for integers up to 16 bits, twice for floats, up to five times for wide integers.

    Raises:
        FormatError: A part of the file is damaged.
    """
    tally = _Counts(image)
    narrow = image.dtype.kind in "iu" and image.dtype.itemsize <= 2
    first = int(np.iinfo(image.dtype).min) if narrow else 0
    histogram = np.zeros(_BINS, np.int64)

    def look(z: int, pixels: np.ndarray) -> None:
        tally.add(z, pixels, image.colors)
        if narrow:
            _count_into(histogram, pixels, first, 1)

    with progress.task(f"Reading {image.path.name}", image.shape[0], unit="slice") as task:
        _visit(image, look, task)
    if not np.isfinite(float(tally.low)):
        return _conclude(tally, ())
    if narrow:
        found = [first + np.searchsorted(np.cumsum(histogram), p / 100 * histogram.sum()) for p in PERCENTS]
    else:
        found = _select(image, tally, progress)
    return _conclude(tally, tuple((p, float(value)) for p, value in zip(PERCENTS, found, strict=True)))


def _select(image: Image, tally: _Counts, progress: Progress) -> list[float]:
    """Values at the ranks of `PERCENTS`: each pass counts inside the bin that the pass before found."""
    whole = image.dtype.kind in "iu"
    low, high = (int(tally.low), int(tally.high)) if whole else (float(tally.low), float(tally.high))
    width: float = -(-(high - low + 1) // _BINS) if whole else (high - low) / (_BINS - 1) or 1.0
    starts: list[float] = [low for _ in PERCENTS]
    below = [0 for _ in PERCENTS]
    total = int(np.prod(image.shape, dtype=object)) * image.colors - tally.bad
    while True:
        counts = {start: np.zeros(_BINS, np.int64) for start in starts}

        def look(_: int, pixels: np.ndarray, counts: dict[float, np.ndarray] = counts, width: float = width) -> None:
            for start, histogram in counts.items():
                _count_into(histogram, pixels, start, width)

        with progress.task(f"Measuring {image.path.name}", image.shape[0], unit="slice") as task:
            _visit(image, look, task)
        for i, percent in enumerate(PERCENTS):
            reached = below[i] + np.cumsum(counts[starts[i]])
            bin_ = int(np.searchsorted(reached, percent / 100 * total))
            below[i] = int(reached[bin_ - 1]) if bin_ else below[i]
            starts[i] += bin_ * width
        if not whole or width == 1:
            return starts
        width = -(-int(width) // _BINS)


def _conclude(tally: _Counts, percentiles: tuple[tuple[float, float], ...]) -> ImageStatistics:
    same = np.flatnonzero((tally.slice_low == tally.slice_high) & np.isfinite(tally.slice_low))
    values = tally.values
    return ImageStatistics(
        minimum=float(tally.low) if np.isfinite(float(tally.low)) else np.nan,
        maximum=float(tally.high) if np.isfinite(float(tally.high)) else np.nan,
        percentiles=percentiles,
        values=tuple(sorted(values.items())) if values else None,
        not_finite=tally.bad,
        constant_slices=tuple((int(z), float(tally.slice_low[z])) for z in same),
        wrapped=tally.signed_steps > 1.1 * tally.unsigned_steps,
    )


def _visit(image: Image, look: Callable[[int, np.ndarray], None], task: Task) -> None:
    for box in bands(image):
        for z, pixels in enumerate(image.read(box), start=box.start[0]):
            look(z, pixels)
        task.advance(_finished_slices(box, image))


def _finished_slices(box: Box, image: Image) -> int:
    return box.shape[0] if box.stop[1] == image.shape[1] else 0


def _count_into(histogram: np.ndarray, pixels: np.ndarray, first: float, width: float) -> None:
    """Count the values from `first` on in bins of this width; what lies outside the histogram is left out."""
    if pixels.dtype.kind == "f":
        places = np.floor((pixels[np.isfinite(pixels)].astype(np.float64) - first) / width)
    else:
        # Unsigned differences cannot overflow, whatever the type.
        wide = np.uint64 if pixels.dtype.kind == "u" else np.int64
        values = pixels[pixels >= int(first)].astype(wide).view(np.uint64)
        places = (values - np.uint64(int(first) % 2**64)) // np.uint64(width)
    inside = places[(places >= 0) & (places < _BINS)].astype(np.int64)
    counts = np.bincount(inside)
    histogram[: len(counts)] += counts


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        found = np.flatnonzero(counts)
        return found, counts[found]
    # A look at a few rows spares the sort of a whole grey slice.
    if len(np.unique(values.ravel()[:: max(1, values.size // 4096)])) > MAX_VALUES:
        many = np.arange(MAX_VALUES + 1)
        return many, np.ones_like(many)
    return np.unique(values, return_counts=True)


def _packed(pixels: np.ndarray) -> np.ndarray:
    number = np.zeros(pixels.shape[:-1], np.uint64)
    samples = np.ascontiguousarray(pixels).view(f"u{pixels.dtype.itemsize}")  # a negative sample as its own bytes
    for sample in range(pixels.shape[-1]):
        number = (number << np.uint64(8 * pixels.dtype.itemsize)) | samples[..., sample].astype(np.uint64)
    return number


def _steps(pixels: np.ndarray) -> float:
    return float(np.abs(np.diff(pixels.astype(np.int16), axis=-1)).sum())
