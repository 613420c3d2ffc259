"""OME-Zarr, the home format: version 0.5 (sharded Zarr 3) is written, 0.1 to 0.5 and plain Zarr arrays are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.files import require_new, write_json
from cristae.data.formats.ngff import (
    Geometry,
    LabelClass,
    color_samples,
    dataset_paths,
    find_multiscale,
    group_attributes,
    label_classes,
    ome_attributes,
    ome_version,
    read_geometry,
)
from cristae.data.formats.pyramid import Level, Method, build_pyramid, first_levels, pyramid_levels
from cristae.data.formats.zarr_arrays import (
    CACHE_BYTES,
    Node,
    array_metadata,
    find_arrays,
    find_node,
    open_array,
    read_block,
    read_chunks,
    write_block,
)
from cristae.data.image import Image, VoxelSize
from cristae.errors import FormatError, MissingFileError

__all__ = [
    "LabelClass",
    "Level",
    "Method",
    "ZarrSpec",
    "ZarrWriter",
    "build_pyramid",
    "count_channels",
    "create_multiscale",
    "list_labels",
    "open_ome_zarr",
    "open_writer",
    "pyramid_levels",
    "read_attributes",
    "read_label_classes",
    "write_attributes",
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
    origin_nm: VoxelSize = (0.0, 0.0, 0.0)
    channels: int | None = None
    """Length of a leading channel axis; the array is then (C, Z, Y, X). A shard holds all channels, a chunk one."""
    colors: int = 1
    """2 to 4 when the channels are the samples of a colour image (grey and alpha, RGB, RGBA)."""


class ZarrWriter:
    """Writes blocks of the finest level. Blocks that are whole shards may come from any number of threads."""

    def __init__(self, path: Path, spec: ZarrSpec) -> None:
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
    path: Path,
    spec: ZarrSpec,
    *,
    name: str,
    classes: Sequence[LabelClass] = (),
    levels: int = 1,
    attributes: Mapping[str, Any] | None = None,
) -> ZarrWriter:
    """Make an OME-Zarr 0.5 image whose levels are all there and empty (zero).

    A group made inside a folder called `labels` is listed in that folder's metadata, as NGFF asks.

    Args:
        path: The new group.
        spec: The finest level.
        name: What viewers show.
        classes: Id, name and colour of each class when this is a label image.
        levels: Number of resolutions, see `pyramid_levels`.
        attributes: Stored under the group attribute `cristae`.

    Raises:
        OutputExistsError: There is something at `path`.
        ValueError: The spec is inconsistent.
    """
    _check_spec(spec)
    require_new(path, what="the image")
    pyramid = first_levels(spec.shape, spec.voxel_size_nm, levels)
    lead = () if spec.channels is None else (spec.channels,)
    single = () if spec.channels is None else (1,)
    axes = ("z", "y", "x") if spec.channels is None else ("c", "z", "y", "x")
    for number, level in enumerate(pyramid):
        metadata = array_metadata(
            (*lead, *level.shape), np.dtype(spec.dtype), (*single, *spec.chunks), (*lead, *spec.shards), axes
        )
        write_json(path / str(number) / "zarr.json", metadata)
    ome = group_attributes(
        name,
        [(str(number), level.factor) for number, level in enumerate(pyramid)],
        spec.voxel_size_nm,
        spec.origin_nm,
        channels=spec.channels,
        colors=spec.colors,
        classes=classes,
    )
    if path.parent.name == "labels" and "image-label" in ome:
        ome["image-label"]["source"] = {"image": "../../"}
    _write_group(path, {"ome": ome} | ({"cristae": dict(attributes)} if attributes else {}))
    if path.parent.name == "labels":
        _list_label(path)
    return ZarrWriter(path, spec)


def open_writer(path: Path) -> ZarrWriter:
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
    geometry = read_geometry(multiscale, "0", len(shape), path)
    spec = ZarrSpec(
        shape=tuple(shape[-3:]),
        dtype=np.dtype(array.metadata["data_type"]),
        chunks=tuple(chunks[-3:]),
        shards=tuple(shards[-3:]),
        voxel_size_nm=geometry.voxel_size_nm,
        origin_nm=geometry.origin_nm,
        channels=shape[0] if len(shape) == 4 else None,
        colors=color_samples(group.attributes),
    )
    return ZarrWriter(path, spec)


def open_ome_zarr(
    path: str | Path, array: str = "", *, channel: int | None = None, cache_bytes: int = CACHE_BYTES
) -> Image:
    """Open an image inside a Zarr hierarchy; nothing but metadata is read.

    Args:
        path: The root of the hierarchy, or any group or array in it.
        array: Inner path of a group or an array; empty means the finest level of the image at `path`.
        channel: Which one of several channels; needed when there are several.
        cache_bytes: Ceiling of the cache of decoded chunks that all images opened with the same ceiling share.

    Raises:
        MissingFileError: There is nothing at this path.
        FormatError: The metadata are damaged, the array has axes that make no volume, or holds several images.
    """
    where = Path(path) / array.strip("/") if array.strip("/") else Path(path)
    node, geometry, group = _locate(_require_node(where))
    store = open_array(node, cache_bytes=cache_bytes)
    if geometry is None:
        geometry = _plain_geometry(node, len(store.shape))
    return _image(where, store, geometry, group, channel)


def read_label_classes(path: Path) -> tuple[LabelClass, ...]:
    """Ids, names and colours of the classes of a label image; empty when it lists none."""
    return label_classes(_require_node(path).attributes)


def list_labels(path: Path) -> tuple[str, ...]:
    """Names of the label images that belong to an image; empty when there are none."""
    node = find_node(path / "labels")
    listed = ome_attributes(node.attributes).get("labels") if node is not None else None
    return tuple(name for name in listed if isinstance(name, str)) if isinstance(listed, list) else ()


def count_channels(path: Path) -> int:
    """How many separate channels an image has; 1 for a colour image, whose samples belong together."""
    node, geometry, group = _locate(_require_node(path))
    if geometry is None or "c" not in geometry.axes or (group is not None and color_samples(group.attributes) > 1):
        return 1
    return int(node.metadata["shape"][geometry.axes.index("c")])


def read_attributes(path: Path) -> dict[str, Any]:
    """What is stored under the group attribute `cristae`; empty when there is nothing."""
    stored = _require_node(path).attributes.get("cristae", {})
    if not isinstance(stored, dict):
        raise FormatError(f"{path}: the attribute 'cristae' is damaged; expected an object")
    return stored


def write_attributes(path: Path, attributes: Mapping[str, Any]) -> None:
    """Set the given entries under the group attribute `cristae` in one step; other entries stay."""
    node = _require_node(path)
    if node.version != 3:
        raise FormatError(f"{path}: attributes are only written to Zarr 3 groups")
    merged = node.attributes | {"cristae": read_attributes(path) | dict(attributes)}
    write_json(path / "zarr.json", node.metadata | {"attributes": merged})


def _check_spec(spec: ZarrSpec) -> None:
    if min(spec.shape) < 1 or (spec.channels is not None and spec.channels < 1):
        raise ValueError(f"an image of shape {spec.shape} holds no voxels")
    if any(chunk < 1 or shard % chunk for chunk, shard in zip(spec.chunks, spec.shards, strict=True)):
        raise ValueError(f"shards {spec.shards} are not a multiple of chunks {spec.chunks}")
    if spec.colors > 1 and spec.channels != spec.colors:
        raise ValueError(f"{spec.colors} colours need as many channels, not {spec.channels}")


def _write_group(path: Path, attributes: Mapping[str, Any]) -> None:
    write_json(path / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})


def _list_label(path: Path) -> None:
    parent = find_node(path.parent)
    attributes = parent.attributes if parent is not None else {}
    ome = {"version": "0.5", **ome_attributes(attributes)}
    labels = [*ome.get("labels", [])]
    if path.name not in labels:
        labels.append(path.name)
    _write_group(path.parent, attributes | {"ome": ome | {"labels": labels}})


def _require_node(path: Path) -> Node:
    node = find_node(path)
    if node is None:
        if path.exists():
            raise FormatError(f"{path}: is not part of a Zarr hierarchy (no zarr.json, .zarray or .zgroup)")
        raise MissingFileError(f"{path}: does not exist{_labels_near(path)}")
    return node


def _labels_near(path: Path) -> str:
    """The label images of the hierarchy that `path` was looked for in, for a message."""
    for parent in list(path.parents)[:3]:
        if names := list_labels(parent):
            return f"; the label images there are {', '.join(f'{parent}:/labels/{name}' for name in names)}"
    return ""


def _locate(node: Node) -> tuple[Node, Geometry | None, Node | None]:
    """The array that a group or array stands for, with its geometry and group where an image description exists."""
    if node.kind == "array":
        place = node.path.absolute()
        for parent in list(place.parents)[:2]:
            inner = place.relative_to(parent).as_posix()
            group = find_node(parent)
            multiscale = find_multiscale(group.attributes, parent) if group is not None else None
            if group is not None and multiscale is not None and inner in dataset_paths(multiscale):
                return node, _geometry(multiscale, inner, node, group), group
        return node, None, None
    multiscale = find_multiscale(node.attributes, node.path)
    if multiscale is not None:
        inner = dataset_paths(multiscale)[0]
        array = find_node(node.path / inner)
        if array is None or array.kind != "array":
            raise FormatError(f"{node.path}: lists the array '{inner}', but it is not there; the copy is incomplete")
        return array, _geometry(multiscale, inner, array, node), node
    arrays = find_arrays(node.path)
    if len(arrays) == 1:
        return _locate(_require_node(node.path / arrays[0]))
    listed = ", ".join(f"{node.path}:/{inner}" for inner in arrays[:8])
    found = f"several arrays; name one of them: {listed}" if arrays else "no arrays"
    raise FormatError(f"{node.path}: is a Zarr group without image metadata that holds {found}")


def _geometry(multiscale: Mapping[str, Any], inner: str, array: Node, group: Node) -> Geometry:
    shape = array.metadata.get("shape")
    if not isinstance(shape, list):
        raise FormatError(f"{array.path}: the array's metadata have no shape; they are damaged")
    return read_geometry(multiscale, inner, len(shape), group.path)


def _plain_geometry(node: Node, ndim: int) -> Geometry:
    names = node.metadata.get("dimension_names") or node.attributes.get("_ARRAY_DIMENSIONS")
    if isinstance(names, list) and len(names) == ndim and all(isinstance(name, str) for name in names):
        return Geometry(tuple(name.lower() for name in names))
    if ndim in (2, 3):
        return Geometry(("z", "y", "x")[3 - ndim :])
    raise FormatError(
        f"{node.path}: has {ndim} axes without names; expected z, y, x. Add dimension names or OME metadata"
    )


def _image(where: Path, store: Any, geometry: Geometry, group: Node | None, channel: int | None) -> Image:
    axes = geometry.axes
    if len(set(axes)) != len(axes):
        raise FormatError(f"{where}: names an axis twice: {','.join(axes)}")
    sizes = dict(zip(axes, (int(size) for size in store.shape), strict=True))
    colors = color_samples(group.attributes) if group is not None and channel is None else 1
    _check_axes(where, sizes, channel, colors)
    classes = label_classes(group.attributes) if group is not None else ()
    chunks = dict(zip(axes, read_chunks(store), strict=True))
    details = {"axes": ",".join(axes), "OME-Zarr": ome_version(group.attributes) if group else "no (plain Zarr array)"}
    if geometry.note:
        details["voxel size"] = geometry.note
    details |= {f"label {value}": label for value, label, _ in classes}

    kept = [axis for axis in axes if axis in "zyx" or (axis == "c" and colors > 1)]
    order = [kept.index(axis) for axis in "zyxc" if axis in kept]

    def read(box: Box) -> np.ndarray:
        pick: dict[str, slice | int] = {"t": 0, "c": slice(None) if colors > 1 else channel or 0}
        pick |= dict(zip("zyx", box.slices, strict=True))
        voxels = read_block(store, tuple(pick[axis] for axis in axes), where).transpose(order)
        voxels = voxels if "z" in axes else voxels[None]
        return voxels if voxels.flags.c_contiguous and voxels.flags.writeable else voxels.copy()

    dtype = np.dtype(store.dtype.numpy_dtype)
    return Image(
        path=where,
        format="ome-zarr" if group is not None else "zarr",
        shape=(sizes.get("z", 1), sizes["y"], sizes["x"]),
        dtype=np.dtype(np.uint8) if dtype.kind == "b" else dtype,
        reader=read,
        colors=colors,
        chunks=(chunks.get("z", 1), chunks["y"], chunks["x"]),
        voxel_size_nm=geometry.voxel_size_nm,
        origin_nm=geometry.origin_nm,
        palette=_palette(classes),
        details=details,
    )


def _check_axes(where: Path, sizes: Mapping[str, int], channel: int | None, colors: int) -> None:
    names = "".join(sizes)
    if set(names) - set("tczyx") or not {"y", "x"} <= set(sizes):
        raise FormatError(f"{where}: has axes {','.join(sizes)}; expected z, y, x, with t and c of length 1 at most")
    if sizes.get("t", 1) > 1:
        raise FormatError(f"{where}: has {sizes['t']} time points; expected one volume. Save one of them by itself")
    many = sizes.get("c", 1)
    if channel is not None and not 0 <= channel < many:
        raise FormatError(f"{where}: has {many} channels; there is no channel {channel}")
    if many > 1 and colors == 1 and channel is None:
        hint = ", ".join(f"{where}:/labels/{name}" for name in list_labels(where))
        raise FormatError(
            f"{where}: has {many} channels; expected one. Save one of them by itself"
            + (f"; its label images are {hint}" if hint else "")
        )


def _palette(classes: Sequence[LabelClass]) -> tuple[str, ...] | None:
    if not classes or not 0 <= classes[0][0] <= classes[-1][0] < 256:
        return None
    colors = {value: color for value, _, color in classes}
    return tuple(colors.get(value, "#000000") for value in range(classes[-1][0] + 1))
