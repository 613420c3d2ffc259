"""Object ids read as classes: the objects' interior, the boundary between them, both, or affinities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cristae.data.affinities import Affinities, ObjectLabels
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.description import InstanceLabels
from cristae.data.image import Image, Reader, VoxelSize
from cristae.data.instances import boundary, boundary_reach, boundary_within
from cristae.data.label_sources import LabelSource
from cristae.data.object_ids import ObjectIds
from cristae.errors import LabelError, VoxelSizeError


def require_object_classes(config: InstanceLabels, classes: Classes, *, name: str) -> None:
    """Make sure that object ids give the classes that there are.

    Raises:
        LabelError: They do not, or a class is stated to be a border that leaves objects joined.
    """
    if config.to == "interior_and_boundary":
        _require_both(config, classes, name)
    elif config.offsets is not None:
        _require_affinities(config.offsets, classes, name)
    elif classes.foreground != (config.class_name,):
        raise LabelError(
            f"labels of '{name}': object ids give the one class '{config.class_name}', but data.classes names "
            f"{list(classes.foreground)}.\n  Name exactly that class, or describe the labels with `kind: values`."
        )


def object_readers(
    config: InstanceLabels,
    classes: Classes,
    image: Image,
    source: LabelSource,
    *,
    name: str,
    voxel_size_nm: VoxelSize | None,
) -> tuple[Reader, Reader | None]:
    """What reads the classes, uint8 (Z, Y, X) of ids or of 0 and 1, and what reads where voxels were annotated.

    Raises:
        LabelError: The boundary is thinner than a voxel; later, on reading, an id needs a word first.
        VoxelSizeError: The boundary has a width in nm but the voxel size is unknown.
    """
    objects = ObjectIds.of(source, config, name=name)

    def foreground(box: Box) -> np.ndarray:
        return _as_bytes(objects.read(box)[0] != 0)

    def valid(box: Box) -> np.ndarray:
        return _as_bytes(objects.read(box)[1])

    read: Reader = foreground
    if config.to != "foreground":
        marker = _marker(config, f"labels of '{name}'", image, voxel_size_nm)
        around = _Around(objects, marker.reach, Box.of_shape(image.shape))
        read = _boundary(around, marker) if config.to == "boundary" else _both(around, marker, config, classes)
    return read, valid if objects.may_be_unknown else None


def object_labels(
    config: InstanceLabels, classes: Classes, image: Image, source: LabelSource, *, name: str
) -> ObjectLabels:
    """The ids and which affinities the classes are, for `to: affinities`.

    Raises:
        LabelError: On reading, an id needs a word first.
    """
    assert config.offsets is not None, "the description has them"
    affinities = Affinities(tuple(config.offsets[one] for one in classes.names))
    return ObjectLabels(ObjectIds.of(source, config, name=name).read, Box.of_shape(image.shape), affinities)


@dataclass(frozen=True, eq=False)
class _Around:
    """Reads ids with the voxels around that decide what is boundary, so that boxes make no difference."""

    objects: ObjectIds
    reach: Triple
    whole: Box

    def read(self, box: Box) -> tuple[np.ndarray, np.ndarray, Box]:
        """Ids, where they are known, and where `box` lies in both."""
        around = box.grow(self.reach).intersect(self.whole)
        return *self.objects.read(around), box.relative_to(around.start)


@dataclass(frozen=True)
class _Marker:
    """Marks the boundary in ids, inside a box of them, counting some of the voxels."""

    reach: Triple
    mark: Callable[[np.ndarray, np.ndarray, Box], np.ndarray]


def _boundary(around: _Around, marker: _Marker) -> Reader:
    def read(box: Box) -> np.ndarray:
        ids, known, inner = around.read(box)
        return _as_bytes(marker.mark(ids, known, inner) & known[inner.slices])

    return read


def _both(around: _Around, marker: _Marker, config: InstanceLabels, classes: Classes) -> Reader:
    """Every voxel of an object is interior or boundary, so both together are the objects."""
    assert config.class_name is not None, "the description has it"
    assert config.boundary_name is not None, "the description has it"
    interior, border = classes.id_of(config.class_name), classes.id_of(config.boundary_name)
    alone = config.between != "all"

    def read(box: Box) -> np.ndarray:
        ids, known, inner = around.read(box)
        inside = ids != 0
        marked = marker.mark(ids, inside if alone else known, inner)
        found: np.ndarray = np.where(marked, np.uint8(border), np.uint8(interior)) * inside[inner.slices]
        return found

    return read


def _marker(config: InstanceLabels, where: str, image: Image, voxel_size_nm: VoxelSize | None) -> _Marker:
    width, corners = config.width_nm, config.to == "interior_and_boundary"
    if width is None:
        return _Marker((1, 1, 1), lambda ids, counted, inner: boundary(ids, counted, corners=corners)[inner.slices])
    if voxel_size_nm is None:
        raise VoxelSizeError(
            f"{where}: a boundary of {width:g} nm needs the voxel size, which neither the recipe nor the file gives.\n"
            "  Add `voxel_size_nm: [z, y, x]` to the volume, or leave `width_nm` out to mark touching voxels."
        )
    finest = min(voxel_size_nm if image.shape[0] > 1 else voxel_size_nm[1:])
    if width < finest:
        raise LabelError(
            f"{where}: a boundary of {width:g} nm is thinner than a voxel ({finest:g} nm), so no voxel "
            "would be marked.\n  Make `width_nm` larger, or leave it out to mark touching voxels."
        )
    size = voxel_size_nm

    def mark(ids: np.ndarray, counted: np.ndarray, inner: Box) -> np.ndarray:
        return boundary_within(ids, counted, size, width, inner, corners=corners)

    return _Marker(boundary_reach(size, width), mark)


def _as_bytes(mask: np.ndarray) -> np.ndarray:
    numbers: np.ndarray = mask.view(np.uint8)
    return numbers


def _require_both(config: InstanceLabels, classes: Classes, name: str) -> None:
    interior, border = config.class_name, config.boundary_name
    where = f"labels of '{name}'"
    if set(classes.foreground) != {interior, border} or classes.background_name is None:
        raise LabelError(
            f"{where}: object ids give the classes '{interior}' and '{border}' beside a background, but data.classes "
            f"has {classes.listed}.\n  Write `classes: {{names: [background, {interior}, {border}]}}`."
        )
    if config.between != "all" and border in (classes.borders or ()):
        raise LabelError(
            f"{where}: '{border}' lies only where two objects touch, so the regions that it leaves are all objects "
            f"joined by the background, but data.classes says `borders: [{border}]`.\n  Write `borders: []`: the "
            f"objects are then the components of '{interior}', which '{border}' keeps apart."
        )


def _require_affinities(offsets: Mapping[str, Triple], classes: Classes, name: str) -> None:
    if set(classes.names) != set(offsets) or classes.exclusive:
        raise LabelError(
            f"labels of '{name}': affinities are overlapping classes, here {', '.join(offsets)}, but data.classes has "
            f"{classes.listed}.\n  Write `classes: {{names: [{', '.join(offsets)}], exclusive: false}}`."
        )
