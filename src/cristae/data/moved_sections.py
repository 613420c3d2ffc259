"""A stack whose sections are moved in their planes, and back: voxel for voxel, on a canvas that loses nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveInt, ValidationError, model_validator

from cristae.config import Config, problem_of
from cristae.data.box import Box, Triple
from cristae.data.files import write_json
from cristae.data.formats.json_file import load_object
from cristae.data.image import Image, VoxelSize, moved_origin
from cristae.errors import FormatError, VolumeError


class SectionTransforms(Config):
    """By how many whole voxels the sections of a stack are moved, as kept in `OUT.transforms.json`."""

    version: Literal[1] = 1
    """Of this format."""
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Voxels (z, y, x) of the stack as it was."""
    aligned_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Voxels (z, y, x) of the stack afterwards: larger, so that nothing is lost."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x); None where it is not known."""
    shifts_vox: tuple[tuple[NonNegativeInt, NonNegativeInt], ...]
    """Voxels (y, x) of each section by which its first voxel lies from that of the canvas."""
    outside: float = 0
    """The value of voxels of the canvas that no section covers."""
    detrended: bool = True
    """Whether slow drift was left as it is."""
    uncertain: tuple[NonNegativeInt, ...] = ()
    """Slices whose step from the one before does not follow from the images; they lie between their neighbours."""

    @model_validator(mode="after")
    def _check(self) -> SectionTransforms:
        if len(self.shifts_vox) != self.shape[0]:
            raise ValueError(f"{len(self.shifts_vox)} shifts for {self.shape[0]} sections")
        if self.aligned_shape != canvas_of(self.shape, self.shifts_vox):
            raise ValueError(f"aligned_shape is not that of the shifts, {canvas_of(self.shape, self.shifts_vox)}")
        return self

    @classmethod
    def of(cls, image: Image, positions: np.ndarray, **facts: float | bool | tuple[int, ...]) -> SectionTransforms:
        """What moves sections back that lie at these positions, (z, 2) voxels (y, x), to the nearest voxel."""
        wanted = -np.rint(positions).astype(int)
        shifts = tuple((int(y), int(x)) for y, x in wanted - wanted.min(axis=0))
        canvas = canvas_of(image.shape, shifts)
        return cls.model_validate(
            {"shape": image.shape, "aligned_shape": canvas, "voxel_size_nm": image.voxel_size_nm, "shifts_vox": shifts}
            | facts
        )

    def apply(self, image: Image) -> Image:
        """An image of the stack as it was, on the canvas.

        Raises:
            VolumeError: It has another shape, or cannot hold the value outside.
        """
        self._require(image, self.shape, "before the alignment")
        value = np.asarray(self.outside)
        if not np.can_cast(value, image.dtype, "unsafe") or value.astype(image.dtype) != value:
            raise VolumeError(
                f"{image.path}: is of {image.dtype}, which cannot hold the value outside, {self.outside:g}"
            )
        return self._moved(image, np.array(self.shifts_vox), self.aligned_shape, -1)

    def undo(self, image: Image) -> Image:
        """An image on the canvas, such as a prediction of the aligned stack, where the stack was before.

        Raises:
            VolumeError: It has another shape.
        """
        self._require(image, self.aligned_shape, "after the alignment")
        return self._moved(image, -np.array(self.shifts_vox), self.shape, 1)

    def _require(self, image: Image, shape: Triple, when: str) -> None:
        if image.shape != shape:
            raise VolumeError(
                f"{image.path}: has shape {image.shape} (z, y, x), but these transforms are of a stack that has "
                f"{shape} {when}"
            )

    def _moved(self, image: Image, shifts: np.ndarray, shape: Triple, sign: int) -> Image:
        y, x = (int(side) for side in np.median(np.array(self.shifts_vox), axis=0))
        return replace(
            image,
            shape=shape,
            origin_nm=moved_origin(image.origin_nm, (0, sign * y, sign * x), image.voxel_size_nm),
            reader=lambda box: _read(image, shifts, self.outside, box),
        )


def canvas_of(shape: Triple, shifts: tuple[tuple[int, int], ...]) -> Triple:
    """Shape (z, y, x) of the smallest canvas that holds all sections."""
    return shape[0], shape[1] + max(y for y, _ in shifts), shape[2] + max(x for _, x in shifts)


def read_transforms(path: str | Path) -> SectionTransforms:
    """Read a file of transforms.

    Raises:
        MissingFileError: There is none.
        FormatError: It is damaged, or something else.
    """
    content = load_object(Path(path))
    try:
        return SectionTransforms.model_validate(content)
    except ValidationError as error:
        raise FormatError(
            f"{path}: is no file of transforms as `cristae align` writes it: {problem_of(error, 'transforms')}"
        ) from None


def write_transforms(transforms: SectionTransforms, path: Path) -> None:
    """Write a file of transforms in one step."""
    write_json(path, transforms.model_dump(mode="json"))


def _read(image: Image, shifts: np.ndarray, outside: float, box: Box) -> np.ndarray:
    """A box of the moved stack: read once around all places that its sections come from."""
    wanted = shifts[box.start[0] : box.stop[0]]
    low = np.maximum(np.array(box.start[1:]) - wanted.max(axis=0), 0)
    high = np.minimum(np.array(box.stop[1:]) - wanted.min(axis=0), image.shape[1:])
    colors = (image.colors,) if image.colors > 1 else ()
    found = np.full((*box.shape, *colors), outside, image.dtype)
    if (low >= high).any():
        return found
    there = Box((box.start[0], int(low[0]), int(low[1])), (box.stop[0], int(high[0]), int(high[1])))
    voxels = image.read(there)
    for z, shift in enumerate(wanted):
        start = np.maximum(np.array(there.start[1:]) + shift, box.start[1:])
        stop = np.minimum(np.array(there.stop[1:]) + shift, box.stop[1:])
        if (start < stop).all():
            (y, x), (top, left) = start - np.array(box.start[1:]), start - shift - low
            (height, width) = stop - start
            found[z, y : y + height, x : x + width] = voxels[z, top : top + height, left : left + width]
    return found
