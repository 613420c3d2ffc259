"""What an image and its labels say about the recipe that they need."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.description import Match
from cristae.data.formats import open_image, open_images
from cristae.data.image import Image, VoxelSize
from cristae.data.label_sources import LabelSource, is_slice_files, open_flat_sources, open_source
from cristae.data.names import stem_of
from cristae.errors import LabelError
from cristae.progress import Progress

_MATCHES: tuple[Match, ...] = ("name", "number", "order")
_MAX_SLICES = 64
_MAX_CLASSES = 20
_NAMELESS = ("image", "images", "img", "raw", "slices", "data", "stack", "volume", "train", "training")


@dataclass(frozen=True)
class LabelFindings:
    """The annotation as it was found."""

    path: str
    match: Match
    slices: tuple[int, ...] | None
    """The image slices that the label slices belong to, where the user had to say so."""
    fractions: dict[str, float]
    """Value (or colour '#rrggbb') to its fraction of the voxels that were looked at."""
    meaning: Literal["ids", "values", "instances"]
    labelled: tuple[int, ...]
    """Slices (or images) with labels."""
    with_foreground: tuple[int, ...]
    """Those of the labelled slices that were looked at and hold more than one value or another than the commonest."""
    complete: bool
    """Whether every labelled slice was looked at."""


@dataclass(frozen=True)
class Findings:
    """Everything a starter recipe needs to know."""

    name: str
    image: str
    kind: Literal["volume", "images"]
    shape: Triple
    """(z, y, x); for unrelated images their number and the smallest sides."""
    dtype: str
    voxel_size_nm: VoxelSize | None
    labels: LabelFindings | None = None
    image_names: tuple[str, ...] = field(default=())
    """Stems of unrelated images, in order."""


def examine(
    image: str,
    labels: str | None,
    *,
    label_slices: Sequence[int] | None = None,
    folder: Path,
    progress: Progress = Progress(),
) -> Findings:
    """Look at an image and its labels.

    Args:
        image: File, folder or glob.
        labels: The same for the labels; None when there are none yet.
        label_slices: For a label stack with fewer slices than the image: where its slices belong.
        folder: Where the recipe will be; paths are relative to it.
        progress: Where to show how far it is.

    Raises:
        CristaeError: A file cannot be read, or image and labels do not fit together.
    """
    images = _images_of(image)
    first = images[0]
    flat = len(images) > 1
    sides = [one.shape for one in images]
    shape = (len(images), min(s[1] for s in sides), min(s[2] for s in sides)) if flat else first.shape
    found = None
    if labels is not None:
        found = _examine_labels(labels, images, label_slices, folder, progress)
    return Findings(
        name=_name_of(image),
        image=relative(image, folder),
        kind="images" if flat else "volume",
        shape=shape,
        dtype=first.dtype.name,
        voxel_size_nm=first.voxel_size_nm,
        labels=found,
        image_names=tuple(stem_of(one.path.name) for one in images) if flat else (),
    )


def relative(path: str, folder: Path) -> str:
    """`path` as seen from `folder`, with forward slashes; absolute when there is no way from one to the other."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return Path(path).absolute().as_posix()


def _images_of(image: str) -> tuple[Image, ...]:
    """One stack, or several unrelated images where the slices differ in size."""
    if is_slice_files(Path(image)):
        files = open_images(image)
        if len({file.shape for file in files}) > 1:
            return files
    return (open_image(image),)


def _examine_labels(
    labels: str, images: tuple[Image, ...], slices: Sequence[int] | None, folder: Path, progress: Progress
) -> LabelFindings:
    match, sources = _paired(labels, images, slices)
    places = [(number, *source.places[z]) for number, z, source in _slots(sources)]
    looked_at = places
    if len(places) > _MAX_SLICES:
        chosen = np.linspace(0, len(places) - 1, _MAX_SLICES).round().astype(int)
        looked_at = [places[i] for i in chosen]
    counts: Counter[str] = Counter()
    by_slice: dict[int, Counter[str]] = {}
    with progress.task("Looking at the labels", len(looked_at), unit="slices") as task:
        for number, file, z in looked_at:
            by_slice[number] = _values(file, z)
            counts += by_slice[number]
            task.advance()
    total = sum(counts.values())
    commonest = "0" if "0" in counts else counts.most_common(1)[0][0]
    return LabelFindings(
        path=relative(labels, folder),
        match=match,
        slices=tuple(slices) if slices is not None else None,
        fractions={value: counts[value] / total for value in sorted(counts, key=_order)},
        meaning=_meaning(counts),
        labelled=tuple(number for number, _, _ in places),
        with_foreground=tuple(number for number, found in by_slice.items() if set(found) - {commonest}),
        complete=len(looked_at) == len(places),
    )


def _paired(
    labels: str, images: tuple[Image, ...], slices: Sequence[int] | None
) -> tuple[Match, tuple[LabelSource, ...]]:
    """The first rule by which label files find their images."""
    problem: LabelError | None = None
    for match in _MATCHES:
        try:
            if len(images) > 1:
                return match, open_flat_sources(Path(labels), images, match=match, where="labels")
            return match, (open_source(Path(labels), images[0], match=match, slices=slices, where="labels"),)
        except LabelError as error:
            problem = problem or error
    message = str(problem).replace("`slices: [...]`", "`--label-slices 0,10,20`")
    raise LabelError(message) from problem


def _slots(sources: tuple[LabelSource, ...]) -> list[tuple[int, int, LabelSource]]:
    """(number of the slice or image, slice in the source, source) of everything labelled."""
    if len(sources) == 1:
        return [(z, z, sources[0]) for z in sorted(sources[0].places)]
    return [(number, 0, source) for number, source in enumerate(sources) if source.places]


def _values(file: Image, z: int) -> Counter[str]:
    voxels = file.read(Box((z, 0, 0), (z + 1, *file.shape[1:])))
    if voxels.dtype.kind == "f":
        if not (np.isfinite(voxels).all() and (voxels == np.rint(voxels)).all()):
            raise LabelError(f"{file.path}: slice {z} holds values that are not whole numbers; labels must be integers")
        voxels = voxels.astype(np.int64)
    if file.colors == 1:
        values, counts = np.unique(voxels, return_counts=True)
        return Counter({str(int(value)): int(count) for value, count in zip(values, counts, strict=True)})
    colors, counts = np.unique(voxels.reshape(-1, file.colors), axis=0, return_counts=True)
    names = [f"#{''.join(f'{int(part):02x}' for part in color)}" for color in colors]
    if file.colors == 2:
        names = [str(int(color[0])) for color in colors]
    found: Counter[str] = Counter()
    for name, count in zip(names, counts, strict=True):
        found[name] += int(count)
    return found


def _meaning(counts: Counter[str]) -> Literal["ids", "values", "instances"]:
    if any(value.startswith("#") for value in counts):
        if len(counts) > _MAX_CLASSES:
            raise LabelError(
                f"the labels hold {len(counts)} colours, too many to be classes; is this the image itself, or a JPEG? "
                "Save labels as PNG or TIFF with one plain colour per class"
            )
        return "values"
    numbers = sorted(int(value) for value in counts)
    if len(numbers) == 1:
        raise LabelError(
            f"every labelled voxel has the value {numbers[0]}: there is nothing to learn from these labels"
        )
    if numbers == list(range(len(numbers))) and len(numbers) <= _MAX_CLASSES:
        return "ids"
    return "values" if len(numbers) <= _MAX_CLASSES else "instances"


def _order(value: str) -> tuple[int, str]:
    return (0, value) if value.startswith("#") else (int(value), "")


def _name_of(image: str) -> str:
    """A short name from the path; the folder's where the file or slice folder is just called 'images' or so."""
    path = Path(image.split(":/")[0]).absolute()
    parts = [stem_of(part) for part in reversed(path.parts[1:]) if not any(mark in part for mark in "*?[")]
    named = [part for part in parts if part.lower() not in _NAMELESS]
    return _safe((named or parts or ["volume"])[0])


def _safe(name: str) -> str:
    safe = "".join(letter if (letter.isalnum() and letter.isascii()) or letter in "._-" else "-" for letter in name)
    return safe.strip("-._")[:60] or "volume"
