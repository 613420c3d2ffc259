"""What a network is shown, as files that other programs open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cristae.data.classes import Classes
from cristae.data.formats.write import write_image
from cristae.data.image import VoxelSize, image_of_array
from cristae.training.shown import Shown


def write_shown(shown: Shown, classes: Classes, folder: Path, voxel_size_nm: VoxelSize | None) -> None:
    """Write OME-TIFFs of image, labels, validity, weights and further targets, patch after patch along z.

    Args:
        shown: The patches.
        classes: Overlapping ones get a file each.
        folder: Where to.
        voxel_size_nm: (z, y, x), None where it is not known.

    Raises:
        StorageError: The disk is full, or the place may not be written.
    """
    files = {"image": shown.image, "valid": shown.valid.astype(np.uint8)}
    files |= _by_class("labels", shown.target, classes) | _by_class("weight", shown.weights(), classes)
    for name, channels in shown.further.items():
        titles = classes.foreground if channels.shape[1] == len(classes.foreground) > 1 else _numbers(channels)
        files |= {f"{name}{title and '-' + title}": channels[:, k] for k, title in enumerate(titles)}
    for name, voxels in files.items():
        stack = np.ascontiguousarray(voxels).reshape(-1, *voxels.shape[-2:])
        write_image(image_of_array(stack, voxel_size_nm=voxel_size_nm, name=name), folder / f"{name}.tif")


def _by_class(name: str, voxels: np.ndarray, classes: Classes) -> dict[str, np.ndarray]:
    if classes.exclusive:
        return {name: voxels}
    return {f"{name}-{one}": voxels[:, k] for k, one in enumerate(classes.names)}


def _numbers(channels: np.ndarray) -> Sequence[str]:
    count = channels.shape[1]
    return [""] if count == 1 else [str(k) for k in range(count)]
