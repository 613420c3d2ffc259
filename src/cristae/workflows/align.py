"""Putting the sections of a stack on each other, and what was made from it back where the stack was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cristae.data.files import require_new, require_new_file
from cristae.data.formats import open_image, write_image
from cristae.data.image import Image
from cristae.data.moved_sections import SectionTransforms, read_transforms, write_transforms
from cristae.data.section_alignment import find_transforms
from cristae.data.slice_ranges import ranges_text
from cristae.errors import VolumeError
from cristae.inference.prediction import require_finished
from cristae.progress import Progress


def align(
    volume: str | Path,
    out: str | Path,
    *,
    labels: Mapping[str | Path, str | Path] | None = None,
    apply: str | Path | None = None,
    undo: str | Path | None = None,
    detrend: bool = True,
    outside: float = 0,
    progress: Progress = Progress(),
) -> SectionTransforms:
    """Move the sections of a stack by whole voxels so that they lie on each other, in bounded memory.

    The shifts are kept in `OUT.transforms.json`. They move labels of the stack likewise, and with `undo` a prediction
    of the aligned stack back to where the stack was, voxel for voxel. The canvas grows, so that nothing is lost.

    Args:
        volume: The stack: a file, a folder of slices, a glob, an array inside a file.
        out: The new file: .zarr, .tif, .mrc or .h5.
        labels: Labels of the stack, or other images of its shape, and the new files that they are moved to.
        apply: Shifts of an earlier call, to move `volume` by instead of finding some.
        undo: Shifts of an earlier call, by which `volume` is moved back.
        detrend: Whether to leave slow drift as it is, which may be structure that runs obliquely; otherwise sections
            follow what they show, and such structure is straightened.
        outside: The value of voxels that no section covers.
        progress: Where to report.

    Returns:
        The shifts.

    Raises:
        OutputExistsError: There is something at a place to be written.
        VolumeError: Sections are too unlike each other; images have other shapes than the stack, or than the shifts;
            `apply` or `undo` is given with what belongs to the finding of shifts.
        FormatError: A file is damaged, or is none of transforms.
        RunError: The volume is an unfinished prediction, or lies in one.

    Example:
        >>> align("cell.mrc", "aligned.zarr", labels={"mito.tif": "aligned_mito.tif"})  # doctest: +SKIP
        >>> align("predicted.tif", "back.tif", undo="aligned.zarr.transforms.json")  # doctest: +SKIP
    """
    if apply is not None and undo is not None:
        raise VolumeError("--apply and --undo exclude each other")
    if (apply is not None or undo is not None) and (labels or not detrend or outside):
        raise VolumeError(
            "--labels, --no-detrend and --outside belong to the finding of shifts; with --apply or --undo name each "
            "image by itself, and the value outside is that of the shifts"
        )
    require_finished(volume)
    image = open_image(volume)
    if undo is not None:
        known = read_transforms(undo)
        write_image(known.undo(image), out, progress=progress)
        return known
    if apply is not None:
        known = read_transforms(apply)
        write_image(known.apply(image), out, progress=progress)
        return known
    return _align(image, Path(out), labels or {}, detrend, outside, progress)


def _align(
    image: Image,
    out: Path,
    labels: Mapping[str | Path, str | Path],
    detrend: bool,
    outside: float,
    progress: Progress,
) -> SectionTransforms:
    kept = Path(f"{out}.transforms.json")
    for place in (out, *map(Path, labels.values())):
        require_new(place, what="the aligned image")
    require_new_file(kept, what="the transforms")
    others = [open_image(path) for path in labels]
    for other in others:
        if other.shape != image.shape:
            raise VolumeError(
                f"{other.path}: has shape {other.shape} (z, y, x), but {image.path} has {image.shape}; only images of "
                "the same shape are moved with it"
            )
    found = find_transforms(image, detrend=detrend, outside=outside, progress=progress)
    if found.uncertain:
        progress.warn(
            f"{image.path}: where slices {ranges_text(found.uncertain)} lie does not follow from the images; they were "
            "put between their neighbours"
        )
    write_image(found.apply(image), out, progress=progress)
    for other, where in zip(others, labels.values(), strict=True):
        write_image(found.apply(other), where, progress=progress)
    write_transforms(found, kept)
    return found
