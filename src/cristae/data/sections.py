"""Sections that hold nothing: constant or black ones, copies of others, and some whose contrast is turned round."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.data.volume import Volume
from cristae.errors import LabelError
from cristae.progress import Progress

_MOST_VOXELS = 2**31
"""Of more voxels, slices at even distances are looked at."""
_FLAT = 0.05
"""A section whose grey values vary by less than this part of what the others' do shows nothing."""
_SKETCH = 64
"""Pixels along y and x of the sketch by which neighbours are compared."""
_ALIKE = 0.2
"""Correlation of sketches that neighbours which follow each other reach, and inverted ones reach below 0, where a
slice and the next but one are as alike; half of what these reach in the whole volume, where that is less."""
_LEAST_ALIKE = 0.08
"""Smaller correlations say nothing."""


@dataclass(frozen=True)
class Sections:
    """What was seen in the sections of a volume; slices count from 0."""

    looked_at: tuple[int, ...]
    constant: dict[int, float]
    """Slices in which every voxel has the same value, with that value."""
    faint: tuple[int, ...]
    """Slices that show next to nothing beside the others."""
    repeated: dict[int, int]
    """Slices that are equal to an earlier one, with that one."""
    inverted: tuple[int, ...]
    """Slices that look like the negative of both neighbours."""
    unlabelled: tuple[int, ...]
    """Slices without any labels between two that have many."""
    digests: dict[int, bytes]
    """Of the voxels of each slice that is not constant."""

    @property
    def useless(self) -> tuple[int, ...]:
        """Slices to leave out."""
        return tuple(sorted({*self.constant, *self.faint, *self.repeated, *self.inverted, *self.unlabelled}))


def look_at_sections(volume: Volume, slices: Sequence[int], progress: Progress = Progress()) -> Sections:
    """Look at the sections of a volume, one after the other.

    Args:
        volume: With or without labels.
        slices: Which, rising.
        progress: Where to show how far it is.

    Raises:
        CristaeError: A file is damaged.
    """
    image = volume.image
    most = max(8, _MOST_VOXELS // (image.shape[1] * image.shape[2]))
    if len(slices) > most:
        slices = [slices[i] for i in np.linspace(0, len(slices) - 1, most).round().astype(int)]
    constant: dict[int, float] = {}
    digests: dict[int, bytes] = {}
    spread, sketches = {}, {}
    with progress.task(f"Looking at the sections of {volume.name}", len(slices), unit="slices") as task:
        for z in slices:
            plane = _read(image, z)
            if plane.min() == plane.max():
                constant[z] = float(plane.flat[0])
            else:
                digests[z] = hashlib.blake2b(np.ascontiguousarray(plane).tobytes(), digest_size=16).digest()
                sketches[z] = _sketch(plane)
                spread[z] = float(np.std(sketches[z]))
            task.advance()
    usual = float(np.median(list(spread.values()) or [0.0]))
    faint = tuple(z for z, one in spread.items() if one < _FLAT * usual)
    return Sections(
        looked_at=tuple(slices),
        constant=constant,
        faint=faint,
        repeated=_repeated(digests),
        inverted=_inverted({z: sketch for z, sketch in sketches.items() if z not in faint}),
        unlabelled=_without_labels(volume, slices),
        digests=digests,
    )


def _read(image: Image, z: int) -> np.ndarray:
    plane = image.read(Box((z, 0, 0), (z + 1, *image.shape[1:])))[0]
    return np.asarray(np.nan_to_num(plane)) if plane.dtype.kind == "f" else plane


def _sketch(plane: np.ndarray) -> np.ndarray:
    """Means of blocks (Y, X), about 64 x 64 of them."""
    steps = [max(1, side // _SKETCH) for side in plane.shape]
    height, width = (side // step for side, step in zip(plane.shape, steps, strict=True))
    cut = plane[: height * steps[0], : width * steps[1]]
    return np.asarray(cut.reshape(height, steps[0], width, steps[1]).mean((1, 3), dtype=np.float64))


def _repeated(digests: dict[int, bytes]) -> dict[int, int]:
    first: dict[bytes, int] = {}
    return {z: first[one] for z, one in digests.items() if first.setdefault(one, z) != z}


def _inverted(sketches: dict[int, np.ndarray]) -> tuple[int, ...]:
    """Slices unlike both neighbours in sign, where the neighbours are alike."""
    inner = [z for z in sketches if z - 1 in sketches and z + 1 in sketches]
    across = {z: _alike(sketches[z - 1], sketches[z + 1]) for z in inner}
    enough = max(_LEAST_ALIKE, min(_ALIKE, 0.5 * float(np.median(list(across.values()) or [0.0]))))
    return tuple(
        z
        for z in inner
        if across[z] > enough
        and max(_alike(sketches[z - 1], sketches[z]), _alike(sketches[z], sketches[z + 1])) < -enough
    )


def _alike(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation, from -1 to 1."""
    a, b = first - first.mean(), second - second.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / size if size else 0.0


def _without_labels(volume: Volume, slices: Sequence[int]) -> tuple[int, ...]:
    """Single slices of nothing but the first class, between two of which a twentieth or more is something else."""
    if not volume.labels:
        return ()
    labelled = volume.labelled_slices
    share = {}
    for z in slices:
        if labelled is None or z in labelled:
            box = Box((z, 0, 0), (z + 1, *volume.image.shape[1:]))
            try:
                share[z] = float(np.mean(np.any([one.read(box) != 0 for one in volume.labels], axis=0)))
            except LabelError:  # told by whoever trains
                return ()
    return tuple(z for z, one in share.items() if one == 0 and min(share.get(z - 1, 0), share.get(z + 1, 0)) > 0.05)
