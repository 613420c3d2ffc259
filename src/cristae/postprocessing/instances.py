"""Instance images on disk: the numbers of objects as OME-Zarr labels."""

from __future__ import annotations

from pathlib import Path

from cristae.data.box import Box
from cristae.data.classes import BACKGROUND_COLOR
from cristae.data.formats.ome_zarr import LabelClass, build_pyramid, create_multiscale, open_writer, pyramid_levels
from cristae.data.formats.write import zarr_spec
from cristae.data.image import Image
from cristae.progress import Progress

INSTANCES = "_instances"
"""What the names of instance images end in, after the class."""
_NONE: tuple[LabelClass, ...] = ((0, "none", BACKGROUND_COLOR),)


def write_labels(path: Path, image: Image, progress: Progress, *, classes: tuple[LabelClass, ...] = _NONE) -> None:
    """Make an OME-Zarr label image with all its levels.

    Args:
        path: The new group.
        image: Class ids, or numbers of objects.
        progress: Where to report.
        classes: Id, name and colour of each value that has one.
    """
    levels = len(pyramid_levels(image.shape, image.voxel_size_nm))
    create_multiscale(path, zarr_spec(image), name=path.name, classes=classes, levels=levels)
    fill_labels(path, image, progress)


def fill_labels(path: Path, image: Image, progress: Progress) -> None:
    """Fill an empty OME-Zarr label image, all its levels."""
    writer = open_writer(path)
    boxes = list(Box.of_shape(image.shape).blocks(writer.spec.shards))
    with progress.task(f"Writing {path.name}", len(boxes), unit="blocks") as task:
        for box in boxes:
            writer.write(box, image.read(box).astype(writer.spec.dtype, copy=False))
            task.advance()
    build_pyramid(path, method="nearest", progress=progress)
