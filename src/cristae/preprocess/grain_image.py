"""An image whose slices are grain-filtered when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.errors import VolumeError
from cristae.preprocess.grain import check_areas, grain_filter_all
from cristae.preprocess.histogram import read_finite, require_grey
from cristae.preprocess.tree_of_shapes import check_size


def grain_filtered(image: Image, area_px: int) -> Image:
    """The image without bright and dark shapes of fewer than `area_px` pixels in each slice, in the type that it has.

    Reading a part of a slice filters the whole slice; memory is that of the slices of a box, and of about 50 bytes for
    each pixel of a slice and thread.

    Raises:
        VolumeError: The image has colours or a palette or holds no numbers, a slice is too large, or the area is below
            1 or larger than a slice. What is read may hold NaN or infinite values.
    """
    require_filterable(image, [area_px])

    def read(box: Box) -> np.ndarray:
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        whole = read_finite(image, Box((z0, 0, 0), (z1, image.shape[1], image.shape[2])))
        return grain_filter_all(whole, [area_px])[:, 0, y0:y1, x0:x1]

    return replace(image, reader=read, chunks=(1, *image.shape[1:]))  # so that writers read whole slices, each once


def require_filterable(image: Image, areas_px: Sequence[int]) -> None:
    """Make sure that the slices of an image can be filtered with these areas.

    Raises:
        VolumeError: The image has colours or a palette or holds no numbers, a slice is too large, or an area is below 1
            or larger than a slice.
    """
    require_grey(image)
    if image.palette is not None or image.dtype.kind not in "iuf":
        what = "the indices of a palette" if image.palette is not None else f"values of type {image.dtype}"
        raise VolumeError(f"{image.path}: holds {what}, which a grain filter is not for; give an image of grey values")
    try:
        check_size(image.shape[1:])
        check_areas(areas_px, image.shape[1:])
    except VolumeError as error:
        raise VolumeError(f"{image.path}: {error}") from None
