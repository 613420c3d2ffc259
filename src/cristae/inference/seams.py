"""Does it show where windows meet? A prediction in windows is compared with one whose windows lie elsewhere.

Where the two disagree, the place of the windows decided. If they disagree more where windows of either meet than
elsewhere, there are seams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import Image
from cristae.inference.labels import labels_of
from cristae.inference.predictor import Member, Predictor
from cristae.inference.seam_check import SeamCheck
from cristae.inference.windows import Windows
from cristae.preprocess.filtered_slices import FilteredSlices

_PART = 1 / 32
"""Part of the volume that is looked at, besides the first place."""
_PLACES = 12
"""Places that are looked at, at most."""
_NEAR = 16
"""Voxels of a window for one that counts as near to its border."""


def check_seams(predictor: Predictor, image: Image | FilteredSlices, region: Box, threshold: float) -> SeamCheck | None:
    """Look at some places of a volume.

    Args:
        predictor: Of the networks.
        image: What they are shown, on the grid that they work on.
        region: What is predicted, on that grid.
        threshold: Of labels.

    Returns:
        None where no network is applied in windows, or no two windows meet in the region.
    """
    if all(member.windows is None for member in predictor.members):
        return None
    other = Predictor(
        [_moved(member) for member in predictor.members],
        device=predictor.device,
        precision=predictor.precision,
        pass_vox=predictor.pass_vox,
        fusion=predictor.fusion,
        threshold=predictor.threshold,
        sessions=predictor.sessions,
    )
    windows = [one.windows for one in (*predictor.members, *other.members) if one.windows is not None]
    label_threshold = predictor.fusion.label_threshold(threshold)
    counts = np.zeros((2, 2), np.int64)  # near or inside, differing or not
    with predictor.predicting(), other.predicting():
        for box in _places(region, windows[0]):
            first, second = (
                labels_of(one.probabilities(image, box), one.ensemble, label_threshold).cpu().numpy()
                for one in (predictor, other)
            )
            differing, near = (first != second).any(0), _near_seams(box, windows, image.shape)
            counts[0] += np.bincount(differing[near], minlength=2)
            counts[1] += np.bincount(differing[~near], minlength=2)
    if not counts.sum(1).all():
        return None
    (near_same, near_differing), (inside_same, inside_differing) = counts.tolist()
    return SeamCheck(near_same + near_differing, near_differing, inside_same + inside_differing, inside_differing)


@dataclass(frozen=True)
class _MovedWindows(Windows):
    """Windows in other places: half a step further up."""

    def starts(self, axis: int, length: int) -> list[int]:
        """See `Windows`."""
        found, side = super().starts(axis, length), self.size[axis]
        if len(found) < 2 or axis < 3 - self.ndim:
            return found
        step = found[1] - found[0]
        moved = [start - max(1, step // 2) for start in found]
        return [*moved, found[-1]] if moved[-1] + side < found[-1] + side else moved


def _moved(member: Member) -> Member:
    windows = member.windows
    return (
        member if windows is None else replace(member, windows=_MovedWindows(windows.rule, windows.size, windows.ndim))
    )


def _places(region: Box, windows: Windows) -> Iterator[Box]:
    """Boxes of two windows a side, evenly spread over the region."""
    shape = _triple([min(2 * side, whole) for side, whole in zip(windows.size, region.shape, strict=True)])
    whole, one = region.size, shape[0] * shape[1] * shape[2]
    count = max(1, min(_PLACES, int(_PART * whole / one)))
    room = [side - part for side, part in zip(region.shape, shape, strict=True)]
    for number in range(count):
        # Multiples of irrational steps spread evenly along each axis, whatever their number.
        shares = [(0.5 + number * step) % 1 for step in (0.7548776662, 0.5698402910, 0.3247179572)]
        low = [start + int(share * (free + 1)) for start, share, free in zip(region.start, shares, room, strict=True)]
        yield Box(_triple(low), _triple([at + side for at, side in zip(low, shape, strict=True)]))


def _near_seams(box: Box, windows: Sequence[Windows], shape: Triple) -> np.ndarray:
    """Which voxels (Z, Y, X) of a box lie near to the border of what a window decides."""
    near = np.zeros(box.shape, bool)
    for one in windows:
        for axis in range(3 - one.ndim, 3):
            close = np.zeros(box.shape[axis], bool)
            reach = max(1, one.size[axis] // _NEAR)
            for seam in seams_of(one, axis, shape[axis]):
                close[max(0, seam - reach - box.start[axis]) : max(0, seam + reach - box.start[axis])] = True
            near |= close.reshape([-1 if place == axis else 1 for place in range(3)])
    return near


def seams_of(windows: Windows, axis: int, length: int) -> list[int]:
    """The first voxels, along an axis of some length, behind a place where windows meet or one of them ends."""
    side, starts = windows.size[axis], windows.starts(axis, length)
    if windows.rule == "gaussian":
        ends = {*starts} | {start + side for start in starts}
        return sorted(end for end in ends if 0 < end < length)
    first, last = (side // 3, side // 3) if windows.rule == "centre_third" and side >= 3 else (0, 0)
    place = np.arange(length)
    nearness = [
        np.where(
            (place >= start + first) & (place < start + side - last),
            np.minimum(place - start + 1, start + side - place),
            -1,
        )
        for start in starts
    ]
    owner = np.argmax(nearness, axis=0)
    return [int(at) + 1 for at in np.flatnonzero(np.diff(owner))]


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x
