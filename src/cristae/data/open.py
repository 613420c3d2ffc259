"""Opening what a recipe's data section describes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.description import DataConfig, IdLabels, Labels, Region, TileSplit, VolumeConfig
from cristae.data.formats import open_image, open_images
from cristae.data.geometry import ALL_AXES, IN_PLANE, Geometry, check_same_place
from cristae.data.image import Image, VoxelSize, same_voxel_size, voxel_size_text, warnings_of
from cristae.data.label_sources import LabelSource, open_flat_sources, open_source
from cristae.data.labelling import (
    Labelling,
    LabelSources,
    mask_image,
    open_labelling,
    open_sources,
    open_sources_of_images,
)
from cristae.data.leaks import Contact, contacts
from cristae.data.names import stem_of, volume_name
from cristae.data.public import find_set, find_set_folder
from cristae.data.splits import Part, check_apart, labelled_boxes, parts_of
from cristae.data.tiles import cut_tiles, held_out, leak_of_tiles
from cristae.data.unit_slips import FAR_APART, far_apart, slip_between, unit_slip
from cristae.data.volume import Volume
from cristae.errors import CristaeError, DownloadError, LabelError, VolumeError, VoxelSizeError
from cristae.progress import Progress

__all__ = [
    "Dataset",
    "Part",
    "complete_data",
    "labelled_boxes",
    "open_data",
    "open_volume",
    "read_samples",
    "resolve_data",
]

_SAMPLE_VOX = 2048
"""Edge (y, x) of what is read of a slice to see whether it can be."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """The opened data of a recipe."""

    classes: Classes
    volumes: tuple[Volume, ...]
    train: tuple[Part, ...]
    validate: tuple[Part, ...]
    test: tuple[Part, ...]
    second: tuple[Volume, ...] = ()
    """The volumes that a second annotator labelled too, with those labels."""
    voxel_size_nm: VoxelSize | None = None
    """The working one (z, y, x) that the recipe sets."""
    split: TileSplit | None = None
    """How training parts were cut into tiles, some of which are held out."""

    @property
    def leaks(self) -> tuple[str, ...]:
        """Why held-out scores flatter: where most of what is held out has trained neighbours."""
        tiles = () if self.split is None else (leak_of_tiles(self.split),)
        return (*tiles, *(contact.text for contact in self._contacts if contact.leaky))

    @cached_property
    def _contacts(self) -> tuple[Contact, ...]:
        found = contacts({"train": self.train, "validate": self.validate, "test": self.test})
        cut = set() if self.split is None else {"train", *held_out(self.split)}
        return tuple(contact for contact in found if not set(contact.splits) <= cut)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but deserves a look, such as parts of different splits that touch."""
        slip = None if self.voxel_size_nm is None else unit_slip(self.voxel_size_nm)
        working = () if slip is None else (f"data.voxel_size_nm: {slip}",)
        of_volumes = dict.fromkeys(warning for volume in self.volumes for warning in volume.warnings)
        touching = (contact.text for contact in self._contacts if not contact.leaky)
        return (*working, *of_volumes, *self.leaks, *touching)


def open_volume(
    path: str | Path,
    *,
    labels: str | Path | Labels | None = None,
    classes: Classes | None = None,
    voxel_size_nm: VoxelSize | None = None,
    name: str | None = None,
) -> Volume:
    """Open an image stack, with its annotation if there is one. Voxels are read only when they are used.

    Args:
        path: File, folder or glob of slices; an array inside HDF5, Zarr or N5 is named after a colon.
        labels: Where the annotation is: a path of class ids, or a description such as `MappedLabels`.
        classes: What a voxel can be; needed with `labels`.
        voxel_size_nm: (z, y, x), where the file does not say it.
        name: Short name for scores and reports; None takes the file's.

    Raises:
        MissingFileError: The path does not exist.
        VolumeError: The file, its labels or its voxel size are not usable.
    """
    config = VolumeConfig(
        name=_safe_name(name or volume_name(path)),
        image=str(path),
        labels=IdLabels(path=str(labels)) if isinstance(labels, str | Path) else labels,
        voxel_size_nm=voxel_size_nm,
    )
    if config.labels is not None and classes is None:
        raise LabelError(f"labels of '{config.name}' need `classes`, which say what their values mean.")
    return _open_stack(config, classes, Path())


def complete_data(data: DataConfig) -> DataConfig:
    """Fill in what a named public data set knows; it need not be on this machine.

    Raises:
        VolumeError: The set or its task is unknown, or volumes or classes are missing.
        DownloadError: The set is one that people have to bring.
    """
    if data.set is None:
        if data.task is not None:
            raise VolumeError("data.task: chooses a labelling of a public set; name the set with data.set.")
        complete = data
    else:
        try:
            chosen = find_set(data.set)
        except (VolumeError, DownloadError) as error:
            raise type(error)(f"data.set: {error}") from None
        task, known = chosen.find_task(data.task)
        cut = () if data.split is None else held_out(data.split)
        complete = data.model_copy(
            update={
                "task": task,
                "classes": data.classes or known.classes,
                "volumes": data.volumes or known.volumes,
                "train": data.train or known.train,
                "validate_": data.validate_ or (() if "validate" in cut else known.validate_),
                "test": data.test or (() if "test" in cut else known.test),
            }
        )
    if not complete.volumes:
        raise VolumeError("data.volumes: is empty; name at least one image, or a public set with data.set.")
    if complete.classes is None:
        raise VolumeError("data.classes: is missing; name the classes, the background first.")
    return complete


def resolve_data(data: DataConfig, folder: Path) -> tuple[DataConfig, Path]:
    """Fill in what a named public data set knows, and find the folder that paths are relative to.

    Args:
        data: As the recipe gives it.
        folder: The recipe's folder.

    Returns:
        The complete description, and the folder.

    Raises:
        VolumeError: The set or its task is unknown, or volumes or classes are missing.
        MissingFileError: The set is not on this machine.
    """
    return complete_data(data), folder if data.set is None else find_set_folder(data.set)


def open_data(data: DataConfig, folder: Path, *, apart: bool = True) -> Dataset:
    """Open all volumes and parts of a data section.

    Args:
        data: As the recipe gives it.
        folder: Where relative paths start: the recipe's folder.
        apart: Whether parts that overlap are refused, as for training.

    Raises:
        VolumeError: Volumes, labels or parts are not usable or do not fit together.
        MissingFileError: A file does not exist.
    """
    data, folder = resolve_data(data, folder)
    if data.classes is None:
        raise AssertionError("resolve_data gives classes")
    if twice := [name for name, count in Counter(config.name for config in data.volumes).items() if count > 1]:
        raise VolumeError(f"data.volumes: two volumes are called '{twice[0]}'; give each its own name.")
    opened = {config.name: (config, _open_entry(config, data.classes, folder)) for config in data.volumes}
    volumes = tuple(volume for _, found in opened.values() for volume in found)
    second = tuple(volume for config in data.volumes for volume in _open_second(config, data.classes, folder))
    if data.voxel_size_nm is not None:
        _check_working_size(data.voxel_size_nm, volumes)
    regions: dict[str, Sequence[Region]] = {"train": data.train, "validate": data.validate_, "test": data.test}
    splits = {split: parts_of(chosen, opened, split=split) for split, chosen in regions.items()}
    if apart:
        check_apart(splits)
    if data.split is not None:
        splits = cut_tiles(splits, data.split)
    return Dataset(
        classes=data.classes,
        volumes=volumes,
        second=second,
        voxel_size_nm=data.voxel_size_nm,
        split=data.split,
        **splits,
    )


def _open_entry(config: VolumeConfig, classes: Classes, folder: Path) -> tuple[Volume, ...]:
    if config.kind == "images":
        return _open_flat(config, classes, folder)
    return (_open_stack(config, classes, folder),)


def _open_second(config: VolumeConfig, classes: Classes, folder: Path) -> tuple[Volume, ...]:
    """The same image with what a second annotator drew; none where nobody did."""
    if config.second_labels is None:
        return ()
    changes = {"labels": config.second_labels, "second_labels": None, "weight": None}
    try:
        return _open_entry(config.model_copy(update=changes), classes, folder)
    except CristaeError as error:
        raise type(error)(f"second_labels of '{config.name}': {error}") from None


def _open_stack(config: VolumeConfig, classes: Classes | None, folder: Path) -> Volume:
    name = config.name
    image = open_image(folder / config.source)
    sources = None if config.labels is None else open_sources(config.labels, image, folder, name=name)
    valid = weight = None
    if config.valid is not None:
        where = f"valid mask of '{name}'"
        valid = open_source(folder / config.valid.source, image, match=config.valid.match, slices=None, where=where)
    if config.weight is not None:
        where = f"weight of '{name}'"
        weight = open_source(folder / config.weight, image, match=config.weight_match, slices=None, where=where)
    return _assemble(config, classes, image, name=name, sources=sources, valid=valid, weight=weight)


def _open_flat(config: VolumeConfig, classes: Classes, folder: Path) -> tuple[Volume, ...]:
    images = open_images(folder / config.source)
    names = [f"{config.name}/{stem_of(image.path.name)}" for image in images]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise VolumeError(
            f"data.volumes.{config.name}: two images are called '{twice[0].split('/', 1)[1]}'; rename one, or list "
            "their folders as two volumes."
        )
    sources: Sequence[LabelSources | None] = [None] * len(images)
    if config.labels is not None:
        sources = open_sources_of_images(config.labels, images, folder, name=config.name)
    valid: Sequence[LabelSource | None] = [None] * len(images)
    if config.valid is not None:
        where = f"valid mask of '{config.name}'"
        valid = open_flat_sources(folder / config.valid.source, images, match=config.valid.match, where=where)
    weight: Sequence[LabelSource | None] = [None] * len(images)
    if config.weight is not None:
        where = f"weight of '{config.name}'"
        weight = open_flat_sources(folder / config.weight, images, match=config.weight_match, where=where)
    return tuple(
        _assemble(config, classes, image, name=name, sources=found, valid=mask, weight=scale)
        for image, name, found, mask, scale in zip(images, names, sources, valid, weight, strict=True)
    )


def _assemble(
    config: VolumeConfig,
    classes: Classes | None,
    image: Image,
    *,
    name: str,
    sources: LabelSources | None,
    valid: LabelSource | None,
    weight: LabelSource | None,
) -> Volume:
    size = _agreed_voxel_size(config, image, name)
    labelling = Labelling(labels=(), valid=None, labelled_slices=None)
    if config.labels is not None and classes is not None and sources is not None:
        labelling = open_labelling(config.labels, classes, image, sources, name=config.name, voxel_size_nm=size)
    validity, objects = labelling.valid, labelling.objects
    if config.valid is not None and valid is not None:
        _check_covered(valid, labelling.labelled_slices, f"valid mask of '{name}'")
        mask = mask_image(config.valid, image, valid, name=name, what="valid mask")
        validity = _both(validity, mask)
        if objects is not None:  # a partner outside the mask is not known either
            objects = objects.within(mask)
            validity = replace(validity, reader=objects.valid)
    if weight is not None:
        _check_covered(weight, labelling.labelled_slices, f"weight of '{name}'")
    files = {f"mask '{key}'" if key else "labels": source for key, source in (sources or {}).items()}
    files |= {what: one for what, one in (("valid mask", valid), ("weight", weight)) if one is not None}
    paths = tuple(dict.fromkeys(file.path for source in files.values() for file, _ in source.places.values()))
    return Volume(
        name=name,
        image=_finite(image, name),
        labels=tuple(replace(labels, sources=paths) for labels in labelling.labels),
        valid=None if validity is None else replace(validity, sources=paths),
        weight=None if weight is None else _weight_image(weight, image, name),
        voxel_size_nm=size,
        labelled_slices=labelling.labelled_slices,
        objects=objects,
        warnings=(*_doubts(image, files), *_slips(config, size, image), *_check_places(config, image, size, files)),
    )


def _doubts(image: Image, files: Mapping[str, LabelSource]) -> tuple[str, ...]:
    """What the files themselves let one doubt."""
    return warnings_of((image, *(file for source in files.values() for file, _ in source.places.values())))


def _slips(config: VolumeConfig, size: VoxelSize | None, image: Image) -> Iterator[str]:
    """A warning where the voxel size is none of an electron microscope."""
    slip = None if size is None else unit_slip(size, flat=image.shape[0] == 1)
    if slip is not None:
        yield (
            f"data.volumes.{config.name}: the voxel size {voxel_size_text(size)} (z, y, x) of {image.path} looks like "
            f"a slip of the unit: {slip}. Give the right one: `voxel_size_nm` with `trust_voxel_size: true`"
        )


def _check_places(
    config: VolumeConfig, image: Image, size: VoxelSize | None, files: Mapping[str, LabelSource]
) -> Iterator[str]:
    """Compare where annotations lie with their image, and give warnings.

    Raises:
        VoxelSizeError: A file says another voxel size than its image.
        VolumeError: A file is turned against its image.
    """
    first = Geometry.of(image, "the image", voxel_size_nm=size)
    cure = (
        "correct the one that is wrong, or say which is right under "
        f"data.volumes.{config.name}: `voxel_size_nm: [z, y, x]` with `trust_voxel_size: true`"
    )
    for what, source in files.items():
        warned = False
        for file in {id(file): file for file, _ in source.places.values()}.values():
            other = Geometry.of(file, f"{what} of '{config.name}' in")
            if config.trust_voxel_size:
                other = replace(other, voxel_size_nm=None, origin_nm=None)
            axes = ALL_AXES if file.shape[0] == image.shape[0] > 1 else IN_PLANE
            found = check_same_place(first, other, cure=cure, axes=axes)
            if not warned:
                yield from found
            warned = warned or bool(found)


def _check_working_size(working: VoxelSize, volumes: Sequence[Volume]) -> None:
    for volume in volumes:
        size = volume.voxel_size_nm
        if size is not None and far_apart(working, size):
            slip = slip_between(working, size, axes=IN_PLANE) or f"more than a factor of {FAR_APART:g}"
            raise VoxelSizeError(
                f"data.voxel_size_nm: {voxel_size_text(working)} (z, y, x) is far from {voxel_size_text(size)} of "
                f"'{volume.name}', {slip}; correct the one that is wrong"
            )


def _agreed_voxel_size(config: VolumeConfig, image: Image, name: str) -> VoxelSize | None:
    stated, found = config.voxel_size_nm, image.voxel_size_nm
    if stated is None or found is None or config.trust_voxel_size:
        return found if stated is None else stated
    if not same_voxel_size(stated, found):
        slip = slip_between(stated, found)
        raise VoxelSizeError(
            f"data.volumes.{config.name}: the recipe says {voxel_size_text(stated)} (z, y, x) for '{name}', but "
            f"{image.path} says {voxel_size_text(found)}{f', {slip}' if slip else ''}.\n"
            "  Correct `voxel_size_nm`, or set `trust_voxel_size: true` if the file is wrong."
        )
    return stated


def _check_covered(source: LabelSource, labelled: tuple[int, ...] | None, where: str) -> None:
    needed = range(source.shape[0]) if labelled is None else labelled
    if missing := [z for z in needed if z not in source.places]:
        raise LabelError(
            f"{where}: no file for slice{'' if len(missing) == 1 else 's'} {', '.join(map(str, missing[:10]))} "
            "(from 0), where there are labels; add the missing files."
        )


def _finite(image: Image, name: str) -> Image:
    """The image as grey values; reading a voxel that is not a finite number is an error."""
    if image.dtype.kind not in "biuf":
        raise VolumeError(f"'{name}': {image.path} holds {image.dtype} values; save the image as integers or floats.")
    if image.colors == 1 and image.dtype.kind != "f":
        return image

    def read(box: Box) -> np.ndarray:
        voxels = image.reader(box)
        grey = voxels if image.colors == 1 else _grey(voxels, image, name)
        if grey.dtype.kind == "f" and not np.isfinite(grey).all():
            bad = ~np.isfinite(grey)
            z = box.start[0] + int(np.argmax(bad.any(axis=(1, 2))))
            raise VolumeError(
                f"'{name}': {image.path} holds {int(bad.sum())} voxels that are NaN or infinite, first in slice {z}.\n"
                "  Replace them by grey values in the program that wrote the file."
            )
        return grey

    return replace(image, reader=read, colors=1, palette=None)


def _grey(voxels: np.ndarray, image: Image, name: str) -> np.ndarray:
    """Grey saved as RGB, or with an alpha channel, which an electron microscope's image does not use."""
    grey = voxels[..., 0]
    if image.colors > 2 and not ((voxels[..., 1] == grey) & (voxels[..., 2] == grey)).all():
        raise VolumeError(f"'{name}': {image.path} is a colour image; save it as grey values.")
    return grey


def _weight_image(source: LabelSource, image: Image, name: str) -> Image:
    def read(box: Box) -> np.ndarray:
        weights = np.zeros(box.shape, np.float32)
        for segment in source.segments(box):
            voxels = segment.file.read(segment.box)
            if segment.file.colors > 1 or not np.isfinite(voxels).all() or (voxels < 0).any():
                raise VolumeError(f"weight of '{name}': {segment.file.path} must hold finite numbers of 0 or more.")
            z = segment.z - box.start[0]
            weights[z : z + segment.box.shape[0]] = voxels
        return weights

    return replace(image, format="weight", dtype=np.dtype(np.float32), reader=read, colors=1, palette=None)


def _both(first: Image | None, second: Image) -> Image:
    if first is None:
        return second
    return replace(first, reader=lambda box: first.reader(box) & second.reader(box))


def _safe_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:80].strip("-") or "volume"


def read_samples(dataset: Dataset, progress: Progress) -> None:
    """Read image and labels of a slice of each part, so that unknown values and damaged files are reported now.

    Raises:
        CristaeError: They are.
    """
    parts = (*dataset.train, *dataset.validate, *dataset.test)
    with progress.task("Reading samples of the data", len(parts), unit="parts") as task:
        for part in parts:
            boxes = labelled_boxes(part) or (part.box,)
            box = boxes[len(boxes) // 2]
            z, y, x = (box.start[0] + box.stop[0]) // 2, box.start[1], box.start[2]
            stop = (z + 1, min(box.stop[1], y + _SAMPLE_VOX), min(box.stop[2], x + _SAMPLE_VOX))
            volume = part.volume
            for image in (volume.image, *volume.labels, volume.valid, volume.weight):
                if image is not None:
                    image.read(Box((z, y, x), stop))
            task.advance()
