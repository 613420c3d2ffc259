"""Images turned, mirrored and moved as they are read: what makes wrongly stored labels lie on their image again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import TypeVar

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import Image
from cristae.errors import VolumeError

_AXES = "zyx"
_T = TypeVar("_T")


@dataclass(frozen=True, order=True)
class Turn:
    """Axes are exchanged first, then mirrored, then the content is moved."""

    axes: Triple = (0, 1, 2)
    """Which axis of the stored image becomes z, y and x."""
    mirrored: tuple[bool, bool, bool] = (False, False, False)
    """Whether z, y and x then run backwards."""
    shift: Triple = (0, 0, 0)
    """By how many voxels (z, y, x) the content then moves to higher numbers. What nothing comes to shows the nearest
    voxel."""

    @property
    def moves_nothing(self) -> bool:
        """Whether every voxel stays where it is."""
        return self == Turn()

    @property
    def options(self) -> str:
        """As options of `cristae convert`.

        Example:
            >>> Turn((0, 2, 1), (False, True, False), (0, -3, 2)).options
            '--transpose zxy --flip y --shift 0 -3 2'
        """
        axes = "".join(_AXES[axis] for axis in self.axes)
        flip = "".join(name for name, mirrored in zip(_AXES, self.mirrored, strict=True) if mirrored)
        said = [f"--transpose {axes}" if axes != _AXES else "", f"--flip {flip}" if flip else ""]
        said.append(f"--shift {' '.join(map(str, self.shift))}" if any(self.shift) else "")
        return " ".join(filter(None, said))

    def of(self, edges: tuple[_T, _T, _T]) -> tuple[_T, _T, _T]:
        """What belongs to z, y and x afterwards, such as the sides of the turned image."""
        return edges[self.axes[0]], edges[self.axes[1]], edges[self.axes[2]]


def parse_turn(transpose: str | None, flip: str | None, shift: Triple | None) -> Turn:
    """A turn as people write it.

    Args:
        transpose: The stored axes that become z, y and x, such as 'zxy'.
        flip: The axes that run backwards, such as 'y' or 'zx'.
        shift: Voxels (z, y, x) by which the content moves.

    Raises:
        VolumeError: A letter is no axis, or is there twice or missing.
    """
    axes, flipped = transpose or _AXES, flip or ""
    if sorted(axes) != sorted(_AXES):
        raise VolumeError(f"--transpose {axes}: name each of z, y and x once, as in zxy, which exchanges y and x")
    if len(set(flipped)) != len(flipped) or not set(flipped) <= set(_AXES):
        raise VolumeError(f"--flip {flipped}: name the axes to mirror, each once, as in y or zx")
    z, y, x = (_AXES.index(axis) for axis in axes)
    return Turn((z, y, x), ("z" in flipped, "y" in flipped, "x" in flipped), shift or (0, 0, 0))


def symmetries(shape: Triple, *, across_slices: bool) -> tuple[Turn, ...]:
    """The ways to turn and mirror an image that keep its shape, beginning with that which leaves it as it is.

    Args:
        shape: Voxels (z, y, x).
        across_slices: Whether z may become y or x: where voxels are as deep as wide.

    Example:
        >>> [len(symmetries(shape, across_slices=True)) for shape in ((1, 9, 9), (5, 7, 9), (5, 9, 9), (9, 9, 9))]
        [8, 8, 16, 48]
    """
    found = []
    for z, y, x in permutations((0, 1, 2)):
        turn = Turn((z, y, x))
        if turn.of(shape) == shape and (z == 0 or across_slices):
            ways = [(False, True) if side > 1 else (False,) for side in shape]
            found += [Turn(turn.axes, (a, b, c)) for a, b, c in product(*ways)]
    return tuple(found)


def turned(image: Image, turn: Turn) -> Image:
    """The image turned, mirrored and moved; voxel size and origin follow its axes.

    Raises:
        VolumeError: It would move by as much as it is long.
    """
    if turn.moves_nothing:
        return image
    shape = turn.of(image.shape)
    for axis, (step, side) in enumerate(zip(turn.shift, shape, strict=True)):
        if abs(step) >= side:
            raise VolumeError(
                f"{image.path}: has {side} voxels along {_AXES[axis]}, so moving it by {step} leaves nothing of it; "
                "give a smaller --shift"
            )
    size, origin = image.voxel_size_nm, image.origin_nm
    stays = turn.axes[0] == 0 and not turn.mirrored[0] and not turn.shift[0]
    return replace(
        image,
        shape=shape,
        chunks=turn.of(image.chunks),
        voxel_size_nm=None if size is None else turn.of(size),
        origin_nm=None if origin is None else turn.of(origin),
        orientation=image.orientation if turn == Turn(shift=turn.shift) else None,
        slice_names=image.slice_names if stays else None,
        reader=lambda box: _read(image, turn, box),
    )


def _read(image: Image, turn: Turn, box: Box) -> np.ndarray:
    """Read what a box of the turned image shows, once, and put it where it belongs."""
    places: list[np.ndarray] = [np.zeros(0, np.int64)] * 3
    for axis, side in enumerate(turn.of(image.shape)):
        place = np.clip(np.arange(box.start[axis], box.stop[axis]) - turn.shift[axis], 0, side - 1)
        places[turn.axes[axis]] = side - 1 - place if turn.mirrored[axis] else place
    z, y, x = ((int(place.min()), int(place.max()) + 1) for place in places)
    found = image.read(Box((z[0], y[0], x[0]), (z[1], y[1], x[1])))
    for axis, (place, (first, _)) in enumerate(zip(places, (z, y, x), strict=True)):
        found = found.take(place - first, axis=axis)
    return np.ascontiguousarray(found.transpose(*turn.axes, *range(3, found.ndim)))


def inverted(image: Image) -> Image:
    """The image with dark and bright exchanged, in the type that it has; floats change their sign.

    Raises:
        VolumeError: It has colours or a palette, or holds no grey values.
    """
    if image.colors > 1 or image.palette is not None or image.dtype.kind not in "iuf":
        raise VolumeError(f"{image.path}: only grey values can be inverted, and this image has colours or no numbers")
    # For integers -1 - x, which in unsigned ones is the largest value minus x.
    return image.map(np.negative if image.dtype.kind == "f" else np.invert, image.dtype)
