"""Finding the mapping of grey values of training data and of volumes, each read once and block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.preprocess.form import NormalizeConfig, Range, fit, ignored_of
from cristae.preprocess.histogram import IntensityHistogram, histogram_of, read_finite, require_grey
from cristae.preprocess.matching import Distribution, Matching
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress

_PLANE = 1024
"""Voxels along y and x that are read at once when slices are counted."""
_DEEPEST = 16
"""Slices that are counted at once."""


@dataclass(frozen=True, eq=False)
class Greys:
    """What is known of the grey values of training data or of a volume."""

    histogram: IntensityHistogram
    slices: tuple[Range | None, ...] = ()
    """The range of each slice, None where a slice has one value only or is not needed; () where slices do not
    matter."""


def greys_of(
    config: NormalizeConfig, image: Image, progress: Progress | None = None, needed: range | None = None
) -> Greys:
    """All that a normalisation needs to know of a volume.

    Args:
        config: The normalisation.
        image: On the grid that networks work on.
        progress: Where to show how far it is.
        needed: Slices whose numbers are wanted; None wants all. Where each has a mapping of its own, only these are
            read, unless one of them has a single value and so takes the mapping of the whole volume.

    Raises:
        VolumeError: The image has colours, or holds NaN or infinite values.
    """
    if config.statistics != "slice":
        return Greys(histogram_of(image, progress=progress))
    require_grey(image)
    depth = image.shape[0]
    total, ranges = _count_slices(config, image, needed or range(depth), progress)
    if needed is not None and None in ranges:
        total, ranges = _count_slices(config, image, range(depth), progress)
    elif needed is not None:
        ranges = [None] * needed.start + ranges + [None] * (depth - needed.stop)
    return Greys(total, tuple(ranges))


def _count_slices(
    config: NormalizeConfig, image: Image, needed: range, progress: Progress | None
) -> tuple[IntensityHistogram, list[Range | None]]:
    """The grey values of some slices together, and the range of each."""
    total, ranges = IntensityHistogram.empty(image.dtype), list[Range | None]()
    _, height, width = image.shape
    step = min(_DEEPEST, image.chunks[0])
    with (progress or Progress()).task("grey values of slices", len(needed), unit="slices") as task:
        for first in range(needed.start, needed.stop, step):
            slab = Box((first, 0, 0), (min(first + step, needed.stop), height, width))
            found = _slices_of(image, slab)
            ranges += [_range_of(config, one) for one in found]
            total = sum(found, start=total)
            task.advance(len(found))
    return total, ranges


def _slices_of(image: Image, slab: Box) -> Sequence[IntensityHistogram]:
    found = [IntensityHistogram.empty(image.dtype)] * slab.shape[0]
    for block in slab.blocks((slab.shape[0], _PLANE, _PLANE)):
        voxels = read_finite(image, block)
        found = [one + IntensityHistogram.of(plane) for one, plane in zip(found, voxels, strict=True)]
    return found


def _range_of(config: NormalizeConfig, histogram: IntensityHistogram) -> Range | None:
    rest = histogram.without(ignored_of(config, histogram))
    if rest.size == 0 or rest.low == rest.high:
        return None
    return config.range_of(rest)


def fit_training(config: NormalizeConfig, greys: Greys) -> Normalizer:
    """The mapping from grey values of all training data.

    Raises:
        VolumeError: All voxels have one value, or there are none.
    """
    found = fit(config, greys.histogram)
    if not config.matches:
        return found
    return replace(found, matching=Matching(Distribution.of(greys.histogram.without(found.ignored))))


def fit_volume(config: NormalizeConfig, greys: Greys, training: Normalizer | None = None) -> Normalizer:
    """The mapping of one volume from its own grey values. Slices of one value take the range of their volume.

    Args:
        config: The normalisation.
        greys: Of the volume.
        training: The mapping of the training data, where the volume gets its histogram.

    Raises:
        VolumeError: All voxels have one value, or there are none.
    """
    own = fit(config, greys.histogram)
    if training is not None and training.matching is not None:
        matching = training.matching.of_volume(greys.histogram.without(own.ignored))
        return replace(training, matching=matching, kind=own.kind, ignored=own.ignored)
    whole = own.low, own.high
    return replace(own, slices=tuple(whole if one is None else one for one in greys.slices))
