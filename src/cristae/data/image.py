"""A stack of sections on disk that is read box by box."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.address import Place
from cristae.data.box import Box, Triple
from cristae.errors import VolumeError, VoxelSizeError

VoxelSize = tuple[float, float, float]
"""Edge lengths of a voxel in nm, (z, y, x)."""

SIZE_TOLERANCE = 0.01
"""Fraction by which two voxel sizes may differ and still be the same; microscopes and file headers are no better."""

SHORTEST_EDGE_NM, LONGEST_EDGE_NM = 1e-6, 1e9
"""Edges of voxels beyond these are slips of the unit, and squares and cubes of them are not exact."""

NO_SHIFT_NM: VoxelSize = (0.0, 0.0, 0.0)
"""Where images begin whose origin nobody knows."""

Reader = Callable[[Box], np.ndarray]


@dataclass(frozen=True, eq=False)
class Image:
    """A grey or colour stack. Nothing is read until `read` is called; reading is thread-safe."""

    path: Place
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
    origin_nm: VoxelSize | None = None
    """Where the centre of the first voxel lies (z, y, x), as the file says; None when it says nothing."""
    orientation: str | None = None
    """Which way the axes x, y, z of the stored voxels point, such as 'LPS', where the file says it."""
    slice_names: tuple[str, ...] | None = None
    """File names of the slices for a folder of images, in order."""
    palette: tuple[str, ...] | None = None
    """Colours '#rrggbb' of the indices where the file is a palette image."""
    details: Mapping[str, str] = field(default_factory=dict)
    """What `inspect` shows beyond the fields above (MRC mode, compression, axes found in the file ...)."""
    sources: tuple[Place, ...] = ()
    """Files that its voxels follow from, where that is more than `path`: the label files of labels."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the file lets one doubt, such as chunks that were never written; with its name."""
        return warnings_of([self])

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
        names = self.slice_names[box.start[0] : box.stop[0]] if self.slice_names else None
        return replace(
            self,
            shape=box.shape,
            origin_nm=moved_origin(self.origin_nm, box.start, self.voxel_size_nm),
            slice_names=names,
            reader=lambda inner: self.reader(inner.shift(box.start)),
        )

    def map(self, function: Callable[[np.ndarray], np.ndarray], dtype: np.dtype[Any], *, colors: int = 1) -> Image:
        """The image with `function` applied to what is read; the function must work voxel by voxel."""
        return replace(
            self, dtype=np.dtype(dtype), colors=colors, palette=None, reader=lambda box: function(self.reader(box))
        )


def warnings_of(images: Iterable[Image]) -> tuple[str, ...]:
    """What several files let one doubt, each doubt once with the first file that it is about."""
    paths: dict[str, dict[Place, None]] = {}
    for image in images:
        if note := image.details.get("note"):
            paths.setdefault(note, {})[image.path] = None
    said = []
    for note, files in paths.items():
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        said.append(f"{next(iter(files))}{more}: {note}")
    return tuple(said)


def moved_origin(origin_nm: VoxelSize | None, start: Triple, voxel_size_nm: VoxelSize | None) -> VoxelSize | None:
    """The origin of the part of an image that begins at voxel `start` (z, y, x).

    A part of an image without an origin is placed in that image; where the voxel size is unknown nothing moves.
    """
    if voxel_size_nm is None or not any(start):
        return origin_nm
    z, y, x = (o + a * s for o, a, s in zip(origin_nm or NO_SHIFT_NM, start, voxel_size_nm, strict=True))
    return z, y, x


def same_voxel_size(first: VoxelSize, second: VoxelSize, *, axes: Sequence[int] = (0, 1, 2)) -> bool:
    """Whether two voxel sizes (z, y, x) are equal within 1 % on each of `axes`.

    Example:
        >>> same_voxel_size((50.0, 5.9, 5.9), (40.0, 5.9, 5.91))
        False
        >>> same_voxel_size((50.0, 5.9, 5.9), (40.0, 5.9, 5.91), axes=(1, 2))
        True
    """
    pairs = [(first[axis], second[axis]) for axis in axes]
    return all(abs(a - b) <= SIZE_TOLERANCE * max(a, b) for a, b in pairs)


def check_voxel_size(size: Sequence[float]) -> None:
    """Do nothing for a voxel size (z, y, x) that can be one.

    Raises:
        VoxelSizeError: An edge is not positive, not a number, or no length of a voxel in nm.
    """
    if len(size) != 3:
        raise VoxelSizeError(f"voxel size {tuple(size)} nm: expected three edges (z, y, x)")
    if not all(0 < edge < float("inf") for edge in size):
        raise VoxelSizeError(f"voxel size {tuple(size)} nm (z, y, x): every edge must be greater than 0")
    if not all(SHORTEST_EDGE_NM <= edge <= LONGEST_EDGE_NM for edge in size):
        raise VoxelSizeError(
            f"voxel size {voxel_size_text(size)} (z, y, x): edges lie between {SHORTEST_EDGE_NM:g} and "
            f"{LONGEST_EDGE_NM:g} nm; give them in nm"
        )


def voxel_size_text(size: Sequence[float] | None) -> str:
    """A voxel size for a person, z first.

    Example:
        >>> voxel_size_text((40.0, 5.9, 5.9))
        '40 x 5.9 x 5.9 nm'
        >>> voxel_size_text(None)
        'unknown'
    """
    return "unknown" if size is None else f"{' x '.join(f'{edge:g}' for edge in size)} nm"


def image_of_array(array: np.ndarray, *, voxel_size_nm: VoxelSize | None = None, name: str = "array") -> Image:
    """An image that lives in memory, for tests and notebooks: `array` is (Z, Y, X), (Y, X) or (Z, Y, X, colours).

    Raises:
        VolumeError: The array has other axes, no voxels, or no numbers.
        VoxelSizeError: An edge of a voxel is not positive, not a number, or no length of a voxel in nm.
    """
    if array.ndim not in (2, 3, 4) or array.size == 0 or array.dtype.kind not in "buif":
        raise VolumeError(
            f"'{name}' is an array {array.shape} of {array.dtype}; expected numbers (z, y, x) or (y, x), at least one"
        )
    if voxel_size_nm is not None:
        check_voxel_size(voxel_size_nm)
    stack = array[None] if array.ndim == 2 else array
    return Image(
        path=Path(name),
        format="array",
        shape=(stack.shape[0], stack.shape[1], stack.shape[2]),
        dtype=stack.dtype,
        reader=lambda box: stack[box.slices],
        voxel_size_nm=voxel_size_nm,
    )
