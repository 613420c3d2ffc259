"""What label files show: how often each value occurs, where it lies, what the files say of it.

Slices are read in bands, so that memory does not grow with them. Nothing is concluded here; `recipe.label_meaning`
does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import ndimage

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.data.values import Context, full_value, is_one_bit, packed_colors, whole_numbers
from cristae.errors import LabelError
from cristae.progress import Progress

Place = tuple[int, Image, int]
"""Number of the slice (or image) in the volume, the file with its labels, and the slice in that file."""

_SLICES, _MOST_VOXELS = 64, 2**26
"""So many slices are looked at, or more where they are small."""
_BAND_VOXELS = 2**23
_LOSSY = ("jpeg", "ojpeg", "jpeg_lossy")
_MOST_VALUES, _ENDS = 10_000, 16
"""So many values are told apart in the end, and so many of the least and of the greatest among them."""
_PART_VALUES = 32
"""Slices of at most so many values are looked at for connected parts."""
_PART_SLICES = 8


@dataclass(slots=True)
class Seen:
    """What was seen of one value."""

    voxels: int = 0
    flat: int = 0
    """Voxels whose right and lower neighbours have the value too."""
    rim: int = 0
    """Voxels in the first or last row or column of their slice."""
    parts: int = 0
    """The most connected parts that it had in one of a few slices."""


@dataclass
class LabelEvidence:
    """What was seen in the slices that were looked at."""

    kind: Literal["numbers", "colors"] = "numbers"
    """Colours are packed as 0xrrggbbaa."""
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.uint8))
    """Of the files."""
    jpeg: bool = False
    values: dict[int, Seen] = field(default_factory=dict)
    """The commonest, the least and the greatest ones where there are very many."""
    distinct: int = 0
    """How many different values there are."""
    voxels: int = 0
    """All that were looked at."""
    rim: int = 0
    """All in the first or last row or column of their slice."""
    by_slice: dict[int, dict[int, int]] = field(default_factory=dict)
    """Number of the slice (or image) to the voxels of each value there; of its commonest where there are many."""
    names: dict[int, str] = field(default_factory=dict)
    """Class names, where the files give them."""
    colors: dict[int, str] = field(default_factory=dict)
    """Palette colours '#rrggbb' of values."""

    def share(self, value: int) -> float:
        """Part of the voxels that have the value."""
        return self.values[value].voxels / self.voxels

    def rim_share(self, value: int) -> float:
        """Part of the voxels on the rims of slices that have the value."""
        return self.values[value].rim / self.rim

    def flat_share(self, value: int) -> float:
        """Part of the value's voxels that lie inside its areas, rather than at an edge of them."""
        return self.values[value].flat / self.values[value].voxels


def look_at(places: Sequence[Place], progress: Progress = Progress()) -> LabelEvidence:
    """Look at slices of labels.

    Raises:
        LabelError: Values are no labels: fractions, NaN, colours of more than 8 bits.
    """
    places = _alike_bits(places)
    files = {id(file): file for _, file, _ in places}.values()
    evidence = LabelEvidence(kind="colors" if _palettes_differ(files) else _kind_of(places))
    for file in files:
        _note_file(evidence, file)
    looked_closer = 0
    with progress.task("Looking at the labels", len(places), unit="slices") as task:
        for number, file, z in places:
            found = evidence.by_slice.setdefault(number, {})
            for band in _bands(file, z):
                _count(evidence, found, _read(file, band, evidence.kind)[0], band, file)
            small = len(found) <= _PART_VALUES and file.shape[1] * file.shape[2] <= _BAND_VOXELS
            if small and looked_closer < _PART_SLICES:
                looked_closer += 1
                _count_parts(evidence, _read(file, Box((z, 0, 0), (z + 1, *file.shape[1:])), evidence.kind)[0])
            _forget_rare(evidence, number)
            task.advance()
    _keep_some(evidence)
    return evidence


def profile(
    place: Place, axis: int, ranges: Sequence[tuple[int, int]], kind: Literal["numbers", "colors"]
) -> np.ndarray:
    """Voxels in each of some inclusive ranges of values in each row (axis 0) or column (axis 1) of a slice.

    Returns:
        (rows or columns, ranges).
    """
    _, file, z = place
    counts = np.zeros((file.shape[1 + axis], len(ranges)), np.int64)
    for band in _bands(file, z):
        area = _read(file, band, kind)[0]
        first = band.start[1] if axis == 0 else 0
        for column, (low, high) in enumerate(ranges):
            found = np.count_nonzero((area >= low) & (area <= high), axis=1 - axis)
            counts[first : first + len(found), column] += found
    return counts


def _bands(file: Image, z: int) -> Iterator[Box]:
    rows = max(2, _BAND_VOXELS // file.shape[2])
    for start in range(0, file.shape[1], rows):
        yield Box((z, start, 0), (z + 1, min(start + rows, file.shape[1]), file.shape[2]))


def _alike_bits(places: Sequence[Place]) -> Sequence[Place]:
    """One-bit files among others count as black and white, as `data.values.encode` takes them."""
    files = {id(file): file for _, file, _ in places}
    if {is_one_bit(file) for file in files.values()} != {True, False}:
        return places
    white = np.uint8(255)
    wide = {
        key: file.map(lambda area: area.astype(np.uint8) * white, np.dtype(np.uint8)) if is_one_bit(file) else file
        for key, file in files.items()
    }
    return [(number, wide[id(file)], z) for number, file, z in places]


def _palettes_differ(files: Iterable[Image]) -> bool:
    """Whether two palette files give different colours to one index, so that only colours tell classes apart."""
    colors: dict[int, str] = {}
    return any(
        colors.setdefault(index, color) != color
        for file in files
        if file.colors == 1
        for index, color in enumerate(file.palette or ())
    )


def _kind_of(places: Sequence[Place]) -> Literal["numbers", "colors"]:
    """Colours, unless every voxel looked at is an opaque grey."""
    for _, file, z in places:
        if file.colors > 1:
            for band in _bands(file, z):
                if not _is_grey(file.read(band), file):
                    return "colors"
    return "numbers"


def _is_grey(voxels: np.ndarray, file: Image) -> bool:
    if file.colors in (2, 4) and not (voxels[..., -1] == full_value(voxels.dtype)).all():
        return False
    return file.colors < 3 or bool((voxels[..., 1:3] == voxels[..., :1]).all())


def _read(file: Image, band: Box, kind: Literal["numbers", "colors"]) -> np.ndarray:
    voxels = file.read(band)
    if kind == "colors":
        return packed_colors(voxels, file, Context(str(file.path), ""))
    if voxels.dtype.kind == "f":
        _require_whole(voxels, file, band.start[0])
    return whole_numbers(voxels, file, Context(str(file.path), ""))


def _require_whole(voxels: np.ndarray, file: Image, z: int) -> None:
    """Refuse numbers that are no labels in words that say what they are instead."""
    where = f"{file.path}: slice {z}"
    finite = voxels[np.isfinite(voxels)]
    if finite.size < voxels.size:
        raise LabelError(
            f"{where} holds {voxels.size - finite.size} voxels that are NaN or infinite; labels must be integers.\n"
            "  If they mean 'not annotated', save the labels as integers with a value of its own there, such as 255."
        )
    odd = finite[finite != np.rint(finite)]
    if not odd.size:
        return
    example = f"{float(odd[odd.size // 2]):g}"
    if finite.min() >= 0 and finite.max() <= 1:
        raise LabelError(
            f"{where} holds values from 0 to 1 with fractions such as {example}: probabilities, not labels.\n"
            "  Save one whole number for each class, for instance 1 where the probability is above 0.5 and 0 elsewhere."
        )
    raise LabelError(
        f"{where} holds values that are not whole numbers, such as {example}: labels must be integers.\n"
        "  Were they resampled? Repeat it with nearest neighbours instead of interpolation, and save integers."
    )


def _note_file(evidence: LabelEvidence, file: Image) -> None:
    evidence.dtype = file.dtype
    packing = file.details.get("compression", "")
    evidence.jpeg |= (
        file.format.startswith("jpeg") or packing in _LOSSY or file.path.suffix.lower() in (".jpg", ".jpeg")
    )
    for key, name in file.details.items():
        if key.startswith("label ") and key[6:].lstrip("-").isdigit():
            evidence.names[int(key[6:])] = name
    if evidence.kind == "numbers":
        evidence.colors.update(enumerate(file.palette or ()))


def _count(evidence: LabelEvidence, found: dict[int, int], area: np.ndarray, band: Box, file: Image) -> None:
    evidence.voxels += area.size
    for value, count in _tally(area):
        found[value] = found.get(value, 0) + count
        evidence.values.setdefault(value, Seen()).voxels += count
    edges = [area[:, 0], area[:, -1]]
    edges += [area[0]] if band.start[1] == 0 else []
    edges += [area[-1]] if band.stop[1] == file.shape[1] else []
    rim = np.concatenate(edges)
    evidence.rim += rim.size
    for value, count in _tally(rim):
        evidence.values[value].rim += count
    corner = area[:-1, :-1]
    for value, count in _tally(corner[(corner == area[1:, :-1]) & (corner == area[:-1, 1:])]):
        evidence.values[value].flat += count


def _count_parts(evidence: LabelEvidence, area: np.ndarray) -> None:
    for value, _ in _tally(area):
        seen = evidence.values[value]
        seen.parts = max(seen.parts, ndimage.label(area == value)[1])


def _forget_rare(evidence: LabelEvidence, number: int) -> None:
    """Keep the commonest values of a slice only, where it has very many objects."""
    found = evidence.by_slice[number]
    if len(found) > _MOST_VALUES:
        evidence.by_slice[number] = dict(sorted(found.items(), key=lambda item: -item[1])[:_MOST_VALUES])


def _keep_some(evidence: LabelEvidence) -> None:
    values = evidence.values
    evidence.distinct = len(values)
    if len(values) > _MOST_VALUES:
        ends = sorted(values)
        common = sorted(values, key=lambda value: -values[value].voxels)[:_MOST_VALUES]
        kept = {*ends[:_ENDS], *ends[-_ENDS:], *common} | ({0} & values.keys())
        evidence.values = {value: seen for value, seen in values.items() if value in kept}


def _tally(values: np.ndarray) -> list[tuple[int, int]]:
    """Values with their counts; labels have long runs of one value, which spares sorting every voxel."""
    line = values.ravel()
    if not line.size:
        return []
    if line.dtype in (np.uint8, np.uint16):
        counts = np.bincount(line)
        found = np.flatnonzero(counts)
        return list(zip(found.tolist(), counts[found].tolist(), strict=True))
    starts = np.concatenate([[0], np.flatnonzero(line[1:] != line[:-1]) + 1])
    lengths = np.diff(np.append(starts, line.size))
    distinct, inverse = np.unique(line[starts], return_inverse=True)
    totals = np.bincount(inverse, weights=lengths).astype(np.int64)
    return list(zip(distinct.tolist(), totals.tolist(), strict=True))


def chosen_places(places: Sequence[Place]) -> list[Place]:
    """All places where that is quick, otherwise some of them at even distances."""
    voxels = sum(file.shape[1] * file.shape[2] for _, file, _ in places)
    most = _MOST_VOXELS // max(1, voxels // max(1, len(places)))
    if len(places) <= max(_SLICES, most):
        return list(places)
    chosen = np.linspace(0, len(places) - 1, max(_SLICES, most)).round().astype(int)
    return [places[i] for i in chosen]
