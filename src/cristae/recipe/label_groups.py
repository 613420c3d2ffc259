"""Label values in groups that mean one thing each: single values, or ranges where edges are blended or JPEG blurred."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from cristae.data.label_evidence import LabelEvidence
from cristae.errors import LabelError

MAX_CLASSES = 20
_APART = 32
"""Grey levels between two modes of a JPEG; closer ones blur into each other."""
_WINDOW = 12
_MOST_MODES = 6
_ROUNDED = 3
"""Samples of a blended colour are this close to the way between the two."""
_STEEP = 64
"""Modes less far apart have too few values between them to be told from ids."""


@dataclass(frozen=True)
class Group:
    """Values that mean one thing."""

    low: int
    high: int
    value: int
    """The commonest of them."""
    share: float
    """Part of the voxels."""
    rim_share: float
    """Part of the voxels on the rims of slices."""
    flat_share: float
    """Part of its voxels that are not at an edge of it."""
    parts: int
    """The most connected parts in one of a few slices."""
    color: str = ""
    """'#rrggbb' or '#rrggbbaa', where it is one or a palette gives one."""
    name: str = ""
    """As the files call it."""
    is_color: bool = False

    @property
    def key(self) -> str:
        """As it stands in a recipe."""
        if self.is_color:
            return self.color
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"

    @property
    def shown(self) -> str:
        """For a person."""
        if self.is_color:
            return self.color
        return f"{self.key} ({self.color})" if self.color else self.key

    def holds(self, value: int) -> bool:
        """Whether a value is one of the group's."""
        return self.low <= value <= self.high


def groups_of(evidence: LabelEvidence) -> tuple[Group, ...]:
    """The groups of values, rising.

    Raises:
        LabelError: These are no labels: one value only, a grey image, a drawing over it, blurred ids or colours.
    """
    if len(evidence.values) == 1:
        (value,) = evidence.values
        raise LabelError(
            f"every labelled voxel has the value {_shown(value, evidence)}: there is nothing to learn from these labels"
        )
    if evidence.kind == "colors":
        _refuse_no_colors(evidence)
        return _single(evidence)
    blurred = evidence.jpeg and evidence.dtype == np.uint8
    modes = _modes_of_jpeg(evidence) if blurred else _modes_of_blends(evidence)
    if modes:
        return _ranges(modes, evidence)
    _refuse_grey(evidence)
    return _single(evidence)


def color_text(packed: int) -> str:
    """'#rrggbb', or '#rrggbbaa' where it is not opaque.

    Example:
        >>> color_text(0xFF0000FF), color_text(0)
        ('#ff0000', '#00000000')
    """
    text = f"#{packed:08x}"
    return text[:7] if text.endswith("ff") else text


def _shown(value: int, evidence: LabelEvidence) -> str:
    return color_text(value) if evidence.kind == "colors" else str(value)


def _single(evidence: LabelEvidence) -> tuple[Group, ...]:
    return tuple(_group(value, value, evidence) for value in sorted(evidence.values))


def _group(low: int, high: int, evidence: LabelEvidence) -> Group:
    members = [low] if low == high else [value for value in evidence.values if low <= value <= high]
    commonest = max(members, key=lambda value: evidence.values[value].voxels)
    name = evidence.names.get(commonest, "")
    is_color = evidence.kind == "colors"
    seen = [evidence.values[value] for value in members]
    return Group(
        low,
        high,
        commonest,
        share=sum(evidence.share(value) for value in members),
        rim_share=sum(evidence.rim_share(value) for value in members),
        flat_share=sum(one.flat for one in seen) / sum(one.voxels for one in seen),
        parts=evidence.values[commonest].parts,
        color=color_text(commonest) if is_color else evidence.colors.get(commonest, ""),
        name="" if name == f"label {commonest}" else name,  # what a label image calls classes without a name
        is_color=is_color,
    )


def _ranges(modes: list[int], evidence: LabelEvidence) -> tuple[Group, ...]:
    """Everything from half-way to the mode below to half-way to the mode above."""
    info = np.iinfo(evidence.dtype if evidence.dtype.kind in "iu" else np.int64)
    cuts = [(a + b) // 2 for a, b in pairwise(modes)]
    lows = [min(0, min(evidence.values)), *(cut + 1 for cut in cuts)]
    highs = [*cuts, int(info.max) if info.bits <= 16 and info.min == 0 else max(evidence.values)]
    return tuple(_group(low, high, evidence) for low, high in zip(lows, highs, strict=True))


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
    covered = sum(int(alone[max(0, mode - 2 * _WINDOW) : mode + 2 * _WINDOW + 1].sum()) for mode in modes)
    near = int(alone[max(0, modes[0] - 4) : modes[0] + 5].sum())
    if (
        covered < 0.85 * evidence.voxels
        or len(modes) > _MOST_MODES
        or (len(modes) == 1 and near < 0.9 * evidence.voxels)
    ):
        raise LabelError(_no_labels(evidence))
    if len(modes) == 1:
        raise LabelError(
            f"every labelled voxel of these JPEG files is near {modes[0]}: there is nothing to learn from these labels"
        )
    return sorted(modes)


def _is_apart(value: int, mode: int, around: np.ndarray) -> bool:
    low, high = sorted((value, mode))
    return high - low >= _APART and bool(around[low : high + 1].min() * 3 <= around[value])


def _modes_of_blends(evidence: LabelEvidence) -> list[int]:
    """The values of areas, where all others are seen only in the thin edges between them; empty where it is not so."""
    values = sorted(evidence.values)
    if len(values) < 5 or evidence.dtype.kind not in "iu" or evidence.dtype.itemsize > 2:
        return []
    modes = _values_of_areas(evidence)
    if not 2 <= len(modes) <= _MOST_MODES:
        return []
    between = [value for value in values if value not in modes]
    if len(between) < 3 or _flat_share(between, evidence) >= 0.15:
        return []
    if len(between) < 10 and any(evidence.flat_share(value) >= 0.2 for value in between):
        return []
    steep = all(high - low >= _STEEP for low, high in pairwise(modes))
    inside = modes[0] < between[0] and between[-1] < modes[-1]
    rare = sum(evidence.share(value) for value in between) < 0.2
    return modes if steep and inside and rare else []


def _values_of_areas(evidence: LabelEvidence) -> list[int]:
    """Values that fill areas, rising; those of thin edges do not."""
    least = 1e-3 * sum(seen.flat for seen in evidence.values.values())
    return sorted(
        value for value, seen in evidence.values.items() if seen.flat > least and evidence.flat_share(value) >= 0.2
    )


def _flat_share(values: list[int], evidence: LabelEvidence) -> float:
    seen = [evidence.values[value] for value in values]
    return sum(one.flat for one in seen) / max(1, sum(one.voxels for one in seen))


def _refuse_grey(evidence: LabelEvidence) -> None:
    """Refuse what is no labels: only the one or two commonest values fill areas, or none does."""
    common = sorted(evidence.values, key=lambda value: -evidence.values[value].voxels)
    if len(common) <= MAX_CLASSES or _flat_share(common[2:], evidence) >= 0.15:
        return
    raise LabelError(_no_labels(evidence))


def _refuse_no_colors(evidence: LabelEvidence) -> None:
    count = len(evidence.values)
    greys = [value for value in evidence.values if _is_grey(value)]
    if len(greys) > 30 and sum(evidence.share(value) for value in greys) > 0.5:
        raise LabelError(
            f"the labels are drawn over the image: {len(greys)} shades of grey and {count - len(greys)} colours.\n"
            "  Save the drawing alone, without the image under it: one plain colour or number for each class, and "
            "another one where nothing was drawn"
        )
    flat = sum(seen.flat for seen in evidence.values.values())
    plain = _values_of_areas(evidence)
    thin = list(evidence.values.keys() - set(plain))
    if len(thin) >= 3 and len(plain) <= MAX_CLASSES and _are_blends(thin, plain):
        raise LabelError(
            f"the edges of the labels are blended: {len(plain)} colours fill areas, {len(thin)} lie between these.\n"
            "  Save the labels again without smooth edges (anti-aliasing), one plain colour per class"
        )
    if count > MAX_CLASSES and (flat < 0.5 * evidence.voxels or len(plain) <= MAX_CLASSES):
        raise LabelError(
            f"the labels hold {count} colours, too many to be classes; is this the image itself, or a JPEG? "
            "Save labels as PNG or TIFF with one plain colour per class"
        )


def _are_blends(between: list[int], modes: list[int]) -> bool:
    """Whether most colours lie on the way from one of the modes to another, or are partly transparent."""
    colors = np.array([[color >> shift & 255 for shift in (24, 16, 8, 0)] for color in between], float)
    mixed = (colors[:, 3] > 0) & (colors[:, 3] < 255) & all(mode & 255 in (0, 255) for mode in modes)
    for first, second in combinations(modes, 2):
        start, end = (np.array([color >> shift & 255 for shift in (24, 16, 8, 0)], float) for color in (first, second))
        way = end - start
        part = np.clip((colors - start) @ way / (way @ way), 0, 1)
        mixed |= (np.abs(colors - start - part[:, None] * way) <= _ROUNDED).all(axis=1)
    return bool(mixed.mean() >= 0.8)


def _is_grey(color: int) -> bool:
    red, green, blue, alpha = color >> 24, color >> 16 & 255, color >> 8 & 255, color & 255
    return red == green == blue and alpha == 255


def _no_labels(evidence: LabelEvidence) -> str:
    low, high = min(evidence.values), max(evidence.values)
    return (
        f"the labels hold {len(evidence.values)} values from {low} to {high}, of which hardly any fills an area: this "
        "looks like a grey image, a probability map or a blurred mask, not like labels.\n"
        "  Give the file in which each class has a number of its own; probabilities become such labels with a threshold"
    )
