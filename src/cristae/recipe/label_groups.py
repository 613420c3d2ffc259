"""Label values in groups that mean one thing each: single values, or ranges where edges are blended or JPEG blurred."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from cristae.data.label_evidence import LabelEvidence
from cristae.errors import LabelError
from cristae.recipe.label_modes import flat_share_of, modes_of, no_labels, values_of_areas

MAX_CLASSES = 20
_ROUNDED = 3
"""Samples of a blended colour are this close to the way between the two."""


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
            f"every voxel of the labels has the value {_shown(value, evidence)}, so there is nothing to tell it from.\n"
            "  Paint what is background with another value, or give labels that hold some"
        )
    if evidence.kind == "colors":
        _refuse_no_colors(evidence)
        return _single(evidence)
    if modes := modes_of(evidence):
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


def _refuse_grey(evidence: LabelEvidence) -> None:
    """Refuse what is no labels: only the one or two commonest values fill areas, or none does."""
    common = sorted(evidence.values, key=lambda value: -evidence.values[value].voxels)
    if len(common) <= MAX_CLASSES or flat_share_of(common[2:], evidence) >= 0.15:
        return
    raise LabelError(no_labels(evidence))


def _refuse_no_colors(evidence: LabelEvidence) -> None:
    count = len(evidence.values)
    greys = [value for value in evidence.values if _is_grey(value)]
    if len(greys) > 30 and sum(evidence.share(value) for value in greys) > 0.5:
        raise LabelError(
            f"the labels are drawn over the image: they hold {len(greys)} shades of grey beside the colours.\n"
            "  Save the drawing alone, without the image under it: one plain colour or number for each class, and "
            "another one where nothing was drawn"
        )
    flat = sum(seen.flat for seen in evidence.values.values())
    plain = values_of_areas(evidence)
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
