"""What an image and its labels say about the recipe that they need."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.classes import UNLABELLED
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
from cristae.recipe.label_meaning import ClassMeaning, LabelMeaning, ObjectMeaning, meaning_of
from cristae.recipe.mask_findings import MaskFinding, MaskFindings, combine_masks
from cristae.recipe.touching import Touching, look_at_neighbours

_MANY_TOUCH = 0.2
"""From this share of touching objects on, two classes tell them apart."""
_CHANGING = 0.5
"""Where more voxels have another object in the next slice, ids are those of each slice, and all would be contact."""
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
    touching: Touching | None = None
    """How objects meet, where values are their ids."""

    @property
    def split_apart(self) -> bool:
        """Whether so many objects touch that two classes are to tell them apart."""
        objects = isinstance(self.meaning, ObjectMeaning) and self.meaning.to == "foreground"
        found = self.touching
        return objects and found is not None and found.share >= _MANY_TOUCH and found.changing < _CHANGING

    @property
    def separates(self) -> bool:
        """Whether the one class is the border between objects."""
        return isinstance(self.meaning, ObjectMeaning) and self.meaning.to == "boundary"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The background first."""
        return (*self.meaning.class_names, "contact") if self.split_apart else self.meaning.class_names

    @property
    def foreground(self) -> tuple[str, ...]:
        """The classes whose voxels `counts` counts."""
        return self.meaning.class_names[1:]

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
    labels: LabelFindings | MaskFindings | None = None
    image_names: tuple[str, ...] = field(default=())
    """Stems of unrelated images, in order."""
    padding: Padding | None = None
    note: str = ""
    """What else the user should know."""
    given_voxel_size_nm: VoxelSize | None = None
    """(z, y, x), where the user says it, because the file does not or is wrong."""


def examine(
    image: str,
    labels: str | Mapping[str, str] | None,
    *,
    label_slices: Sequence[int] | None = None,
    folder: Path,
    progress: Progress = Progress(),
) -> Findings:
    """Look at an image and its labels.

    Args:
        image: File, folder or glob.
        labels: The same for the labels, or for the mask of each class by its name; None when there are none yet.
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
    found: LabelFindings | MaskFindings | None = None
    if isinstance(labels, str):
        found = _examine_labels(labels, images, label_slices, folder, progress)
    elif labels is not None:
        masks = [_examine_mask(name, path, images, label_slices, folder, progress) for name, path in labels.items()]
        found = combine_masks(masks, None if label_slices is None else tuple(label_slices))
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
        touching=look_at_neighbours(looked_at, evidence.kind, _no_objects(meaning))
        if isinstance(meaning, ObjectMeaning)
        else None,
    )
    filled = [place for place in places if place[0] in found.filled] if found.complete else places
    return replace(found, profiles=_profiles(filled[0], found)) if len(filled) == 1 else found


def _examine_mask(
    name: str,
    path: str,
    images: tuple[Image, ...],
    slices: Sequence[int] | None,
    folder: Path,
    progress: Progress,
) -> MaskFinding:
    """The mask of one class; several foreground values are inside alike."""
    found = _examine_labels(path, images, slices, folder, progress)
    meaning, evidence = found.meaning, found.evidence
    ranges = tuple(meaning.foreground_ranges)
    inside = "nonzero"  # of ids of objects, too
    if isinstance(meaning, ClassMeaning):
        keys = [row.group.key for row in meaning.rows[1:] if row.name != UNLABELLED]
        if len(keys) > 1:
            raise LabelError(
                f"{path}: the mask of '{name}' holds {len(keys)} values beside the background ({', '.join(keys)}); "
                "give one file for each class with two values, or all classes in one file with --labels"
            )
        inside = keys[0] if meaning.kind == "values" else "nonzero"
    counts = {number: int(row.sum()) for number, row in zip(found.labelled, found.counts, strict=True)}
    return MaskFinding(
        name=name,
        path=found.path,
        match=found.match,
        kind=evidence.kind,
        inside=inside,
        ranges=ranges,
        share=sum(counts.values()) / max(1, evidence.voxels),
        counts=counts,
        places=_places(_paired(path, images, slices)[1]),
        complete=found.complete,
        questions=tuple(f"{name}: {question}" for question in meaning.questions),
    )


def _no_objects(meaning: ObjectMeaning) -> frozenset[int]:
    """Values that are no object."""
    return frozenset({0, *(group.low for group in (*meaning.background, *(meaning.unlabelled or ())))})


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


def _only_labelled(
    labels: str | Mapping[str, str], images: tuple[Image, ...]
) -> tuple[Image, str | Mapping[str, str]] | None:
    """The one of several unrelated images that has labels, or a mask of each class, and the files of these; it can be
    split as a stack can."""
    if len(images) == 1:
        return None
    paths = {"": labels} if isinstance(labels, str) else labels
    found = {
        name: {number: str(file.path) for number, file, _ in _places(_paired(path, images, None)[1])}
        for name, path in paths.items()
    }
    common = set.intersection(*(set(files) for files in found.values()))
    if len(common) != 1:
        return None
    number = common.pop()
    files = {name: files[number] for name, files in found.items()}
    return images[number], files[""] if isinstance(labels, str) else files


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
