"""A stack of sections on disk that is read box by box."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.box import Box, Triple

VoxelSize = tuple[float, float, float]
"""Edge lengths of a voxel in nm, (z, y, x)."""

Reader = Callable[[Box], np.ndarray]


@dataclass(frozen=True, eq=False)
class Image:
    """A grey or colour stack. Nothing is read until `read` is called; reading is thread-safe."""

    path: Path
    format: str
    """Short name of the file format, such as 'mrc', 'tiff', 'ome-zarr'."""
    shape: Triple
    """Voxels (z, y, x); a flat image has z = 1."""
    dtype: np.dtype[Any]
    reader: Reader
    """Gives the voxels of a box inside the image: (Z, Y, X), or (Z, Y, X, colors) for colour images."""
    colors: int = 1
    """1 for grey, 2 for grey + alpha, 3 for RGB, 4 for RGBA. Palette images give their indices and are grey."""
    chunks: Triple = (1, 512, 512)
    """The extent that is cheapest to read at once."""
    voxel_size_nm: VoxelSize | None = None
    """What the file itself says; None when it says nothing, never a guess."""
    origin_nm: VoxelSize = (0.0, 0.0, 0.0)
    slice_names: tuple[str, ...] | None = None
    """File names of the slices for a folder of images, in order."""
    palette: tuple[str, ...] | None = None
    """Colours '#rrggbb' of the indices where the file is a palette image."""
    details: Mapping[str, str] = field(default_factory=dict)
    """What `inspect` shows beyond the fields above (MRC mode, compression, axes found in the file ...)."""

    def read(self, box: Box | None = None) -> np.ndarray:
        """Voxels of `box` (the whole image when None): (Z, Y, X), or (Z, Y, X, colors) for colour images.

        Raises:
            ValueError: The box reaches outside the image.
            FormatError: The file ends before the voxels do, or does not decode.
        """
        whole = Box.of_shape(self.shape)
        box = whole if box is None else box
        if not whole.contains(box):
            raise ValueError(f"{self.path}: box {box} reaches outside the image of {whole}")
        return self.reader(box)

    def crop(self, box: Box) -> Image:
        """The part inside `box`, as lazily read as the whole; the origin moves along where the voxel size is known."""
        if not Box.of_shape(self.shape).contains(box):
            raise ValueError(f"{self.path}: box {box} reaches outside the image of shape {self.shape}")
        size = self.voxel_size_nm
        z, y, x = self.origin_nm
        if size is not None:
            z, y, x = (o + a * s for o, a, s in zip(self.origin_nm, box.start, size, strict=True))
        names = self.slice_names[box.start[0] : box.stop[0]] if self.slice_names else None
        return replace(
            self,
            shape=box.shape,
            origin_nm=(z, y, x),
            slice_names=names,
            reader=lambda inner: self.reader(inner.shift(box.start)),
        )

    def map(self, function: Callable[[np.ndarray], np.ndarray], dtype: np.dtype[Any], *, colors: int = 1) -> Image:
        """The image with `function` applied to what is read; the function must work voxel by voxel."""
        return replace(
            self, dtype=np.dtype(dtype), colors=colors, palette=None, reader=lambda box: function(self.reader(box))
        )


def image_of_array(array: np.ndarray, *, voxel_size_nm: VoxelSize | None = None, name: str = "array") -> Image:
    """An image that lives in memory, for tests and notebooks: `array` is (Z, Y, X) or (Y, X)."""
    stack = array[None] if array.ndim == 2 else array
    return Image(
        path=Path(name),
        format="array",
        shape=(stack.shape[0], stack.shape[1], stack.shape[2]),
        dtype=stack.dtype,
        reader=lambda box: stack[box.slices],
        voxel_size_nm=voxel_size_nm,
    )
