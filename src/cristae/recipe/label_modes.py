"""Values that areas have, where blended edges or JPEG put others between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cristae.data.label_evidence import LabelEvidence
from cristae.errors import LabelError

_APART = 32
"""Grey levels between two modes of a JPEG; closer ones blur into each other."""
_WINDOW = 12
_MOST_MODES = 6
_STRAY = 1e-3
"""Part of the voxels below which one or two odd values are slips rather than classes."""
_STEEP = 64
"""Modes less far apart have too few values between them to be told from ids."""


def modes_of(evidence: LabelEvidence) -> list[int]:
    """Values (rising) that stand for all that lie around them; empty where each value means something of its own.

    Raises:
        LabelError: A JPEG has changed the values too much, or is no label image.
    """
    if evidence.jpeg and evidence.dtype == np.uint8:
        return _modes_of_jpeg(evidence)
    return _modes_of_blends(evidence)


def values_of_areas(evidence: LabelEvidence) -> list[int]:
    """Values that fill areas, rising; those of thin edges do not."""
    least = 1e-3 * sum(seen.flat for seen in evidence.values.values())
    return sorted(
        value for value, seen in evidence.values.items() if seen.flat > least and evidence.flat_share(value) >= 0.2
    )


def flat_share_of(values: Sequence[int], evidence: LabelEvidence) -> float:
    """Part of the voxels of these values that lie inside areas of their value."""
    seen = [evidence.values[value] for value in values]
    return sum(one.flat for one in seen) / max(1, sum(one.voxels for one in seen))


def no_labels(evidence: LabelEvidence) -> str:
    """What to say of something that is no label image."""
    low, high = min(evidence.values), max(evidence.values)
    return (
        f"the labels hold {len(evidence.values)} values from {low} to {high}, of which hardly any fills an area: this "
        "looks like a grey image, a probability map or a blurred mask, not like labels.\n"
        "  Give the file in which each class has a number of its own; probabilities become such labels with a threshold"
    )


def _modes_of_jpeg(evidence: LabelEvidence) -> list[int]:
    """Grey levels around which the values of a JPEG lie."""
    if max(evidence.values) - min(evidence.values) < _STEEP:
        raise LabelError(
            f"the labels are JPEG files with values from {min(evidence.values)} to {max(evidence.values)}: its "
            "compression changes such small numbers, so that classes cannot be told apart.\n"
            "  Save the labels again from their source, as PNG or TIFF"
        )
    counts = np.zeros(256 + 2 * _WINDOW, np.int64)
    for value, seen in evidence.values.items():
        counts[value + _WINDOW] = seen.voxels
    around = np.convolve(counts, np.ones(2 * _WINDOW + 1, np.int64), "valid")
    alone = counts[_WINDOW:-_WINDOW]
    modes: list[int] = []
    for value in sorted(range(256), key=lambda value: (-around[value], -alone[value])):
        if around[value] < evidence.voxels * 5e-4:
            break
        if all(_is_apart(value, mode, around) for mode in modes):
            low = max(0, value - _WINDOW)
            modes.append(low + int(np.argmax(alone[low : value + _WINDOW + 1])))
    _require_modes(modes, alone, evidence)
    return sorted(modes)


def _require_modes(modes: list[int], counts: np.ndarray, evidence: LabelEvidence) -> None:
    def voxels(reach: int) -> int:
        return sum(int(counts[max(0, mode - reach) : mode + reach + 1].sum()) for mode in modes)

    one = len(modes) == 1
    if len(modes) > _MOST_MODES or voxels(2 * _WINDOW) < 0.85 * evidence.voxels:
        raise LabelError(no_labels(evidence))
    if one and voxels(4) < 0.9 * evidence.voxels:
        raise LabelError(no_labels(evidence))
    if one:
        raise LabelError(
            f"every labelled voxel of these JPEG files is near {modes[0]}: there is nothing to learn from these labels"
        )


def _is_apart(value: int, mode: int, around: np.ndarray) -> bool:
    low, high = sorted((value, mode))
    return high - low >= _APART and bool(around[low : high + 1].min() * 3 <= around[value])


def _modes_of_blends(evidence: LabelEvidence) -> list[int]:
    """The values of areas, where all others are seen only in the thin edges between them; empty where it is not so."""
    values = sorted(evidence.values)
    if len(values) < 4 or evidence.dtype.kind not in "iu" or evidence.dtype.itemsize > 2:
        return []
    modes = _with_other_end(values_of_areas(evidence), evidence)
    if not 2 <= len(modes) <= _MOST_MODES:
        return []
    between = [value for value in values if value not in modes]
    share = sum(evidence.share(value) for value in between)
    if not between or (len(between) < 3 and share > _STRAY) or flat_share_of(between, evidence) >= 0.15:
        return []
    if len(between) < 10 and any(evidence.flat_share(value) >= 0.2 for value in between):
        return []
    steep = all(high - low >= _STEEP for low, high in pairwise(modes))
    inside = modes[0] < between[0] and between[-1] < modes[-1]
    return modes if steep and inside and share < 0.35 else []


def _with_other_end(modes: list[int], evidence: LabelEvidence) -> list[int]:
    """The one value that fills areas and the opposite end, where that stands out although its areas are small."""
    if len(modes) != 1:
        return modes
    others = {value: seen.voxels for value, seen in evidence.values.items() if value != modes[0]}
    commonest = max(others, key=lambda value: others[value])
    if commonest not in (min(evidence.values), max(evidence.values)) or others[commonest] < 0.1 * sum(others.values()):
        return modes
    return sorted((modes[0], commonest))
