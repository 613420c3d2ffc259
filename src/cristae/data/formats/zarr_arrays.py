"""Zarr arrays, version 2 and 3: what their metadata say, and blocks read and written with tensorstore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cristae.data.address import Address, Place, inner_path
from cristae.data.formats.json_file import as_object, load_if_there, load_object, object_in
from cristae.data.formats.tensor_store import (
    LazyArray,
    begin_block,
    lazy_array,
    open_store,
    read_block,
    subfolders,
    write_block,
)
from cristae.data.formats.zarr_codecs import needs_zarr_python, not_opened, open_with_zarr_python
from cristae.errors import FormatError

__all__ = [
    "Node",
    "array_metadata",
    "begin_block",
    "find_arrays",
    "find_node",
    "open_array",
    "open_lazy",
    "read_block",
    "write_block",
]


@dataclass(frozen=True)
class Node:
    """A group or an array of a Zarr hierarchy, as its metadata say."""

    path: Place
    kind: str
    """'group' or 'array'."""
    version: int
    """Zarr format: 2 or 3."""
    attributes: dict[str, Any]
    metadata: dict[str, Any]
    """The array's own metadata; empty for groups of version 2."""
    consolidated: bool = False
    """Whether the metadata stand only in the folder above."""


def find_node(path: Place) -> Node | None:
    """The node at `path`, or None when there is none.

    Raises:
        MissingFileError: There are metadata that may not be read.
        FormatError: There are metadata, but they are not JSON objects.
    """
    if isinstance(path, Address):
        return _node_at(path)
    if (path / "zarr.json").is_file():
        return _node_of_3(path, load_object(path / "zarr.json"))
    attributes = load_object(path / ".zattrs") if (path / ".zattrs").is_file() else {}
    if (path / ".zarray").is_file():
        return Node(path, "array", 2, attributes, load_object(path / ".zarray"))
    if (path / ".zgroup").is_file() or attributes:
        return Node(path, "group", 2, attributes, {})
    return _consolidated(path) if path.is_dir() else None


def _node_at(address: Address) -> Node | None:
    """The node at an address, asked for in one go."""
    names = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
    contents = zip(names, address.find(names), strict=True)
    found = {name: object_in(content, address / name) for name, content in contents if content is not None}
    if "zarr.json" in found:
        return _node_of_3(address, found["zarr.json"])
    attributes = found.get(".zattrs", {})
    if ".zarray" in found:
        return Node(address, "array", 2, attributes, found[".zarray"])
    if ".zgroup" in found or attributes:
        return Node(address, "group", 2, attributes, {})
    return _consolidated(address)


def find_arrays(path: Place, *, depth: int = 4) -> tuple[str, ...]:
    """Inner paths of the images and plain arrays below a group, a few levels deep, in order of name.

    Folders without metadata count as groups, as in Zarr 2.
    """
    if isinstance(path, Address):
        return _arrays_at(path)
    found: list[str] = []
    for folder in subfolders(path):
        node = find_node(folder)
        if node is not None and (node.kind == "array" or _is_image(node)):
            found.append(folder.name)
        elif depth > 1:
            found.extend(f"{folder.name}/{inner}" for inner in find_arrays(folder, depth=depth - 1))
    return tuple(found)


def _arrays_at(group: Address) -> tuple[str, ...]:
    """The arrays that consolidated metadata list: a store would have to list all chunks to find them.

    Raises:
        FormatError: There are no such metadata.
    """
    two, three = (load_if_there(group / name) for name in (".zmetadata", "zarr.json"))
    together = three.get("consolidated_metadata")
    listed = two.get("metadata") or (together.get("metadata") if isinstance(together, dict) else None)
    if isinstance(listed, dict):
        arrays = {name.removesuffix("/.zarray") for name in listed if name.endswith("/.zarray")}
        of_three = {
            name for name, node in listed.items() if isinstance(node, dict) and node.get("node_type") == "array"
        }
        return tuple(sorted(arrays | of_three))
    if find_node(group / "s0") is not None:
        return ("s0",)
    raise FormatError(f"{group}: is a group whose arrays a store cannot list; name one of them: {group}:/NAME")


def _node_of_3(path: Place, metadata: dict[str, Any], *, consolidated: bool = False) -> Node:
    kind = metadata.get("node_type")
    if kind not in ("group", "array"):
        raise FormatError(f"{path / 'zarr.json'}: node_type is {kind!r}; expected 'group' or 'array'")
    return Node(path, kind, 3, as_object(metadata.get("attributes") or {}, path), metadata, consolidated)


def _consolidated(path: Place) -> Node | None:
    """A node whose metadata stand only in a folder above, together with those of the others."""
    place = path.absolute()
    for root in (place, *place.parents[:4]):
        inner = inner_path(place, root)
        if (root / ".zmetadata").is_file():
            found = load_object(root / ".zmetadata").get("metadata")
            return _node_of_2(path, found, f"{inner}/" if inner else "") if isinstance(found, dict) else None
        if root != place and (root / "zarr.json").is_file():
            together = load_object(root / "zarr.json").get("consolidated_metadata")
            found = together.get("metadata") if isinstance(together, dict) else None
            described = found.get(inner) if isinstance(found, dict) else None
            return _node_of_3(path, described, consolidated=True) if isinstance(described, dict) else None
    return None


def _node_of_2(path: Place, found: Mapping[str, Any], inner: str) -> Node | None:
    attributes = found.get(f"{inner}.zattrs")
    attributes = attributes if isinstance(attributes, dict) else {}
    array = found.get(f"{inner}.zarray")
    if isinstance(array, dict):
        return Node(path, "array", 2, attributes, array, consolidated=True)
    return Node(path, "group", 2, attributes, {}, consolidated=True) if f"{inner}.zgroup" in found else None


def open_array(node: Node, *, cache_bytes: int | None = None) -> Any:
    """A tensorstore of the array, for those who write it too; checked to hold plain numbers.

    Raises:
        FormatError: The metadata do not describe such an array, or use a codec that tensorstore does not know.
    """
    try:
        store = _open(node, cache_bytes)
        lazy_array(store, str(node.path))
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(not_opened(node.path, node.metadata, error)) from error
    return store


def open_lazy(node: Node, *, cache_bytes: int | None = None) -> LazyArray:
    """The array, read with tensorstore, or with zarr-python where only that knows its codecs.

    Raises:
        FormatError: The metadata do not describe an array of plain numbers, or a codec is not known or not safe.
    """
    where = str(node.path)
    try:
        return lazy_array(_open(node, cache_bytes), where)
    except FormatError:
        raise
    except Exception as error:
        if needs_zarr_python(node.metadata):
            return open_with_zarr_python(node.path, node.version)
        raise FormatError(not_opened(node.path, node.metadata, error)) from error


def _open(node: Node, cache_bytes: int | None) -> Any:
    spec: dict[str, Any] = {"driver": "zarr3" if node.version == 3 else "zarr"}
    metadata = node.metadata
    if node.version == 3 and metadata.get("fill_value", 0) is None:  # which early writers of version 3 left open
        metadata = {**metadata, "fill_value": metadata.get("data_type") != "bool" and 0}
    if node.consolidated or metadata is not node.metadata:
        spec |= {"metadata": metadata, "assume_metadata": True}
    return open_store(spec, node.path, cache_bytes=cache_bytes)


def array_metadata(
    shape: Sequence[int], dtype: np.dtype[Any], chunks: Sequence[int], shards: Sequence[int], axes: Sequence[str]
) -> dict[str, Any]:
    """The `zarr.json` of an empty, sharded, zstd-compressed array of Zarr version 3."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    plain = {"name": "bytes"} if dtype.itemsize == 1 else little
    sharding = {
        "chunk_shape": list(chunks),
        "codecs": [plain, {"name": "zstd", "configuration": {"level": 1, "checksum": True}}],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shards)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0 if dtype.kind == "f" else 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "dimension_names": list(axes),
    }


def _is_image(node: Node) -> bool:
    inner = node.attributes.get("ome")
    return "multiscales" in node.attributes or (isinstance(inner, dict) and "multiscales" in inner)
