"""Sections that deserve a look: constant or black, copies of others, negatives, displaced, out of focus, of other
contrast.

A section is judged by its neighbours on both sides, so that nothing is said of a volume that changes slowly, or whose
sections all differ. Missing neighbours are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.section_faults import blurred, inverted, jumped, repeated, shifted
from cristae.data.section_measures import measure_sections
from cristae.data.section_shifts import PairShift
from cristae.data.volume import Volume
from cristae.errors import LabelError
from cristae.progress import Progress

Kind = Literal["missing", "repeated", "inverted", "shifted", "blurred", "jumped"]

MOST_VOXELS = 2**31
"""Of more voxels, only the middle of each section is looked at."""
_LEAST_PART = 128
"""Voxels along y and x of that middle, at least."""
_DECODED, _RUN = 4, 16
"""Where so many times as many voxels were to be decoded, runs of so many sections at even distances are looked at."""
_SIDE = 256
"""Pixels of the sketches by which displacements are found."""
_FLAT = 0.05
"""A section whose grey values vary by less than this part of what the others' do shows nothing."""


@dataclass(frozen=True)
class BadSection:
    """A section that deserves a look."""

    slice: int
    """From 0."""
    kind: Kind
    text: str
    """What was found, in a few words."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"slice": self.slice, "kind": self.kind, "text": self.text}


@dataclass(frozen=True)
class Sections:
    """What was seen in the sections of a volume; slices count from 0."""

    looked_at: tuple[int, ...]
    part: Box
    """What was looked at of them along y and x."""
    constant: dict[int, float]
    """Slices in which every voxel has the same value, with that value."""
    faint: tuple[int, ...]
    """Slices that show next to nothing beside the others."""
    repeated: dict[int, int]
    """Slices that are equal to an earlier one, with that one."""
    inverted: tuple[int, ...]
    """Slices that look like the negative of both neighbours."""
    shifted: dict[int, tuple[float, float]]
    """Slices that are displaced against both neighbours, which lie on each other, by voxels (y, x)."""
    blurred: dict[int, float]
    """Slices with less fine detail than their neighbours, with the part of it that they have."""
    jumped: dict[int, tuple[float, float]]
    """Slices of another contrast or brightness than both neighbours: times as much contrast, and brightness added in
    standard deviations of a usual section."""
    unlabelled: tuple[int, ...]
    """Slices without any labels between two that have many."""
    digests: dict[int, bytes]
    """Of the voxels of each slice that is not constant."""
    pairs: tuple[PairShift, ...]
    """Displacements between each section and the last two before it that are not constant."""

    @property
    def useless(self) -> tuple[int, ...]:
        """Slices to leave out."""
        return tuple(sorted({*self.constant, *self.faint, *self.repeated, *self.inverted, *self.unlabelled}))

    @property
    def bad(self) -> tuple[BadSection, ...]:
        """All that was found in the image, slice by slice."""
        found = [BadSection(z, "missing", f"every voxel is {value:g}") for z, value in self.constant.items()]
        found += [BadSection(z, "missing", "shows next to nothing") for z in self.faint]
        found += [BadSection(z, "repeated", f"slice {first} again") for z, first in self.repeated.items()]
        found += [BadSection(z, "inverted", "negative of its neighbours") for z in self.inverted]
        for z, (y, x) in self.shifted.items():
            found.append(BadSection(z, "shifted", f"by {y:+.1f}, {x:+.1f} voxels (y, x) against its neighbours"))
        for z, share in self.blurred.items():
            found.append(BadSection(z, "blurred", f"{share:.0%} of its neighbours' fine detail"))
        for z, (contrast, brightness) in self.jumped.items():
            text = f"contrast {contrast:.2f} times its neighbours', brightness {brightness:+.1f} standard deviations"
            found.append(BadSection(z, "jumped", text))
        return tuple(sorted(found, key=lambda one: (one.slice, one.kind)))


def look_at_sections(
    volume: Volume, slices: Sequence[int], progress: Progress = Progress(), *, most_voxels: int = MOST_VOXELS
) -> Sections:
    """Look at the sections of a volume, one after the other.

    Args:
        volume: With or without labels.
        slices: Which, rising.
        progress: Where to show how far it is.
        most_voxels: Of more, the middle of each section is looked at; where even that takes too long to read, some
            runs of sections are.

    Raises:
        CristaeError: A file is damaged.
    """
    part = middle_of(volume.image.shape, len(slices), most_voxels)
    slices = _sampled(slices, _DECODED * most_voxels // _decoded(part, volume.image.chunks))
    found = measure_sections(volume.image, slices, part, side=_SIDE, progress=progress)
    usual = float(np.median(list(found.spreads.values()) or [0.0]))
    faint = tuple(z for z, one in found.spreads.items() if one < _FLAT * usual)
    copies, negatives = repeated(found.digests), inverted(found, faint)
    odd = {*faint, *copies, *negatives}
    return Sections(
        looked_at=tuple(slices),
        part=part,
        constant=found.constant,
        faint=faint,
        repeated=copies,
        inverted=negatives,
        shifted=shifted(found, odd),
        blurred=blurred(found, slices, {*faint, *copies}),
        jumped=jumped(found, slices, odd, usual),
        unlabelled=_without_labels(volume, slices),
        digests=found.digests,
        pairs=tuple(found.shifts.values()),
    )


def middle_of(shape: Triple, count: int, most_voxels: int) -> Box:
    """What is read of `count` sections along y and x: all of them, or a square in the middle of a volume (z, y, x)."""
    side = max(_LEAST_PART, int((most_voxels / max(1, count)) ** 0.5))
    if shape[1] * shape[2] <= side * side:
        return Box.of_shape(shape)
    height, width = (min(side, size) for size in shape[1:])
    y, x = ((size - kept) // 2 for size, kept in zip(shape[1:], (height, width), strict=True))
    return Box((0, y, x), (shape[0], y + height, x + width))


def _decoded(part: Box, chunks: Triple) -> int:
    """Voxels of a section that are decoded when a part of it is read."""
    ends = zip(part.start[1:], part.stop[1:], chunks[1:], strict=True)
    return int(np.prod([(-(-stop // chunk) - start // chunk) * chunk for start, stop, chunk in ends]))


def _sampled(slices: Sequence[int], most: int) -> Sequence[int]:
    """All slices, or about `most` of them in runs at even distances."""
    if len(slices) <= max(most, _RUN):
        return slices
    starts = np.linspace(0, len(slices) - _RUN, max(1, most // _RUN)).round().astype(int)
    return [slices[place] for place in sorted({int(start) + i for start in starts for i in range(_RUN)})]


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
