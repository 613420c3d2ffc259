"""OME-Zarr, the home format: version 0.5 (sharded Zarr 3) is written, 0.1 to 0.6 and plain Zarr arrays are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.address import Address, Place, inner_path, place_of, places_above
from cristae.data.box import Box, Triple
from cristae.data.files import require_new, write_json
from cristae.data.formats.array_groups import Geometry, finest_level, plain_geometry
from cristae.data.formats.ngff import (
    LabelClass,
    NamedChannel,
    channel_names,
    color_samples,
    dataset_paths,
    find_multiscale,
    group_attributes,
    label_classes,
    multiscales_of,
    ome_attributes,
    ome_version,
    read_geometry,
)
from cristae.data.formats.paths import Reading, is_zarr
from cristae.data.formats.pyramid import Level, Method, build_pyramid, fill_levels, first_levels, pyramid_levels
from cristae.data.formats.stored import StoredArray, axis_names, open_stored
from cristae.data.formats.tensor_store import NO_CHUNKS, LazyArray, holds_chunks
from cristae.data.formats.zarr_arrays import (
    Node,
    array_metadata,
    find_arrays,
    find_node,
    open_array,
    open_lazy,
    write_block,
)
from cristae.data.image import Image, VoxelSize
from cristae.errors import ChannelError, FormatError, MissingFileError

__all__ = [
    "LabelClass",
    "Level",
    "Method",
    "ZarrSpec",
    "ZarrWriter",
    "build_pyramid",
    "create_levels",
    "create_multiscale",
    "describe_multiscale",
    "fill_levels",
    "list_labels",
    "open_ome_zarr",
    "open_writer",
    "pyramid_levels",
    "read_attributes",
    "read_label_classes",
    "write_attributes",
    "write_label_list",
]


@dataclass(frozen=True)
class ZarrSpec:
    """The array that an OME-Zarr image is made of, at its finest level."""

    shape: Triple
    """Voxels (z, y, x)."""
    dtype: np.dtype[Any]
    chunks: Triple
    """What a reader decodes at once (z, y, x)."""
    shards: Triple
    """What is written at once, one file each; a multiple of `chunks` on every axis."""
    voxel_size_nm: VoxelSize | None
    origin_nm: VoxelSize | None = None
    channels: int | None = None
    """Length of a leading channel axis; the array is then (C, Z, Y, X). A shard holds all channels, a chunk one."""
    colors: int = 1
    """2 to 4 when the channels are the samples of a colour image (grey and alpha, RGB, RGBA)."""


class ZarrWriter:
    """Writes blocks of the finest level. Blocks that are whole shards may come from any number of threads."""

    def __init__(self, path: Place, spec: ZarrSpec) -> None:
        self.path = path
        self.spec = spec
        self._store = open_array(_require_node(path / "0"), cache_bytes=0)

    def write(self, box: Box, voxels: np.ndarray) -> None:
        """Write the voxels of `box`; when this returns they are on disk.

        Args:
            box: Starts and ends on multiples of `spec.shards`, or ends at the edge of the image.
            voxels: (Z, Y, X), or (C, Z, Y, X) when the spec has channels, in the spec's dtype.

        Raises:
            ValueError: The box is not on the shard grid, or the voxels do not fit it.
            StorageError: The disk is full or the place may not be written.
        """
        spec = self.spec
        for start, stop, size, shard in zip(box.start, box.stop, spec.shape, spec.shards, strict=True):
            if start % shard or not start < stop <= size or (stop % shard and stop != size):
                raise ValueError(f"box {box} does not follow the shards {spec.shards} of an image of {spec.shape}")
        expected = box.shape if spec.channels is None else (spec.channels, *box.shape)
        if voxels.shape != expected or voxels.dtype != spec.dtype:
            raise ValueError(
                f"voxels of {voxels.shape} {voxels.dtype} do not fit box {box}: expected {expected} {spec.dtype}"
            )
        lead = () if spec.channels is None else (slice(None),)
        write_block(self._store, (*lead, *box.slices), voxels, self.path)


def create_multiscale(
    path: Place,
    spec: ZarrSpec,
    *,
    name: str,
    classes: Sequence[LabelClass] = (),
    named: Sequence[NamedChannel] = (),
    levels: int = 1,
    attributes: Mapping[str, Any] | None = None,
    around: bool = False,
) -> ZarrWriter:
    """Make an OME-Zarr 0.5 image whose levels are all there and empty (zero).

    A group made inside a folder called `labels` is listed in that folder's metadata, as NGFF asks.

    Args:
        path: The new group.
        spec: The finest level.
        name: What viewers show.
        classes: Id, name and colour of each class when this is a label image.
        named: Name and colour of each channel.
        levels: Number of resolutions, see `pyramid_levels`.
        attributes: Stored under the group attribute `cristae`.
        around: Whether other groups were made inside `path` before, so that it is not new.

    Raises:
        OutputExistsError: There is something at `path`.
        ValueError: The spec is inconsistent.
    """
    _check_spec(spec)
    if not around:
        require_new(path, what="the image")
    writer = create_levels(path, spec, levels=levels)
    describe_multiscale(path, spec, name=name, classes=classes, named=named, levels=levels, attributes=attributes)
    return writer


def create_levels(path: Place, spec: ZarrSpec, *, levels: int) -> ZarrWriter:
    """Make the empty arrays of an image, which is none before `describe_multiscale`."""
    pyramid = first_levels(spec.shape, spec.voxel_size_nm, levels)
    lead = () if spec.channels is None else (spec.channels,)
    single = () if spec.channels is None else (1,)
    axes = ("z", "y", "x") if spec.channels is None else ("c", "z", "y", "x")
    for number, level in enumerate(pyramid):
        metadata = array_metadata(
            (*lead, *level.shape), np.dtype(spec.dtype), (*single, *spec.chunks), (*lead, *spec.shards), axes
        )
        write_json(path / str(number) / "zarr.json", metadata)
    return ZarrWriter(path, spec)


def describe_multiscale(
    path: Place,
    spec: ZarrSpec,
    *,
    name: str,
    classes: Sequence[LabelClass] = (),
    named: Sequence[NamedChannel] = (),
    levels: int = 1,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Make an image of arrays that are there, by the metadata of its group; arguments as of `create_multiscale`."""
    pyramid = first_levels(spec.shape, spec.voxel_size_nm, levels)
    ome = group_attributes(
        name,
        [(str(number), level.factor) for number, level in enumerate(pyramid)],
        spec.voxel_size_nm,
        spec.origin_nm,
        channels=spec.channels,
        colors=spec.colors,
        named=named,
        classes=classes,
    )
    if path.parent.name == "labels" and "image-label" in ome:
        ome["image-label"]["source"] = {"image": "../../"}
    _write_group(path, {"ome": ome} | ({"cristae": dict(attributes)} if attributes else {}))
    if path.parent.name == "labels":
        _list_label(path)


def open_writer(path: Place) -> ZarrWriter:
    """Continue writing an image that `create_multiscale` made.

    Raises:
        MissingFileError: There is no such group.
        FormatError: It was not made by `create_multiscale`.
    """
    group = _require_node(path)
    array = _require_node(path / "0")
    multiscale = find_multiscale(group.attributes, path)
    codecs = array.metadata.get("codecs") or [{}]
    if multiscale is None or array.version != 3 or codecs[0].get("name") != "sharding_indexed":
        raise FormatError(f"{path}: is not a sharded OME-Zarr 0.5 image made by Cristae, so writing cannot continue")
    shape = array.metadata["shape"]
    shards = array.metadata["chunk_grid"]["configuration"]["chunk_shape"]
    chunks = codecs[0]["configuration"]["chunk_shape"]
    _, calibration = read_geometry(multiscale, "0", len(shape), path)
    spec = ZarrSpec(
        shape=tuple(shape[-3:]),
        dtype=np.dtype(array.metadata["data_type"]),
        chunks=tuple(chunks[-3:]),
        shards=tuple(shards[-3:]),
        voxel_size_nm=calibration.voxel_size_nm,
        origin_nm=calibration.origin_nm,
        channels=shape[0] if len(shape) == 4 else None,
        colors=color_samples(group.attributes),
    )
    return ZarrWriter(path, spec)


def open_ome_zarr(
    path: str | Place, array: str = "", *, reading: Reading = Reading(), cache_bytes: int | None = None
) -> Image:
    """Open an image inside a Zarr hierarchy; nothing but metadata is read.

    Args:
        path: The root of the hierarchy, or any group or array in it.
        array: Inner path of a group or an array; empty means the finest level of the image at `path`.
        reading: What the person says about it; a channel is needed when there are several.
        cache_bytes: Ceiling of the cache of decoded chunks that all images opened with the same ceiling share; None for
            that of other formats.

    Raises:
        MissingFileError: There is nothing at this path.
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: The metadata are damaged, the array has axes that make no volume, or holds several images.
    """
    root = place_of(path)
    where = root / array.strip("/") if array.strip("/") else root
    unnamed = isinstance(where, Path) and is_zarr(where)  # a group of version 2 needs no metadata of its own
    start = find_node(where) or (Node(where, "group", 2, {}, {}) if unnamed else _require_node(where))
    node, geometry, group = _locate(start, reading)
    voxels = open_lazy(node, cache_bytes=cache_bytes)
    if geometry is None:
        geometry = plain_geometry(node, voxels.shape, reading)
    return _image(where, node, voxels, geometry, group, reading)


def read_label_classes(path: Place) -> tuple[LabelClass, ...]:
    """Ids, names and colours of the classes of a label image; empty when it lists none."""
    return label_classes(_require_node(path).attributes)


def list_images(path: Place) -> tuple[str, ...]:
    """Inner paths of the images and arrays of a group that holds several; empty for one that is an image itself."""
    node = find_node(path)
    if node is None and (isinstance(path, Address) or not path.is_dir()):
        return ()
    if node is not None and (node.kind == "array" or len(_images_of(node)) == 1):
        return ()
    _refuse_plate(path, node)
    if node is not None and _images_of(node):
        return tuple(dataset_paths(scale)[0] for scale in _images_of(node))
    arrays = find_arrays(path)
    return () if finest_level(arrays) else arrays


def list_labels(path: Place) -> tuple[str, ...]:
    """Names of the label images that belong to an image; empty when there are none."""
    node = find_node(path / "labels")
    listed = ome_attributes(node.attributes).get("labels") if node is not None else None
    return tuple(name for name in listed if isinstance(name, str)) if isinstance(listed, list) else ()


def read_attributes(path: Place) -> dict[str, Any]:
    """What is stored under the group attribute `cristae`; empty when there is nothing."""
    stored = _require_node(path).attributes.get("cristae", {})
    if not isinstance(stored, dict):
        raise FormatError(f"{path}: the attribute 'cristae' is damaged; expected an object")
    return stored


def write_attributes(path: Place, attributes: Mapping[str, Any]) -> None:
    """Set the given entries under the group attribute `cristae` in one step; other entries stay."""
    node = _require_node(path)
    if node.version != 3:
        raise FormatError(f"{path}: attributes are only written to Zarr 3 groups")
    merged = node.attributes | {"cristae": read_attributes(path) | dict(attributes)}
    write_json(path / "zarr.json", node.metadata | {"attributes": merged})


def write_label_list(labels: Place, names: Sequence[str]) -> None:
    """Say which label images belong to an image, in the folder `labels` that holds them."""
    parent = find_node(labels)
    attributes = parent.attributes if parent is not None else {}
    ome = {"version": "0.5", **ome_attributes(attributes)}
    _write_group(labels, attributes | {"ome": ome | {"labels": list(names)}})


def _check_spec(spec: ZarrSpec) -> None:
    if min(spec.shape) < 1 or (spec.channels is not None and spec.channels < 1):
        raise ValueError(f"an image of shape {spec.shape} holds no voxels")
    if any(chunk < 1 or shard % chunk for chunk, shard in zip(spec.chunks, spec.shards, strict=True)):
        raise ValueError(f"shards {spec.shards} are not a multiple of chunks {spec.chunks}")
    if spec.colors > 1 and spec.channels != spec.colors:
        raise ValueError(f"{spec.colors} colours need as many channels, not {spec.channels}")


def _write_group(path: Place, attributes: Mapping[str, Any]) -> None:
    write_json(path / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})


def _list_label(path: Place) -> None:
    names = list_labels(path.parent.parent)
    if path.name not in names:
        write_label_list(path.parent, (*names, path.name))


def _require_node(path: Place) -> Node:
    node = find_node(path)
    if node is None:
        if isinstance(path, Address):
            raise MissingFileError(f"{path}: {(path / 'zarr.json').why_missing()}{_labels_near(path)}")
        if path.exists():
            raise FormatError(f"{path}: is not part of a Zarr hierarchy (no zarr.json, .zarray or .zgroup)")
        raise MissingFileError(f"{path}: does not exist{_labels_near(path)}")
    return node


def _labels_near(path: Place) -> str:
    """The label images of the hierarchy that `path` was looked for in, for a message."""
    for parent in places_above(path)[:3]:
        if names := list_labels(parent):
            return f"; the label images there are {', '.join(f'{parent}:/labels/{name}' for name in names)}"
    return ""


def _images_of(group: Node) -> tuple[Mapping[str, Any], ...]:
    return multiscales_of(group.attributes, group.path)


def _locate(node: Node, reading: Reading) -> tuple[Node, Geometry | None, Node | None]:
    """The array that a group or array stands for, with its geometry and group where an image description exists."""
    if node.kind == "array":
        place = node.path.absolute()
        for parent in places_above(place)[:2]:
            inner = inner_path(place, parent)
            group = find_node(parent)
            for multiscale in _images_of(group) if group is not None else ():
                if group is not None and inner in dataset_paths(multiscale):
                    return node, _geometry(multiscale, inner, node, group, reading), group
        return node, None, None
    _refuse_plate(node.path, node)
    multiscale_of = find_multiscale(node.attributes, node.path)
    if multiscale_of is not None:
        inner = dataset_paths(multiscale_of)[0]
        array = find_node(node.path / inner)
        if array is None or array.kind != "array":
            raise FormatError(f"{node.path}: lists the array '{inner}', but it is not there; the copy is incomplete")
        return array, _geometry(multiscale_of, inner, array, node, reading), node
    arrays = find_arrays(node.path)
    chosen = arrays[0] if len(arrays) == 1 else finest_level(arrays)
    if chosen is not None:
        return _locate(_require_node(node.path / chosen), reading)
    listed = ", ".join(f"{node.path}:/{inner}" for inner in arrays[:8])
    found = f"several arrays; name one of them: {listed}" if arrays else "no arrays"
    raise FormatError(f"{node.path}: is a Zarr group without image metadata that holds {found}")


def _refuse_plate(path: Place, group: Node | None) -> None:
    """A plate or a well holds many unrelated images."""
    ome = ome_attributes(group.attributes) if group is not None else {}
    kind = next((kind for kind in ("plate", "well") if kind in ome), None)
    if kind is not None:
        arrays = find_arrays(path)
        example = f", for instance {path}:/{arrays[0]}" if arrays else ""
        raise FormatError(f"{path}: is a {kind} of high-content screening with many images; name one field{example}")


def _geometry(multiscale: Mapping[str, Any], inner: str, array: Node, group: Node, reading: Reading) -> Geometry:
    shape = array.metadata.get("shape")
    if not isinstance(shape, list):
        raise FormatError(f"{array.path}: the array's metadata have no shape; they are damaged")
    return read_geometry(multiscale, inner, len(shape), group.path, reading)


def _image(
    where: Place, node: Node, voxels: LazyArray, geometry: Geometry, group: Node | None, reading: Reading
) -> Image:
    axes, calibration = geometry
    attributes = group.attributes if group is not None else {}
    classes = label_classes(attributes)
    version = ome_version(attributes) if group else "no (plain Zarr array)"
    details = {"OME-Zarr": version, **{f"label {value}": label for value, label, _ in classes}}
    if not holds_chunks(node.path):
        details["note"] = NO_CHUNKS
    stored = StoredArray(
        where=str(where),
        axes=axis_names(axes, reading, str(where)),
        shape=voxels.shape,
        dtype=voxels.dtype,
        chunks=voxels.chunks,
        read=voxels.read,
        channel_names=channel_names(attributes),
        colors=color_samples(attributes) > 1,
        details=details,
    )
    format_name = "ome-zarr" if group is not None else "zarr"
    try:
        image = open_stored(stored, where, format=format_name, reading=reading, calibration=calibration)
    except ChannelError as error:
        hint = ", ".join(f"{where}:/labels/{name}" for name in list_labels(where))
        raise ChannelError(f"{error}{f'; its label images are {hint}' if hint else ''}", error.channels) from None
    return replace(image, palette=_palette(classes))


def _palette(classes: Sequence[LabelClass]) -> tuple[str, ...] | None:
    if not classes or not 0 <= classes[0][0] <= classes[-1][0] < 256:
        return None
    colors = {value: color for value, _, color in classes}
    return tuple(colors.get(value, "#000000") for value in range(classes[-1][0] + 1))
