"""What an image and its labels say about the recipe that they need."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.description import Match
from cristae.data.formats import open_image, open_images
from cristae.data.geometry import ALL_AXES, IN_PLANE, Geometry, check_same_place
from cristae.data.image import Image, VoxelSize, warnings_of
from cristae.data.label_evidence import LabelEvidence, Place, chosen_places, look_at, profile
from cristae.data.label_sources import LabelSource, is_slice_files, open_flat_sources, open_source, sure_match
from cristae.data.names import file_in, stem_of
from cristae.data.padding import Padding, find_padding
from cristae.errors import LabelError, VolumeError
from cristae.progress import Progress
from cristae.recipe.label_meaning import LabelMeaning, meaning_of

_NAMELESS = ("image", "images", "img", "raw", "slices", "data", "stack", "volume", "train", "training")


@dataclass(frozen=True)
class LabelFindings:
    """The annotation as it was found."""

    path: str
    match: Match
    slices: tuple[int, ...] | None
    """The image slices that the label slices belong to, where the user had to say so."""
    evidence: LabelEvidence
    meaning: LabelMeaning
    labelled: tuple[int, ...]
    """Slices (or images) with labels, apart from those in which every voxel is marked as not annotated."""
    complete: bool
    """Whether every labelled slice was looked at."""
    example: tuple[str, str] | None = None
    """A label file and its image file, where they were paired by their names."""
    profiles: tuple[np.ndarray, np.ndarray] | None = None
    """Where only one slice has foreground, the voxels of each class of it in each row and in each column."""

    @property
    def counts(self) -> np.ndarray:
        """(labelled, foreground classes) voxels in each labelled slice; 0 in those that were not looked at."""
        rows = [self.meaning.foreground_counts(self.evidence.by_slice.get(number, {})) for number in self.labelled]
        return np.array(rows, np.int64).reshape(len(self.labelled), -1)

    @property
    def filled(self) -> tuple[int, ...]:
        """Labelled slices (or images) in which foreground was seen."""
        return tuple(self.labelled[place] for place in np.flatnonzero(self.counts.any(axis=1)).tolist())


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
    padding: Padding | None = None
    note: str = ""
    """What else the user should know."""


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
    note = ""
    if labels is not None and (only := _only_labelled(labels, images)) is not None:
        note = f"Of the {len(images)} images in {relative(image, folder)}, only this one has labels."
        (one, labels), image = only, str(only[0].path)
        images = (one,)
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
        padding=find_padding(images),
        note=note,
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
    match, sources, example = _paired(labels, images, slices)
    places = _places(sources)
    looked_at = chosen_places(places)
    _refuse_the_image(looked_at[len(looked_at) // 2], images)
    evidence = look_at(looked_at, progress)
    if len(evidence.values) == 1 and len(looked_at) < len(places):
        looked_at = places  # the structure may be in the slices between
        evidence = look_at(looked_at, progress)
    try:
        meaning = meaning_of(evidence)
    except LabelError as error:
        raise LabelError(f"{labels}: {error}") from None
    _warn_about_places(images[0], places[0], progress)
    for warning in warnings_of((*images, *(file for _, file, _ in places))):
        progress.warn(warning)
    found = LabelFindings(
        path=relative(labels, folder),
        match=match,
        slices=tuple(slices) if slices is not None else None,
        evidence=evidence,
        meaning=meaning,
        labelled=tuple(
            number for number, _, _ in places if not meaning.says_nothing(evidence.by_slice.get(number, {}))
        ),
        complete=len(looked_at) == len(places),
        example=example,
    )
    filled = [place for place in places if place[0] in found.filled] if found.complete else places
    return replace(found, profiles=_profiles(filled[0], found)) if len(filled) == 1 else found


def _warn_about_places(image: Image, place: Place, progress: Progress) -> None:
    """Say where image and labels do not lie at the same place; the recipe can say which of them is right."""
    file = place[1]
    axes = ALL_AXES if file.shape[0] == image.shape[0] > 1 else IN_PLANE
    size = ", ".join(f"{edge:g}" for edge in file.voxel_size_nm or ())
    cure = (
        "if the image is right, write the line `trust_voxel_size: true` below `image:` in the recipe; if the labels "
        f"are right, write that line and `voxel_size_nm: [{size}]`"
    )
    try:
        found = check_same_place(Geometry.of(image, "the image"), Geometry.of(file, "the labels"), cure=cure, axes=axes)
    except VolumeError as error:
        found = (str(error),)
    for warning in found:
        progress.warn(warning)


def _profiles(place: Place, found: LabelFindings) -> tuple[np.ndarray, np.ndarray]:
    ranges = found.meaning.foreground_ranges
    rows, columns = (profile(place, axis, ranges, found.evidence.kind) for axis in (0, 1))
    return rows, columns


def _refuse_the_image(place: Place, images: tuple[Image, ...]) -> None:
    """Refuse labels that are the image itself, or a copy of it."""
    number, file, z = place
    image, own = (images[number], 0) if len(images) > 1 else (images[0], number)
    if file.colors != image.colors:
        return
    rows = max(1, 2**23 // image.shape[2])
    stop = (min(rows, image.shape[1]), image.shape[2])
    label, grey = (one.read(Box((at, 0, 0), (at + 1, *stop))) for one, at in ((file, z), (image, own)))
    if np.array_equal(label, grey) and len(np.unique(grey)) > 2:
        raise LabelError(
            f"{file.path}: slice {z} of the labels equals slice {own} of {image.path}: this is the image, not labels.\n"
            "  Give the file in which each class has a number (or a plain colour) of its own"
        )


def _only_labelled(labels: str, images: tuple[Image, ...]) -> tuple[Image, str] | None:
    """The one of several unrelated images that has labels, and the file of these; it can be split as a stack can."""
    if len(images) == 1:
        return None
    found = [(number, file) for number, file, _ in _places(_paired(labels, images, None)[1])]
    return (images[found[0][0]], str(found[0][1].path)) if len(found) == 1 else None


def _places(sources: tuple[LabelSource, ...]) -> list[Place]:
    return [(number, *source.places[z]) for number, z, source in _slots(sources)]


def _paired(
    labels: str, images: tuple[Image, ...], slices: Sequence[int] | None
) -> tuple[Match, tuple[LabelSource, ...], tuple[str, str] | None]:
    """The rule by which label files surely find their images, what it finds, and one of the pairs."""
    path = Path(labels)
    try:
        match = sure_match(path, images, where="labels") if slices is None else "name"
        if len(images) > 1:
            flat = open_flat_sources(path, images, match=match, where="labels")
            number = next(number for number, source in enumerate(flat) if source.places)
            return match, flat, (flat[number].places[0][0].path.name, images[number].path.name)
        source = open_source(path, images[0], match=match, slices=slices, where="labels")
    except LabelError as error:
        raise LabelError(re.sub(r"`slices: \[(.*?)\]`", _as_option, str(error))) from error
    names = images[0].slice_names
    if slices is not None or names is None or not is_slice_files(path):
        return match, (source,), None
    z = min(source.places)
    return match, (source,), (source.places[z][0].path.name, names[z])


def _as_option(slices: re.Match[str]) -> str:
    """Slices as the command takes them, where a message says them for a recipe."""
    return f"`--label-slices {slices[1].replace(', ', ',')}`"


def _slots(sources: tuple[LabelSource, ...]) -> list[tuple[int, int, LabelSource]]:
    """(number of the slice or image, slice in the source, source) of everything labelled."""
    if len(sources) == 1:
        return [(z, z, sources[0]) for z in sorted(sources[0].places)]
    return [(number, 0, source) for number, source in enumerate(sources) if source.places]


def _name_of(image: str) -> str:
    """A short name from the path; the folder's where the file or slice folder is just called 'images' or so."""
    path = Path(file_in(image)).absolute()
    parts = [stem_of(part) for part in reversed(path.parts[1:]) if not any(mark in part for mark in "*?[")]
    named = [part for part in parts if part.lower() not in _NAMELESS]
    return _safe((named or parts or ["volume"])[0])


def _safe(name: str) -> str:
    safe = "".join(letter if (letter.isalnum() and letter.isascii()) or letter in "._-" else "-" for letter in name)
    return safe.strip("-._")[:60] or "volume"
