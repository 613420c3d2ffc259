"""One pass over the sections of an image: a few numbers of each, and how it compares with the two before it.

No more than three sketches are in memory at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.data.section_shifts import PairShift, block_means, shift_between, sketch_of, spectrum_of
from cristae.progress import Progress

_SMALL_SIDE = 64
"""Pixels along y and x of the sketch by which grey values are compared."""
_SCALES = 4
"""Fine detail is measured in voxels, and in blocks of 2, 4 and 8."""


@dataclass(frozen=True, eq=False)
class SectionMeasures:
    """Numbers by slice; constant ones have a value only."""

    constant: dict[int, float] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)
    """Of the voxels."""
    means: dict[int, float] = field(default_factory=dict)
    spreads: dict[int, float] = field(default_factory=dict)
    """Standard deviation of the small sketch."""
    details: dict[int, np.ndarray] = field(default_factory=dict)
    """(3,) natural logarithm of how much neighbouring blocks of 1, 2 and 4 voxels differ (mean square), against those
    of 8."""
    alike: dict[tuple[int, int], float] = field(default_factory=dict)
    """Correlation of the small sketches of neighbours, and of those with one slice between."""
    shifts: dict[tuple[int, int], PairShift] = field(default_factory=dict)
    """Displacements between a section and the last two before it that are not constant."""
    step: int = 1
    """Voxels along a pixel of the sketches that displacements follow from."""


def measure_sections(
    image: Image, slices: Sequence[int], part: Box, *, side: int, progress: Progress = Progress()
) -> SectionMeasures:
    """Measure sections.

    Args:
        image: Grey values.
        slices: Which, rising.
        part: What is read of them along y and x.
        side: Pixels of the sketches by which displacements are found.
        progress: Where to show how far it is.

    Raises:
        CristaeError: A file is damaged.
    """
    found = SectionMeasures(step=max(1, round(max(part.shape[1:]) / side)))
    before: list[_Seen] = []
    with progress.task("Looking at sections", len(slices), unit="slices") as task:
        for z in slices:
            plane = _read(image, part, z)
            if plane.min() == plane.max():
                found.constant[z] = float(plane.flat[0])
            else:
                before = [*before[-2:], _measured(z, plane, side, before[-2:], found)]
            task.advance()
    return found


@dataclass(frozen=True, eq=False)
class _Seen:
    z: int
    small: np.ndarray
    spectrum: np.ndarray | None
    shape: tuple[int, int]


def _measured(z: int, plane: np.ndarray, side: int, before: Sequence[_Seen], found: SectionMeasures) -> _Seen:
    found.digests[z] = hashlib.blake2b(np.ascontiguousarray(plane).tobytes(), digest_size=16).digest()
    small = small_sketch(plane)
    found.means[z], found.spreads[z] = float(small.mean()), float(small.std())
    if (detail := fine_detail(plane)) is not None:
        found.details[z] = detail
    sketch, step = sketch_of(plane, side)
    seen = _Seen(z, small, spectrum_of(sketch), (sketch.shape[0], sketch.shape[1]))
    for one in before:
        if z - one.z <= 2:
            found.alike[one.z, z] = alikeness(one.small, small)
        if (shift := shift_between(one.spectrum, seen.spectrum, seen.shape, step, (one.z, z))) is not None:
            found.shifts[one.z, z] = shift
    return seen


def _read(image: Image, part: Box, z: int) -> np.ndarray:
    plane = image.read(Box((z, *part.start[1:]), (z + 1, *part.stop[1:])))[0]
    return np.asarray(np.nan_to_num(plane)) if plane.dtype.kind == "f" else plane


def small_sketch(plane: np.ndarray) -> np.ndarray:
    """Means of blocks (Y, X), about 64 x 64 of them."""
    return block_means(plane, (max(1, plane.shape[0] // _SMALL_SIDE), max(1, plane.shape[1] // _SMALL_SIDE)))


def fine_detail(plane: np.ndarray) -> np.ndarray | None:
    """(3,) as in `SectionMeasures.details`; None for slices that are too small or hold nothing so coarse."""
    if min(plane.shape) < 1 << (_SCALES + 1):
        return None
    blocks, energies = plane.astype(np.float32), []
    for scale in range(_SCALES):
        blocks = _halved(blocks) if scale else blocks
        steps = blocks[1:] - blocks[:-1], blocks[:, 1:] - blocks[:, :-1]
        energies.append(sum(float(np.mean(np.square(step))) for step in steps))
    if not all(energy > 0 for energy in energies):
        return None
    logs = np.log(energies)
    return np.asarray(logs[:-1] - logs[-1])


def _halved(blocks: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 blocks, float32."""
    even = blocks[: blocks.shape[0] // 2 * 2, : blocks.shape[1] // 2 * 2]
    return np.asarray((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) * np.float32(0.25))


def alikeness(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation, from -1 to 1."""
    a, b = first - first.mean(), second - second.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / size if size else 0.0
