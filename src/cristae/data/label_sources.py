"""Annotation files aligned with an image: which file holds which slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cristae.data.box import Box, Triple
from cristae.data.description import Match
from cristae.data.formats import open_image, open_images
from cristae.data.formats.paths import is_array_folder, split_options
from cristae.data.geometry import Geometry, placement_hint
from cristae.data.image import Image
from cristae.data.pairing import find_match, pair_files
from cristae.errors import LabelError


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive slices that one file holds."""

    file: Image
    box: Box
    """Where the voxels lie in the file."""
    z: int
    """First slice of the run in the image."""


@dataclass(frozen=True, eq=False)
class LabelSource:
    """Annotation of an image, slice by slice; some slices may have none."""

    shape: Triple
    """Shape of the image (z, y, x)."""
    places: Mapping[int, tuple[Image, int]]
    """Slice of the image to its file and the slice inside that file."""

    @property
    def labelled_slices(self) -> tuple[int, ...] | None:
        """Slices that have a file; None when all have."""
        return None if len(self.places) == self.shape[0] else tuple(sorted(self.places))

    @property
    def chunks(self) -> Triple:
        """The extent that is cheapest to read at once."""
        files = [file for file, _ in self.places.values()][:1]
        return files[0].chunks if files else (1, *self.shape[1:])

    def segments(self, box: Box) -> Iterator[Segment]:
        """The pieces of files that cover the labelled slices of `box`, in order of z."""
        stop = box.stop[0]
        z = box.start[0]
        while z < stop:
            if z not in self.places:
                z += 1
                continue
            file, first = self.places[z]
            length = 1
            while z + length < stop and self.places.get(z + length) == (file, first + length):
                length += 1
            inside = Box((first, *box.start[1:]), (first + length, *box.stop[1:]))
            yield Segment(file=file, box=inside, z=z)
            z += length


def is_slice_files(path: Path) -> bool:
    """Whether a path names several files of one slice each (a folder or a glob), rather than one stack."""
    plain = Path(split_options(path)[0])
    if plain.is_dir():
        return not is_array_folder(plain)
    return not plain.exists() and any(mark in str(plain) for mark in "*?[")


def open_source(path: Path, image: Image, *, match: Match, slices: Sequence[int] | None, where: str) -> LabelSource:
    """Align a stack, or a folder of slice files, with the slices of an image.

    Args:
        path: File, folder or glob.
        image: The image that is annotated.
        match: How slice files find their slice, where `slices` does not say.
        slices: Slice of the image for each label slice in order.
        where: Who asks, for messages, such as "labels of 'cell'".

    Raises:
        LabelError: Sizes differ, or files and slices cannot be brought together.
        MissingFileError: The path does not exist.
    """
    if is_slice_files(path):
        files = open_images(path)
        if slices is None:
            if image.slice_names is None:
                raise LabelError(_no_slice_names(path, image, len(files), where))
            pairs = pair_files([str(file.path) for file in files], image.slice_names, match, where=where)
        else:
            pairs = _listed(slices, len(files), image, path, where)
        places = {z: (files[place], 0) for z, place in pairs.items()}
    else:
        stack = open_image(path)
        if slices is None and stack.shape[0] != image.shape[0]:
            raise LabelError(_other_depth(stack, image, where))
        pairs = {z: z for z in range(image.shape[0])} if slices is None else {}
        pairs = pairs or _listed(slices or (), stack.shape[0], image, path, where)
        places = {z: (stack, place) for z, place in pairs.items()}
    _check_sizes(places, image, where)
    return LabelSource(shape=image.shape, places=places)


def open_flat_sources(path: Path, images: Sequence[Image], *, match: Match, where: str) -> tuple[LabelSource, ...]:
    """Find the annotation of each of several unrelated 2D images; an image without a file gets an empty source."""
    files = open_images(path) if is_slice_files(path) else (open_image(path),)
    for file in files:
        if file.shape[0] != 1:
            raise LabelError(f"{where}: {file.path} holds {file.shape[0]} slices, but `kind: images` needs flat files")
    pairs = pair_files([str(file.path) for file in files], [str(image.path) for image in images], match, where=where)
    sources = []
    for place, image in enumerate(images):
        places = {0: (files[pairs[place]], 0)} if place in pairs else {}
        _check_sizes(places, image, where)
        sources.append(LabelSource(shape=image.shape, places=places))
    return tuple(sources)


def sure_match(path: Path, images: Sequence[Image], *, where: str) -> Match:
    """The rule by which the label files at a path surely find their images, or the slices of the one image.

    Raises:
        LabelError: There is none.
        MissingFileError: The path does not exist.
    """
    names = images[0].slice_names if len(images) == 1 else [str(image.path) for image in images]
    if names is None or not is_slice_files(path):
        return "name"  # a stack is not paired by names
    return find_match([str(file.path) for file in open_images(path)], names, where=where)


def _listed(slices: Sequence[int], found: int, image: Image, path: Path, where: str) -> dict[int, int]:
    if len(slices) != found:
        raise LabelError(f"{where}: `slices` lists {len(slices)} slices, but {path} holds {found}; list one for each.")
    if len(set(slices)) != len(slices):
        raise LabelError(f"{where}: `slices` names a slice twice: {list(slices)}.")
    outside = [z for z in slices if not 0 <= z < image.shape[0]]
    if outside:
        raise LabelError(
            f"{where}: `slices` names {outside}, but the image has slices 0 to {image.shape[0] - 1} (counted from 0)."
        )
    return {z: place for place, z in enumerate(slices)}


def _check_sizes(places: Mapping[int, tuple[Image, int]], image: Image, where: str) -> None:
    for z, (file, _) in places.items():
        if file.shape[1:] != image.shape[1:]:
            raise LabelError(
                f"{where}: slice {z} in {file.path} is {_size(file.shape[1:])} voxels (y, x), but its image "
                f"{image.path} is {_size(image.shape[1:])}.\n"
                "  Labels must lie on the grid of the image: export both at the same size." + _hint(image, file)
            )


def _no_slice_names(path: Path, image: Image, found: int, where: str) -> str:
    return (
        f"{where}: {path} holds {found} label files, but {image.path} is one file whose slices have no names to pair "
        f"them with.\n  Say which slice (0 to {image.shape[0] - 1}) each file belongs to, in the order of their names: "
        f"{example_slices(found, image.shape[0])}."
    )


def _other_depth(stack: Image, image: Image, where: str) -> str:
    return (
        f"{where}: {stack.path} is {_size(stack.shape)} voxels (z, y, x), but its image {image.path} is "
        f"{_size(image.shape)}.{_sparse(stack, image)}{_hint(image, stack)}"
    )


def _sparse(stack: Image, image: Image) -> str:
    """How to say which slices are labelled, where that can be meant."""
    if stack.shape[1:] == image.shape[1:] and image.shape[0] == 1:
        return "\n  If each page is one class, save each as a file of its own and describe them with `kind: masks`."
    if stack.shape[1:] != image.shape[1:] or stack.shape[0] > image.shape[0]:
        return ""
    return (
        "\n  If only some slices are labelled, say which slice (from 0) each label slice belongs to: "
        f"{example_slices(stack.shape[0], image.shape[0])}."
    )


def example_slices(found: int, depth: int) -> str:
    """How a recipe says where label slices belong, with as many numbers as there are.

    Example:
        >>> example_slices(3, 60)
        '`slices: [0, 30, 59]`'
    """
    step = (depth - 1) / max(1, found - 1)
    numbers = [round(number * step) for number in range(min(found, 4))]
    return f"`slices: [{', '.join(map(str, numbers))}{', ...' if found > 4 else ''}]`"


def _hint(image: Image, file: Image) -> str:
    return placement_hint(Geometry.of(image, "the image"), Geometry.of(file, ""))


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)
