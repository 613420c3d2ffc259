"""Turning a volume from one file format into another, or into a filtered, mirrored or inverted one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cristae.data.box import Triple
from cristae.data.formats import open_image, write_image
from cristae.data.formats.paths import signed_path
from cristae.data.geometry import Geometry, corrected_size
from cristae.data.image import Image, VoxelSize
from cristae.data.turned import inverted, parse_turn, turned
from cristae.inference.prediction import require_finished
from cristae.progress import Progress


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    voxel_size_nm: VoxelSize | None = None,
    signed: bool | None = None,
    grain_filter: int | None = None,
    transpose: str | None = None,
    flip: str | None = None,
    shift: Triple | None = None,
    invert: bool = False,
    progress: Progress = Progress(),
) -> Image:
    """Copy a volume into another format, in bounded memory, with voxel size, origin, colours and class names.

    Args:
        source: Anything that can be opened: a file, a folder of slices, a glob, an array inside a file.
        destination: The new file: .zarr (OME-Zarr 0.5), .tif, .mrc or .h5.
        voxel_size_nm: (z, y, x), for files that do not say it, or say one that no microscope has. Without one an
            unknown size stays unknown.
        signed: Whether the 8-bit values of an MRC file are signed, where its header does not say.
        grain_filter: Leave out bright and dark shapes of fewer pixels than this from each slice, so that one sees what
            a network with such an input channel is shown. Values keep their type; None leaves all as it is.
        transpose: The stored axes that become z, y and x, such as 'zxy', which exchanges y and x; the voxel size goes
            with them.
        flip: The axes that are mirrored afterwards, such as 'y' or 'zx'.
        shift: Voxels (z, y, x) by which the content is moved after that. Voxels that nothing comes to repeat the
            nearest one, so that no new value appears.
        invert: Exchange dark and bright; values keep their type.
        progress: Where to report.

    Returns:
        The new file, opened.

    Raises:
        VoxelSizeError: The file says another voxel size.
        OutputExistsError: There is something at the destination.
        RunError: The source is an unfinished prediction, or lies in one.
        FormatError: The source is damaged, or the destination's format cannot hold its values.
        VolumeError: It is to be filtered and has colours, a palette, names of labels, or NaN or infinite values, or the
            area is below 2 or larger than a slice; it is to be inverted and has colours; axes are not named well, or it
            is moved by as much as it is long.

    Example:
        >>> convert("slices/*.png", "cell.zarr", voxel_size_nm=(50.0, 4.0, 4.0))  # doctest: +SKIP
    """
    turn = parse_turn(transpose, flip, shift)
    require_finished(source)
    image = open_image(signed_path(source, signed))
    if voxel_size_nm is not None:
        image = replace(image, voxel_size_nm=corrected_size(Geometry.of(image, ""), voxel_size_nm, progress))
    for warning in image.warnings:
        progress.warn(warning)
    if grain_filter is not None:
        from cristae.preprocess.grain_image import (  # takes the compiler, which all else does without
            grain_filtered,
            looks_like_labels,
        )

        filtered = grain_filtered(image, grain_filter)
        if looks_like_labels(image):
            progress.warn(
                f"{image.path}: looks like labels rather than grey values; a grain filter mixes their ids. To filter "
                "the image, name that"
            )
        image = filtered
    image = turned(inverted(image) if invert else image, turn)
    write_image(image, destination, progress=progress)
    return open_image(destination)
