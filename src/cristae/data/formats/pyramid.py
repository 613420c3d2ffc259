"""Coarser copies of an OME-Zarr image, so that viewers need not read it whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Literal

import tensorstore

from cristae.data.address import Place
from cristae.data.box import Triple
from cristae.data.formats.ngff import dataset_paths, find_multiscale
from cristae.data.formats.zarr_arrays import find_node, open_array, read_block, write_block
from cristae.data.image import VoxelSize
from cristae.errors import FormatError, MissingFileError
from cristae.progress import Progress

SMALLEST = 256
"""In-plane extent in voxels below which no coarser level is made."""

Method = Literal["nearest", "mean"]


@dataclass(frozen=True)
class Level:
    """One resolution of a pyramid."""

    shape: Triple
    """Voxels (z, y, x)."""
    factor: Triple
    """Voxels of the finest level along each edge of a voxel of this one."""


def pyramid_levels(shape: Triple, voxel_size_nm: VoxelSize | None) -> tuple[Level, ...]:
    """The levels worth having, finest first: y and x halved until at most 256 voxels remain.

    z is halved too where its voxels are not coarser than those of y and x; without a voxel size it is left alone.
    """
    levels: list[Level] = []
    for level in _halvings(shape, voxel_size_nm):
        levels.append(level)
        if max(level.shape[1:]) <= SMALLEST:
            break
    return tuple(levels)


def first_levels(shape: Triple, voxel_size_nm: VoxelSize | None, count: int) -> tuple[Level, ...]:
    """The first `count` levels, whatever their size.

    Raises:
        ValueError: The image is a single voxel before that many.
    """
    levels = tuple(islice(_halvings(shape, voxel_size_nm), count))
    if count < 1 or len(levels) < count:
        raise ValueError(f"an image of shape {shape} has {len(levels)} resolution levels, not {count}")
    return levels


def _halvings(shape: Triple, voxel_size_nm: VoxelSize | None) -> Iterator[Level]:
    factor = (1, 1, 1)
    while True:
        z, y, x = (-(-size // f) for size, f in zip(shape, factor, strict=True))
        yield Level((z, y, x), factor)
        if y == 1 and x == 1:
            return
        deep = False
        if voxel_size_nm is not None and z > 1:
            edge = [size * f for size, f in zip(voxel_size_nm, factor, strict=True)]
            deep = edge[0] <= min(edge[1:]) * 1.0001
        steps = (2 if deep else 1, 2 if y > 1 else 1, 2 if x > 1 else 1)
        factor = tuple(f * step for f, step in zip(factor, steps, strict=True))  # type: ignore[assignment]


def build_pyramid(path: Place, *, method: Method, progress: Progress = Progress()) -> None:
    """Fill all levels but the finest, each from the one before, block by block; doing it again changes nothing.

    Args:
        path: The OME-Zarr group.
        method: 'nearest' takes the first voxel of each 2 x 2 (x 2) and suits labels; 'mean' suits grey values.
        progress: Where to report.

    Raises:
        MissingFileError: There is no such group.
        FormatError: The group is not an OME-Zarr image, or a block of the finer level is damaged.
    """
    node = find_node(path)
    if node is None:
        raise MissingFileError(f"{path}: there is no OME-Zarr group here")
    multiscale = find_multiscale(node.attributes, path)
    if multiscale is None:
        raise FormatError(f"{path}: is not an OME-Zarr image: it has no 'multiscales'")
    fill_levels([path / name for name in dataset_paths(multiscale)], method=method, progress=progress)


def fill_levels(levels: Sequence[Place], *, method: Method, progress: Progress = Progress()) -> None:
    """Fill all arrays but the first, each from the one before, as `build_pyramid`."""
    stores = [_open_level(path) for path in levels]
    blocks = [list(_blocks(store)) for store in stores[1:]]
    with progress.task("Building the pyramid", sum(map(len, blocks)), unit="block") as task:
        for path, fine, coarse, indices in zip(levels[1:], stores, stores[1:], blocks, strict=False):
            factors = [-(-a // b) for a, b in zip(fine.shape, coarse.shape, strict=True)]
            reduced = tensorstore.downsample(fine, factors, "stride" if method == "nearest" else "mean")
            for index in indices:
                write_block(coarse, index, read_block(reduced, index, path), path)
                task.advance()


def _open_level(path: Place) -> Any:
    node = find_node(path)
    if node is None or node.kind != "array":
        raise FormatError(f"{path}: the array of this resolution level is missing")
    return open_array(node, cache_bytes=0)


def _blocks(store: Any) -> Iterator[tuple[slice, ...]]:
    steps: Sequence[int] = store.chunk_layout.write_chunk.shape
    for start in product(*(range(0, size, step) for size, step in zip(store.shape, steps, strict=True))):
        yield tuple(slice(a, min(a + step, size)) for a, step, size in zip(start, steps, store.shape, strict=True))
