"""Label sources as a recipe describes them, turned into lazily read class ids and validity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cristae.data.affinities import ObjectLabels
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.description import IdLabels, InstanceLabels, Labels, MappedLabels, Mask, MaskLabels
from cristae.data.image import Image, Reader, VoxelSize
from cristae.data.label_sources import LabelSource, open_flat_sources, open_source
from cristae.data.object_classes import object_labels, object_readers, require_object_classes
from cristae.data.values import (
    UNLABELLED_CODE,
    Context,
    ValueTable,
    encode,
    table_of_ids,
    table_of_inside,
    table_of_values,
)
from cristae.errors import LabelError

LabelSources = Mapping[str, LabelSource]
"""The annotation of one image: by class name for masks, otherwise one under ''."""


@dataclass(frozen=True, eq=False)
class Labelling:
    """The annotation of one image, read lazily."""

    labels: tuple[Image, ...]
    """As in `Volume.labels`."""
    valid: Image | None
    """As in `Volume.valid`."""
    labelled_slices: tuple[int, ...] | None
    """As in `Volume.labelled_slices`."""
    objects: ObjectLabels | None = None
    """As in `Volume.objects`."""


def open_sources(config: Labels, image: Image, folder: Path, *, name: str) -> LabelSources:
    """Open the label files of a stack; `name` is the volume's, for messages."""
    if isinstance(config, MaskLabels):
        return {
            key: open_source(
                folder / mask.source, image, match=mask.match, slices=config.slices, where=_mask_where(key, name)
            )
            for key, mask in config.masks.items()
        }
    path = folder / config.source
    return {"": open_source(path, image, match=config.match, slices=config.slices, where=f"labels of '{name}'")}


def open_sources_of_images(
    config: Labels, images: Sequence[Image], folder: Path, *, name: str
) -> tuple[LabelSources, ...]:
    """Open the label files of unrelated 2D images, one result for each image."""
    if config.slices is not None:
        raise LabelError(f"labels of '{name}': `slices` is for stacks; `kind: images` pairs files by `match`.")
    if isinstance(config, MaskLabels):
        by_class = {
            key: open_flat_sources(folder / mask.source, images, match=mask.match, where=_mask_where(key, name))
            for key, mask in config.masks.items()
        }
        return tuple({key: found[place] for key, found in by_class.items()} for place in range(len(images)))
    found = open_flat_sources(folder / config.source, images, match=config.match, where=f"labels of '{name}'")
    return tuple({"": source} for source in found)


def open_labelling(
    config: Labels,
    classes: Classes,
    image: Image,
    sources: LabelSources,
    *,
    name: str,
    voxel_size_nm: VoxelSize | None = None,
) -> Labelling:
    """Turn label files into class ids, or one mask for each overlapping class, with their validity.

    Args:
        config: What the label values mean.
        classes: What a voxel can be.
        image: The annotated image.
        sources: Its label files, from `open_sources`.
        name: The volume's name in the recipe, for messages.
        voxel_size_nm: (z, y, x), for boundaries of a stated width.

    Returns:
        Images that map block by block when they are read. Voxels that were not annotated read as 0 and not valid.

    Raises:
        LabelError: The description does not fit the classes; later, on reading, a value is not mapped.
        VoxelSizeError: A boundary width is given in nm but the voxel size is unknown.
    """
    require_names(config, classes, name=name)
    slices, objects = _common_slices(sources, name), None
    if isinstance(config, MaskLabels):
        readers, voxels = _read_masks(config, classes, sources, name)
    elif isinstance(config, InstanceLabels) and config.to == "affinities":
        objects = object_labels(config, classes, image, sources[""], name=name)
        readers, voxels = objects.readers(), objects.valid
    elif isinstance(config, InstanceLabels):
        read, voxels = object_readers(config, classes, image, sources[""], name=name, voxel_size_nm=voxel_size_nm)
        readers = (read,)
    else:
        readers, voxels = _read_values(config, classes, sources[""], name)
    chunks = next(iter(sources.values())).chunks
    labels = tuple(_lazy(image, reader, np.dtype(np.uint8), chunks) for reader in readers)
    valid = None
    if slices is not None or voxels is not None:
        valid = _lazy(image, _validity(slices, voxels), np.dtype(np.uint8), chunks)
    return Labelling(labels=labels, valid=valid, labelled_slices=slices, objects=objects)


def require_names(config: Labels, classes: Classes, *, name: str) -> None:
    """Make sure that a description of labels and the classes name the same things, which needs no file.

    Raises:
        LabelError: They do not.
    """
    where = f"labels of '{name}'"
    if isinstance(config, MappedLabels):
        table_of_values(config.values, classes, where=where)
    elif isinstance(config, MaskLabels):
        wanted, given = set(classes.foreground), set(config.masks)
        if wanted - given or given - set(classes.names):
            raise LabelError(
                f"{where}: masks are given for {sorted(given)}, but the classes that need one are "
                f"{list(classes.foreground)}.\n  Name one mask for each class under data.volumes.{name}.labels.masks."
            )
    elif isinstance(config, InstanceLabels):
        require_object_classes(config, classes, name=name)


def mask_image(mask: Mask, image: Image, source: LabelSource, *, name: str, what: str) -> Image:
    """A mask as a lazily read uint8 image, 1 inside; slices without a file are outside.

    The mask may be an image of grey values, of any type: `inside` then tells padding from what was recorded.
    """
    where = f"{what} of '{name}'"
    table = table_of_inside(mask.inside, where=where)
    read = _code_reader(_without_fractions(source), table, Context(where, "Name them in `inside`."))
    return _lazy(image, lambda box: _as_bytes(read(box) == 1), np.dtype(np.uint8), source.chunks)


def _without_fractions(source: LabelSource) -> LabelSource:
    """Floating-point files rounded away from 0, so that only 0 itself, and NaN, is 0."""
    files = {id(file): file for file, _ in source.places.values()}
    if all(file.dtype.kind != "f" for file in files.values()):
        return source
    rounded = {key: _rounded(file) for key, file in files.items()}
    return replace(source, places={z: (rounded[id(file)], place) for z, (file, place) in source.places.items()})


def _rounded(file: Image) -> Image:
    if file.dtype.kind != "f":
        return file
    return file.map(lambda voxels: np.copysign(np.ceil(np.abs(np.nan_to_num(voxels))), voxels), file.dtype)


def _read_values(
    config: IdLabels | MappedLabels, classes: Classes, source: LabelSource, name: str
) -> tuple[tuple[Reader, ...], Reader | None]:
    where = f"labels of '{name}'"
    field = f"data.volumes.{name}.labels.values"
    if isinstance(config, MappedLabels):
        table = table_of_values(config.values, classes, where=where)
        cure = f"Map them under {field}: to a class, or to `unlabelled` where voxels do not count."
        context = Context(where, cure)
    else:
        table = table_of_ids(classes)
        cure = f"Add the classes under data.classes, or say what the values mean: `kind: values` with {field}."
        context = Context(where, cure, _mask_block(config, classes))
    read = _code_reader(source, table, context)
    has_unlabelled = any(code == UNLABELLED_CODE for _, _, code in table.rows)
    valid: Reader | None = (lambda box: _as_bytes(read(box) != UNLABELLED_CODE)) if has_unlabelled else None
    return _class_readers(read, classes), valid


def _read_masks(
    config: MaskLabels, classes: Classes, sources: LabelSources, name: str
) -> tuple[tuple[Reader, ...], Reader | None]:
    readers = {}
    for key, mask in config.masks.items():
        mask_where = _mask_where(key, name)
        cure = f"Say which values mean inside: data.volumes.{name}.labels.masks.{key}.inside."
        table = table_of_inside(mask.inside, where=mask_where)
        readers[key] = _code_reader(sources[key], table, Context(mask_where, cure))
    if not classes.exclusive:
        return tuple(_inside(readers[key]) for key in classes.names), None

    def draw(box: Box) -> np.ndarray:
        drawn = np.full(box.shape, UNLABELLED_CODE if classes.empty_id is None else classes.empty_id, np.uint8)
        for key, read in readers.items():
            drawn[read(box) == 1] = classes.id_of(key)
        return drawn

    if classes.empty_id is not None:
        return (draw,), None
    return _class_readers(draw, classes), lambda box: _as_bytes(draw(box) != UNLABELLED_CODE)


def _code_reader(source: LabelSource, table: ValueTable, context: Context) -> Reader:
    def read(box: Box) -> np.ndarray:
        pieces = [
            (segment.z - box.start[0], encode(segment.file.read(segment.box), segment.file, segment.z, table, context))
            for segment in source.segments(box)
        ]
        if len(pieces) == 1 and pieces[0][1].shape == box.shape:
            return pieces[0][1]
        codes = np.full(box.shape, UNLABELLED_CODE, np.uint8)
        for z, found in pieces:
            codes[z : z + len(found)] = found
        return codes

    return read


def _class_readers(read: Reader, classes: Classes) -> tuple[Reader, ...]:
    if classes.exclusive:

        def ids(box: Box) -> np.ndarray:
            codes = read(box)
            unlabelled = codes == UNLABELLED_CODE
            if unlabelled.any():
                codes[unlabelled] = 0
            return codes

        return (ids,)
    return tuple(_equals(read, code) for code in classes.ids)


def _equals(read: Reader, code: int) -> Reader:
    return lambda box: _as_bytes(read(box) == code)


def _inside(read: Reader) -> Reader:
    return _equals(read, 1)


def _as_bytes(mask: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(mask).view(np.uint8)


def _validity(slices: tuple[int, ...] | None, voxels: Reader | None) -> Reader:
    labelled = None if slices is None else frozenset(slices)

    def read(box: Box) -> np.ndarray:
        valid = np.ones(box.shape, np.uint8) if voxels is None else voxels(box)
        if labelled is not None:
            without = [z not in labelled for z in range(box.start[0], box.stop[0])]
            valid[without] = 0
        return valid

    return read


def _lazy(image: Image, reader: Reader, dtype: np.dtype, chunks: Triple) -> Image:
    return replace(
        image, format="labels", dtype=dtype, reader=reader, colors=1, palette=None, chunks=chunks, details={}
    )


def _common_slices(sources: LabelSources, name: str) -> tuple[int, ...] | None:
    """The labelled slices, which must be the same for all masks: a missing mask file could mean 'none there'."""
    covered = {key: set(source.places) for key, source in sources.items()}
    every = set.union(*covered.values())
    for key, slices in covered.items():
        if missing := sorted(every - slices):
            raise LabelError(
                f"{_mask_where(key, name)}: no file for {'slice' if len(missing) == 1 else 'slices'} "
                f"{', '.join(map(str, missing[:10]))}, which other masks have.\n"
                "  Add an empty mask where the class does not occur, or remove the other masks of these slices."
            )
    return next(iter(sources.values())).labelled_slices


def _mask_where(key: str, name: str) -> str:
    return f"mask '{key}' of '{name}'" if key else f"labels of '{name}'"


def _mask_block(config: IdLabels, classes: Classes) -> str:
    empty = classes.names[0] if classes.exclusive else "background"
    inside = classes.foreground[0] if len(classes.foreground) == 1 else "<class>"
    return f"    labels:\n      kind: values\n      path: {config.path}\n      values: {{0: {empty}, 255: {inside}}}"
