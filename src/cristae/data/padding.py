"""Padding: what an image holds outside the section or the field of view, as one value in areas along the border.

Aligned stacks, mosaics and tilted or cut-out volumes are filled up with one value, most often the least or the
greatest of their type. Only whole areas count that reach the border of a slice: a dark nucleus is none, nor are the
scattered voxels of a clipped image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from cristae.data.box import Box
from cristae.data.image import Image

_SLICES = 16
_READ_VOXELS = 2**27
"""So many voxels are decoded at most, apart from what a slice takes whatever."""
_WHOLE_VOXELS = 2**25
"""Slices that cost more to read are looked at in patches."""
_CELLS = 128
"""A slice is looked at in so many cells along each side."""
_PATCHES, _PATCH_VOX = 12, 16
"""So many patches along each side, and their edge, where whole slices are too large."""
_LEAST_AREA, _LEAST_SHARE = 0.01, 0.02
"""Parts of a slice and of all of them below which it is not worth a word."""
_LEAST_VOX = 16
"""Sides below which there is too little to tell padding by."""
_DRAWN = 0.5
"""In labels, more neighbouring voxels than this are equal; in images fewer, apart from padding."""


@dataclass(frozen=True)
class Padding:
    """What was found in the slices that were looked at."""

    value: float
    share: float
    """Part of their voxels."""
    inside: float
    """Part of the voxels that are not padding and have its value all the same."""
    slices: tuple[int, ...]
    """Those with padding; images, for several unrelated ones."""
    complete: bool
    """Whether every slice was looked at."""
    transparent: bool = False
    """Whether it is the alpha channel that is 0."""

    @property
    def shown(self) -> str:
        """The value for a person."""
        return "transparent" if self.transparent else f"{self.value:g}" if self.value % 1 else str(int(self.value))


@dataclass(frozen=True)
class _Look:
    """One slice as cells."""

    number: int
    value: float
    padded: np.ndarray
    """bool (cells, cells): cells of nothing but the value, in areas that reach the border."""
    holding: np.ndarray
    """Part of each cell that has the value."""
    even: float
    """Part of the neighbouring voxels outside these cells that are equal."""

    @property
    def clear(self) -> np.ndarray:
        """bool (cells, cells): cells that do not touch padded ones, whose edge runs through their neighbours."""
        near: np.ndarray = ndimage.binary_dilation(self.padded, np.ones((3, 3)))
        return ~near

    @property
    def share(self) -> float:
        """Part of the slice that is padding."""
        return float(self.holding[~self.clear].sum()) / self.holding.size


def find_padding(image: Image | Sequence[Image]) -> Padding | None:
    """Look for padding in some slices, in bounded memory.

    Args:
        image: A stack, or several unrelated images; of colours, the alpha channel and the first one are looked at.

    Returns:
        None where there is none, or too little to matter, and for labels, whose values fill areas anyway.

    Raises:
        FormatError: A part of a file is damaged.
    """
    images = (image,) if isinstance(image, Image) else tuple(image)
    if any(one.dtype.kind not in "iuf" or min(one.shape[1:]) < _LEAST_VOX for one in images):
        return None
    if all(one.colors in (2, 4) for one in images):
        found = _find([one.map(lambda voxels: voxels[..., -1], one.dtype) for one in images], transparent=True)
        if found is not None:
            return replace(found, inside=0.0, transparent=True)
    return _find([_first_channel(one) for one in images])


def _first_channel(image: Image) -> Image:
    return image if image.colors == 1 else image.map(lambda voxels: voxels[..., 0], image.dtype)


def _find(images: Sequence[Image], *, transparent: bool = False) -> Padding | None:
    places = [(one, z) for one in images for z in range(one.shape[0])]
    chosen = _chosen(places)
    looks = [_look(*places[number], number, value=0 if transparent else None) for number in chosen]
    value = _usual_value(looks)
    if value is None:
        return None
    same = [look for look in looks if look.value == value]
    share = sum(look.share for look in same) / len(looks)
    rest = [look for look in looks if not (look.value == value and look.padded.all())]
    if share < _LEAST_SHARE or not rest:
        return None
    if not transparent and np.mean([look.even for look in rest]) > _DRAWN:
        return None
    inside = [part for look in rest if look.value == value for part in look.holding[look.clear].tolist()]
    return Padding(
        value=value,
        share=share,
        inside=float(np.mean(inside)) if inside else 0.0,
        slices=tuple(look.number for look in same if look.padded.any()),
        complete=len(chosen) == len(places),
    )


def inside_of(padding: Padding, dtype: str) -> str | None:
    """`inside` of a mask made of the image itself: every value but the padding's. None where no range says that."""
    if padding.transparent or padding.value == 0:
        return "opaque" if padding.transparent else "nonzero"
    kind = np.dtype(dtype)
    if kind.kind not in "iu" or kind.itemsize > 4:
        return None
    info, value = np.iinfo(kind), int(padding.value)
    if value == info.max:
        return f"{info.min}-{value - 1}"
    return f"{value + 1}-{info.max}" if value == info.min else None


def _chosen(places: Sequence[tuple[Image, int]]) -> list[int]:
    first = places[0][0]
    cost = first.shape[1] * first.shape[2] * min(first.chunks[0], first.shape[0])
    count = min(len(places), _SLICES, max(3, _READ_VOXELS // max(1, cost)))
    return sorted({int(place) for place in np.linspace(0, len(places) - 1, count).round()})


def _usual_value(looks: Sequence[_Look]) -> float | None:
    areas: dict[float, float] = {}
    for look in looks:
        areas[look.value] = areas.get(look.value, 0.0) + look.share
    value = max(areas, key=lambda one: areas[one])
    return value if areas[value] > 0 else None


def _look(image: Image, z: int, number: int, *, value: int | None) -> _Look:
    area = _slice(image, z)
    rows, columns = (min(_CELLS, size // 4) for size in area.shape)
    if value is None:
        values, counts = np.unique(np.concatenate([area[0], area[-1], area[:, 0], area[:, -1]]), return_counts=True)
        value = values[np.argmax(counts)]
    holding = _cell_means(area == value, rows, columns)
    padded = _reaching_border(holding == 1.0)
    even = _cell_means(np.pad(area[:, 1:] == area[:, :-1], ((0, 0), (0, 1)), "edge"), rows, columns)[~padded]
    return _Look(number, float(value), padded, holding, float(even.mean()) if even.size else 0.0)


def _slice(image: Image, z: int) -> np.ndarray:
    """A slice, or patches of it side by side where it is too large: (Y, X)."""
    height, width = image.shape[1:]
    if height * width * min(image.chunks[0], image.shape[0]) <= _WHOLE_VOXELS:
        area: np.ndarray = image.read(Box((z, 0, 0), (z + 1, height, width)))[0]
        return area
    ys, xs = (np.linspace(0, size - min(size, _PATCH_VOX), _PATCHES).astype(int).tolist() for size in (height, width))
    ends = [[min(size, start + _PATCH_VOX) for start in starts] for size, starts in ((height, ys), (width, xs))]
    lines = [
        np.concatenate(
            [image.read(Box((z, y, x), (z + 1, below, right)))[0] for x, right in zip(xs, ends[1], strict=True)], axis=1
        )
        for y, below in zip(ys, ends[0], strict=True)
    ]
    return np.concatenate(lines)


def _cell_means(marked: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The marked part of each cell: (rows, columns)."""
    ys, xs = (
        np.linspace(0, size, count + 1).astype(int) for size, count in zip(marked.shape, (rows, columns), strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(marked, ys[:-1], axis=0, dtype=np.int64), xs[:-1], axis=1)
    means: np.ndarray = sums / np.outer(np.diff(ys), np.diff(xs))
    return means


def _reaching_border(cells: np.ndarray) -> np.ndarray:
    """The cells in areas that touch the border and are large enough to matter."""
    areas, count = ndimage.label(cells)
    rim = set(np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])).tolist()) - {0}
    sizes = np.bincount(areas.ravel(), minlength=count + 1)
    large = [area for area in rim if sizes[area] >= _LEAST_AREA * cells.size]
    return np.isin(areas, large)
