"""Sections of a volume that deserve a look before it is predicted: which slices of the prediction they reach, and how
gaps are bridged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.data.sections import BadSection, Kind, look_at_sections
from cristae.data.slice_ranges import ranges_text, slice_ranges
from cristae.data.volume import Volume
from cristae.inference.predictor import Member
from cristae.inference.working_grid import WorkingGrid
from cristae.progress import Progress

_MOST_VOXELS = 2**28
"""What is read of a volume at most: of larger ones the middle of each section."""
_BRIDGED: frozenset[Kind] = frozenset({"missing", "repeated", "inverted", "blurred"})
"""What is bridged: sections that show less than their neighbours do. Displaced ones show all of it."""
_LONGEST = 5
"""Longer runs of bad sections are not bridged: nobody knows what was there."""
_LEAST = 3
"""Volumes of fewer sections are not looked at."""
_NAMED = 8


@dataclass(frozen=True)
class Bridge:
    """A slice that networks see as a mixture of others."""

    slice: int
    before: int
    """The nearest good slice before it; the one after where there is none."""
    after: int
    share: float
    """Of the one after."""


@dataclass(frozen=True)
class SectionReport:
    """What a look at the sections of a volume found."""

    looked_at: int
    """How many sections."""
    part: Box
    """The slices that are predicted, and what was looked at of them along y and x."""
    bad: tuple[BadSection, ...]
    bridges: tuple[Bridge, ...] = ()
    reach: int = 0
    """Slices by which a section influences the prediction of others, on each side."""

    def affected(self) -> tuple[int, ...]:
        """Slices of the volume whose prediction bad sections influence."""
        return tuple(sorted({z for one in self.bad for z in self._influenced(one)}))

    def _influenced(self, section: BadSection) -> range:
        first, last = self.part.start[0], self.part.stop[0]
        return range(max(first, section.slice - self.reach), min(last, section.slice + self.reach + 1))

    def within_reach(self, reach: int) -> SectionReport:
        """The report for networks that see so many slices on each side: sections that influence what is predicted."""
        known = replace(self, reach=reach)
        return replace(known, bad=tuple(one for one in self.bad if known._influenced(one)))

    def to_dict(self) -> dict[str, Any]:
        """What the prediction says about it."""
        return {
            "looked_at": self.looked_at,
            "part": str(self.part),
            "bad": [one.to_dict() for one in self.bad],
            "reach": self.reach,
            "affected": [list(ends) for ends in slice_ranges(self.affected())],
            "bridged": [one.slice for one in self.bridges],
        }

    def warning(self, name: str) -> str | None:
        """A sentence for the one who predicts; None where nothing is bad."""
        if not self.bad:
            return None
        shown = [f"{one.slice} ({one.kind})" for one in self.bad[:_NAMED]]
        more = f" and {len(self.bad) - _NAMED} more" if len(self.bad) > _NAMED else ""
        text = f"sections of '{name}' that deserve a look: {', '.join(shown)}{more}; they influence slices "
        text += ranges_text(self.affected())
        if self.bridges:
            text += f". Bridged from their neighbours: {ranges_text(one.slice for one in self.bridges)}"
        elif any(one.kind in _BRIDGED for one in self.bad):
            text += ". `predict.bridge: true` in the run's recipe shows networks their neighbours instead"
        return text


def look_before_predicting(image: Image, name: str, region: Box, *, bridge: bool, progress: Progress) -> SectionReport:
    """Look at the sections of the region that is predicted; at all where gaps are bridged, so that a region is
    predicted as it is in the whole volume.

    Args:
        image: The volume's.
        name: What messages call it.
        region: What is predicted.
        bridge: Whether to plan bridges over gaps.
        progress: Where to show how far it is.

    Raises:
        CristaeError: A file is damaged.
    """
    count = image.shape[0]
    slices = range(count) if bridge else range(region.start[0], region.stop[0])
    if len(slices) < _LEAST:
        return SectionReport(0, region, ())
    seen = look_at_sections(Volume(name, image), slices, progress, most_voxels=_MOST_VOXELS)
    part = Box((region.start[0], *seen.part.start[1:]), (region.stop[0], *seen.part.stop[1:]))
    bridges = _bridges(seen.bad, count) if bridge else ()
    return SectionReport(len(seen.looked_at), part, seen.bad, bridges)


def with_reach(report: SectionReport, members: Sequence[Member], grids: Sequence[WorkingGrid]) -> SectionReport:
    """The report with the slices by which sections influence others through these networks, each on its grid."""
    return report.within_reach(max(_slices_of(*pair) for pair in zip(members, grids, strict=True)))


def _slices_of(member: Member, grid: WorkingGrid) -> int:
    return math.ceil((member.reach_z + 1) / grid.scale[0]) if grid.resampled else member.reach_z


def _bridges(bad: Sequence[BadSection], count: int) -> tuple[Bridge, ...]:
    gaps = {one.slice for one in bad if one.kind in _BRIDGED}
    found = []
    for start, stop in slice_ranges(gaps):
        ends = [z for z in (start - 1, stop) if 0 <= z < count]
        if not ends or stop - start > _LONGEST:
            continue
        before, after = ends[0], ends[-1]
        for z in range(start, stop):
            found.append(Bridge(z, before, after, (z - before) / (after - before) if after > before else 0.0))
    return tuple(found)


def bridged(image: Image, bridges: Sequence[Bridge]) -> Image:
    """The image as networks see it: its gaps filled by the mean of the good slices around them, weighted by distance,
    or by a copy of the nearest one at the ends of the volume."""
    return replace(image, reader=lambda box: _read(image, bridges, box)) if bridges else image


def _read(image: Image, bridges: Sequence[Bridge], box: Box) -> np.ndarray:
    voxels = image.read(box)
    inside = [one for one in bridges if box.start[0] <= one.slice < box.stop[0]]
    if not inside:
        return voxels
    voxels = np.array(voxels)

    def plane(z: int) -> np.ndarray:
        found: np.ndarray = image.read(Box((z, *box.start[1:]), (z + 1, *box.stop[1:])))[0].astype(np.float64)
        return found

    for one in inside:
        mean = plane(one.before) * (1 - one.share) + plane(one.after) * one.share
        voxels[one.slice - box.start[0]] = np.rint(mean) if voxels.dtype.kind in "iu" else mean
    return voxels
