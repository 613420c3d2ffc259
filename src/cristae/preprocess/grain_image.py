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

_FLAT = 0.75
"""Share of pixels like their neighbour from which on an image looks like labels."""


def grain_filtered(image: Image, area_px: int) -> Image:
    """The image without bright and dark shapes of fewer than `area_px` pixels in each slice, in the type that it has.

    Reading a part of a slice filters the whole slice; memory is that of the slices of a box, and of about 50 bytes for
    each pixel of a slice and thread.

    Raises:
        VolumeError: The image has colours, a palette or names of labels, or holds no numbers, a slice is too large, or
            the area is below 2 or larger than a slice. What is read may hold NaN or infinite values.
    """
    if named := [key for key in image.details if key.startswith("label ")]:
        raise VolumeError(
            f"{image.path}: holds labels ({', '.join(image.details[key] for key in named[:4])}), whose ids a grain "
            "filter would mix; give an image of grey values"
        )
    require_filterable(image, [area_px])
    if area_px == 1:
        raise VolumeError(
            f"{image.path}: a grain filter of 1 pixel leaves the image as it is, because no shape has fewer; give the "
            "least area that is kept, such as 60"
        )

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


def looks_like_labels(image: Image) -> bool:
    """Whether the slice in the middle of a grey image looks like labels: of its whole numbers other than the commonest
    one, most equal the one to their right. The noise of micrographs makes that rare."""
    if image.dtype.kind not in "iu":
        return False
    middle, (_, height, width) = image.shape[0] // 2, image.shape
    plane = image.read(Box((middle, 0, 0), (middle + 1, height, width)))[0]
    values, counts = np.unique(plane, return_counts=True)
    rest = plane[:, :-1] != values[counts.argmax()]
    return bool(rest.any() and (plane[:, 1:] == plane[:, :-1])[rest].mean() > _FLAT)
