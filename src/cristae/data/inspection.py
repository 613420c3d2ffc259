"""What one image is: its format, grey values and labels, and what is likely to go wrong when it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.address import Address, Place
from cristae.data.box import Triple
from cristae.data.formats import UnequalSlicesError, open_channels, open_image, open_images
from cristae.data.formats.hdf5 import list_hdf5
from cristae.data.formats.kinds import require_kind
from cristae.data.formats.n5 import list_n5
from cristae.data.formats.ome_zarr import list_images, list_labels, open_ome_zarr, read_attributes
from cristae.data.formats.paths import HDF5_SUFFIXES, Reading, Source, find_source, is_array_folder, is_n5, is_zarr
from cristae.data.image import Image, VoxelSize
from cristae.data.padding import find_padding, inside_of
from cristae.data.section_positions import Drift, drift_of
from cristae.data.sections import BadSection, look_at_sections
from cristae.data.slice_ranges import ranges_text
from cristae.data.statistics import ImageStatistics, image_statistics
from cristae.data.unit_slips import unit_slip
from cristae.data.volume import Volume
from cristae.errors import FormatError
from cristae.progress import Progress

_DISAGREEMENT = "disagreement"
"""The group inside a prediction that holds how much members of an ensemble disagree."""
_NAMED = 5
"""Up to this many slices are listed by the names of their files."""
_SECTION_VOXELS = 2**28
"""Voxels of a stack by which its sections are judged: of larger ones the middle of each section."""


@dataclass(frozen=True)
class LabelValue:
    """One of the few distinct values of a label image."""

    value: int | str
    """The integer, or '#rrggbb' or '#rrggbbaa' for colour images (hexadecimal samples)."""
    voxels: int
    share: float
    """Part of all voxels, 0 to 1."""
    name: str = ""
    """Class name, where the file gives one."""
    color: str = ""
    """'#rrggbb' from the file's palette or label metadata."""


@dataclass(frozen=True)
class Inspection:
    """What one image is."""

    path: str
    format: str
    shape: Triple
    """Voxels (z, y, x)."""
    axes: str
    """Axes as the file stores them."""
    voxel_size_nm: VoxelSize | None
    """(z, y, x); None when the file does not say."""
    origin_nm: VoxelSize | None
    dtype: str
    colors: int
    chunks: Triple
    minimum: float
    maximum: float
    percentiles: dict[str, float]
    """Grey value below or at which that percentage of the voxels lies."""
    values: tuple[LabelValue, ...]
    """Distinct values when they are few integers; empty otherwise."""
    details: dict[str, str]
    problems: tuple[str, ...]
    """What is likely to go wrong, each with what to do."""
    sections: tuple[BadSection, ...] = ()
    """Sections that deserve a look; of labels none are."""
    drift: Drift | None = None
    """How far the sections lie off each other; None for single sections, labels and colours."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        plain = asdict(self)
        for key in ("minimum", "maximum"):
            plain[key] = None if np.isnan(plain[key]) else plain[key]
        return plain


def images_in(path: str | Path, *, is_prediction: bool = False) -> Iterator[tuple[str, Image, tuple[str, ...]]]:
    """Every image that a path holds, with its name and what is likely to go wrong with it.

    Files with several arrays (HDF5, N5, OME-Zarr with label images or channels) and folders of unrelated images hold
    several.

    Args:
        path: File, folder, glob, or array inside a file.
        is_prediction: Whether the path is a prediction, whose image may be a small preview of its input.

    Raises:
        MissingFileError: There is nothing by this name.
        FormatError: A file is damaged, or is not what its name says.
    """
    source = find_source(path)
    inner = () if source.files else _arrays_in(source)
    if len(inner) > 1:
        yield from _arrays([f"{source.path}:/{name}" for name in inner], source.reading)
        return
    if is_zarr(source.path):
        yield from _zarr_images(path, source, is_prediction)
        return
    try:
        yield from _channels(str(path), source.reading)
    except UnequalSlicesError:
        note = ("the images of this folder differ in size: use `kind: images` in a recipe",)
        yield from ((str(image.path), image, note) for image in open_images(path))


def _arrays_in(source: Source) -> tuple[str, ...]:
    """Inner paths of the arrays of a file or folder of several, from its root."""
    path, place = source.path, source.path / source.inner
    if isinstance(path, Path) and path.suffix.lower() in HDF5_SUFFIXES:
        require_kind(path)
        return () if source.inner else list_hdf5(path)
    if isinstance(place, Path) and not (is_array_folder(path) and place.is_dir()):
        return ()
    if isinstance(place, Address) and not is_zarr(place):
        return ()  # which arrays a container holds only Zarr says in one place
    found = list_images(place) if is_zarr(source.path) else list_n5(place) if is_n5(source.path) else ()
    return tuple("/".join(filter(None, (source.inner, name))) for name in found)


def _arrays(names: list[str], reading: Reading) -> Iterator[tuple[str, Image, tuple[str, ...]]]:
    """The arrays of a file that can be opened, one by one; what is wrong with the others is told with the last.

    Raises:
        FormatError: None can.
    """
    held: tuple[str, Image, tuple[str, ...]] | None = None
    refused: list[FormatError] = []
    for name in names:
        try:
            for found in _channels(name, reading):
                if held is not None:
                    yield held
                held = found
        except FormatError as error:
            refused.append(error)
    if held is None:
        raise refused[0]
    name, image, problems = held
    yield name, image, (*problems, *(f"not shown: {error}" for error in refused))


def _channels(name: str, reading: Reading) -> Iterator[tuple[str, Image, tuple[str, ...]]]:
    """One image, or each of its channels."""
    channels = open_channels(reading.on(name))
    for channel, image in enumerate(channels):
        yield name if len(channels) == 1 else Reading(channel=channel).on(name), image, ()


def _zarr_images(path: str | Path, source: Source, is_prediction: bool) -> Iterator[tuple[str, Image, tuple[str, ...]]]:
    place = source.path / source.inner
    for name, image, problems in _channels(str(path), source.reading):
        if is_prediction:
            image = replace(image, details={**image.details, **_preview_of(image, place)})
        yield name, image, problems
    for label in list_labels(place):
        inner = place / "labels" / label
        yield f"{source.path}:/labels/{label}" if not source.inner else str(inner), open_image(inner), ()
    if is_prediction and (place / _DISAGREEMENT / "zarr.json").is_file():
        image = open_image(place / _DISAGREEMENT)
        about = {"content": f"{read_attributes(place / _DISAGREEMENT).get('meaning', _DISAGREEMENT)}; 255 is 1"}
        name = f"{source.path}:/{_DISAGREEMENT}" if not source.inner else str(place / _DISAGREEMENT)
        yield name, replace(image, details={**image.details, **about}), ()


def _preview_of(image: Image, prediction: Place) -> dict[str, str]:
    """What the image of a prediction shows, where it is no probability: its input, at a part of the size."""
    labels = list_labels(prediction)
    if "c" in image.details.get("axes", "") or not labels:
        return {}
    whole = open_ome_zarr(prediction, f"labels/{labels[0]}").shape
    step = max(math.ceil(full / shown) for full, shown in zip(whole[1:], image.shape[1:], strict=True))
    size = f"each voxel the mean of {step} x {step} of it (y, x)" if step > 1 else "at its full size"
    return {"content": f"a preview of the input, {size}; the result is under labels"}


def describe_image(
    name: str, image: Image, problems: tuple[str, ...] = (), *, progress: Progress = Progress()
) -> Inspection:
    """Describe one image, reading all voxels once or twice in bounded memory.

    Args:
        name: What it is called.
        image: The image.
        problems: What is already known to be likely to go wrong.
        progress: Where to report.

    Raises:
        FormatError: A part of the file is damaged.
    """
    result = image_statistics(image, progress=progress)
    values = _values(image, result)
    grey = image.shape[0] > 2 and image.colors == 1 and image.palette is None and not values
    sections, drift = _sections(image, progress) if grey else ((), None)
    return Inspection(
        path=name,
        format=image.format,
        shape=image.shape,
        axes=image.details.get("axes", "yx"),
        voxel_size_nm=image.voxel_size_nm,
        origin_nm=image.origin_nm,
        dtype=str(image.dtype),
        colors=image.colors,
        chunks=image.chunks,
        minimum=result.minimum,
        maximum=result.maximum,
        percentiles={f"{percent:g}": value for percent, value in result.percentiles},
        values=values,
        details=_details(image),
        problems=(*problems, *_problems(image, result, values)),
        sections=sections,
        drift=drift,
    )


def _sections(image: Image, progress: Progress) -> tuple[tuple[BadSection, ...], Drift | None]:
    """What deserves a look; the drift is None where only some sections were looked at."""
    slices = range(image.shape[0])
    found = look_at_sections(Volume(image.path.name, image), slices, progress, most_voxels=_SECTION_VOXELS)
    return found.bad, drift_of(found.pairs, slices) if len(found.looked_at) == len(slices) else None


def _details(image: Image) -> dict[str, str]:
    turned = {"orientation": f"{image.orientation} (x, y, z as stored)"} if image.orientation else {}
    return turned | {key: text for key, text in image.details.items() if not key.startswith("label ")}


def _values(image: Image, result: ImageStatistics) -> tuple[LabelValue, ...]:
    total = int(np.prod(image.shape, dtype=object))
    listed = []
    for value, count in result.values or ():
        shown: int | str = value
        if image.colors > 1:
            shown = f"#{value:0{2 * image.colors * image.dtype.itemsize}x}"
        item = LabelValue(shown, count, count / total)
        if image.colors == 1:
            item = replace(item, name=image.details.get(f"label {value}", ""))
        if image.palette is not None and 0 <= value < len(image.palette):
            item = replace(item, color=image.palette[value])
        listed.append(item)
    return tuple(listed)


def _problems(image: Image, result: ImageStatistics, values: tuple[LabelValue, ...]) -> Iterator[str]:
    if image.voxel_size_nm is None:
        why = image.details.get("voxel size")
        yield f"the voxel size is unknown{f' ({why})' if why else ''}; give it in the recipe or with --voxel-size-nm"
    elif slip := unit_slip(image.voxel_size_nm, flat=image.shape[0] == 1):
        yield f"the voxel size looks like a slip of the unit: {slip}. Give the right one with --voxel-size-nm"
    if result.not_finite:
        yield f"{result.not_finite} voxels are NaN or infinite; replace them before training"
    if {item.value for item in values} == {0, 255}:
        yield "holds only 0 and 255, so it looks like a mask; in a recipe use `kind: masks`, or map the values"
    if result.wrapped:
        cure = (
            "say so by --unsigned, or ::signed=false after the path" if image.format == "mrc" else "save it as 16-bit"
        )
        yield f"signed bytes jump between -128 and 127: they were probably meant as unsigned; {cure}"
    if "note" in image.details:
        yield image.details["note"]
    yield from _constant(image, result)
    yield from _padding(image, values, {z for z, _ in result.constant_slices})
    yield from _gaps(image.slice_names or ())


def _constant(image: Image, result: ImageStatistics) -> Iterator[str]:
    if image.colors > 1 or not result.constant_slices:
        return
    if len(result.constant_slices) == image.shape[0] and result.minimum == result.maximum:
        yield f"every voxel has the value {result.minimum:g}"
        return
    empty = [z for z, value in result.constant_slices if value == 0]
    other = [z for z, value in result.constant_slices if value != 0]
    if empty:
        yield f"{_counted(empty, 'empty')} (all 0): {_which(empty, image)}"
    if other:
        yield f"{_counted(other, 'constant')}: {_which(other, image)}"


def _padding(image: Image, values: tuple[LabelValue, ...], constant: set[int]) -> Iterator[str]:
    """Of images, not of labels, whose commonest value is at the border anyway; empty slices are reported as such."""
    padding = None if values else find_padding(image)
    if padding is None or constant.issuperset(padding.slices):
        return
    inside = inside_of(padding, image.dtype.name)
    cure = f"`inside: {inside}` in a recipe's `valid:`" if inside is not None else "a mask as `valid:` in a recipe"
    yield (
        f"{padding.share:.0%} of the voxels {'looked at ' if not padding.complete else ''}are {padding.shown} in areas "
        f"along the border, which looks like padding: leave it out with {cure}, and with --mask when predicting"
    )


def _counted(slices: list[int], kind: str) -> str:
    return f"{len(slices)} {kind} slice{'' if len(slices) == 1 else 's'}"


def _which(slices: list[int], image: Image) -> str:
    """Their file names when there are few, their numbers otherwise."""
    if image.slice_names is not None and len(slices) <= _NAMED:
        return ", ".join(image.slice_names[z] for z in slices)
    return f"number{'' if len(slices) == 1 else 's'} {ranges_text(slices)}, counted from 0"


def _gaps(names: tuple[str, ...]) -> Iterator[str]:
    """Jumps in the last number of the file names: a slice may be missing."""
    numbers = [re.findall(r"\d+", name) for name in names]
    if len(names) < 3 or not all(numbers):
        return
    counted = [int(parts[-1]) for parts in numbers]
    jumps = [(a, b) for a, b in pairwise(counted) if b != a + 1]
    if jumps and len(jumps) < len(names) / 2:
        shown = ", ".join(f"{a} to {b}" for a, b in jumps[:5])
        yield f"slice numbers jump from {shown}; slices may be missing"
