"""N5 containers, as Paintera, BigDataViewer, n5-viewer and COSEM write them; read with tensorstore.

https://github.com/saalfeldlab/n5 lists axes fastest first (x, y, z); images are z, y, x.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cristae.data.address import Address, Place, inner_path, places_above
from cristae.data.formats.array_groups import finest_level, measured
from cristae.data.formats.json_file import load_if_there
from cristae.data.formats.paths import Reading, is_missing, is_n5
from cristae.data.formats.stored import StoredArray, assumed_axes, axis_names, open_stored
from cristae.data.formats.tensor_store import (
    NO_CHUNKS,
    LazyArray,
    holds_chunks,
    lazy_array,
    open_store,
    reason,
    subfolders,
)
from cristae.data.formats.units import Calibration
from cristae.data.image import Image
from cristae.errors import FormatError, MissingFileError

_TYPES = frozenset({*(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)), "float32", "float64"})
_COMPRESSIONS = ("raw", "gzip", "bzip2", "xz", "blosc", "zstd")
_TABLES = frozenset({"unique-labels", "label-to-block-mapping", "fragment-segment-assignment"})
"""What Paintera keeps beside the voxels of labels."""
_BIGDATAVIEWER = re.compile(r"(^|/)setup\d+/timepoint\d+/s\d+$")
_DEPTH = 6


def open_n5(path: Place, inner: str = "", *, reading: Reading = Reading()) -> Image:
    """Open one array of an N5 container; nothing but metadata is read.

    Axes come from the attribute `axes`, else x, y and z are assumed; voxel size and origin from the attributes of the
    array or of its groups (see `conventions`).

    Args:
        path: The container, or a group or array in it.
        inner: Inner path of a group or an array; of a pyramid s0, s1, ... the finest level is opened.
        reading: What the person says about it; axes in the order of N5, such as xyzc.

    Raises:
        MissingFileError: There is nothing at this path.
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: The metadata are damaged, there are several arrays, or the array is no volume.
    """
    where = path / inner if inner else path
    if is_missing(where):
        raise MissingFileError(f"{where}: does not exist{_listed(path, ' in the container; its arrays are ')}")
    place = _choose(where)
    attributes = _attributes(place)
    above = _above(place)
    _refuse_multisets(place, (attributes, *above))
    array = _open(place, attributes)
    listed = _axes(place, attributes, array.shape[::-1], reading)
    axes = listed[::-1]
    stored = StoredArray(
        where=str(place),
        axes=axes,
        shape=array.shape,
        dtype=array.dtype,
        chunks=array.chunks,
        read=array.read,
        details={
            "array": place.name if place == where else inner_path(place, where),
            "compression": str(_compression(attributes).get("type")),
            **({} if holds_chunks(place) else {"note": NO_CHUNKS}),
        },
    )
    return open_stored(
        stored, where, format="n5", reading=reading, calibration=_calibration(place, attributes, above, axes)
    )


def list_n5(path: Place) -> tuple[str, ...]:
    """Inner paths of the arrays of at least two axes that hold numbers; of a pyramid, its group.

    Raises:
        FormatError: Metadata are damaged.
    """
    if isinstance(path, Address):
        raise FormatError(f"{path}: is a group whose arrays a store cannot list; name one of them: {path}:/NAME")
    return tuple(_below(path, "", _DEPTH))


def _below(folder: Path, inner: str, depth: int) -> list[str]:
    attributes = _attributes(folder)
    if "dimensions" in attributes:
        wide = isinstance(attributes["dimensions"], list) and len(attributes["dimensions"]) > 1
        return [inner] if wide and str(attributes.get("dataType")) in _TYPES else []
    if depth == 0:
        return []
    children = [child for child in subfolders(folder) if child.name not in _TABLES]
    arrays = [child.name for child in children if "dimensions" in _attributes(child)]
    if inner and len(arrays) == len(children) and finest_level(arrays):
        return [inner]
    lead = f"{inner}/" if inner else ""
    return [found for child in children for found in _below(child, f"{lead}{child.name}", depth - 1)]


def _choose(where: Place) -> Place:
    """The array that a container, group or array stands for."""
    if "dimensions" in _attributes(where):
        return where
    if "dimensions" in _attributes(where / "s0"):
        return where / "s0"
    arrays = list_n5(where)
    if len(arrays) == 1:
        return _choose(where / arrays[0])
    found = f"{len(arrays)} arrays; name one of them{_listed(where, ': ')}" if arrays else "no arrays of numbers"
    raise FormatError(f"{where}: is an N5 group that holds {found}")


def _listed(path: Place, lead: str) -> str:
    names = list_n5(path) if isinstance(path, Path) and path.is_dir() else ()
    return lead + ", ".join(f"{path}:/{name}" for name in names[:8]) if names else ""


def _attributes(folder: Place) -> dict[str, Any]:
    return load_if_there(folder / "attributes.json")


def _above(place: Place) -> list[dict[str, Any]]:
    """Attributes of the group of an array and of the group around that, inside the container."""
    found: list[dict[str, Any]] = []
    for folder in places_above(place)[:2]:
        if found and "n5" in found[-1]:
            break
        found.append(_attributes(folder) if is_n5(folder) else {})
    return found


def _refuse_multisets(place: Place, described: Sequence[Mapping[str, Any]]) -> None:
    if any(attributes.get("isLabelMultiset") is True for attributes in described):
        raise FormatError(
            f"{place}: holds label multisets, which are not read; export the labels as uint64 from Paintera, or name "
            "another array"
        )


def _open(place: Place, attributes: Mapping[str, Any]) -> LazyArray:
    """The array z, y, x.

    tensorstore is given only what it needs: it refuses attributes such as `units: "nm"`, which others write.
    """
    compression = _compression(attributes)
    kind, name = attributes.get("dataType"), compression.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise FormatError(f"{place}: holds '{kind}' values; expected integers or floats. Name another array")
    if name not in _COMPRESSIONS:
        raise FormatError(
            f"{place}: N5 blocks compressed by '{name}' are not read; write the array again, compressed by gzip or zstd"
        )
    metadata = {key: attributes.get(key) for key in ("dimensions", "blockSize", "dataType")}
    if isinstance(metadata["dimensions"], list) and 0 in metadata["dimensions"]:
        raise FormatError(f"{place}: the array of dimensions {metadata['dimensions']} holds no voxels")
    spec = {"driver": "n5", "metadata": {**metadata, "compression": compression}, "assume_metadata": True}
    try:
        return lazy_array(open_store(spec, place).T, str(place))
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(
            f"{place / 'attributes.json'}: does not describe an N5 array, the metadata are damaged: {reason(error)}. "
            "Copy it again from its source"
        ) from error


def _compression(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """How blocks are compressed; N5 before 2.0 only names it."""
    stated = attributes.get("compression")
    if isinstance(stated, dict):
        return stated
    return {"type": stated or attributes.get("compressionType") or "raw"}


def _axes(place: Place, attributes: Mapping[str, Any], dimensions: Sequence[int], reading: Reading) -> tuple[str, ...]:
    """Names of the axes in the order of N5, fastest first."""
    where = str(place)
    named = attributes.get("axes")
    if isinstance(named, list) and len(named) == len(dimensions) and all(isinstance(name, str) for name in named):
        return axis_names(named, reading, where)
    if reading.axes is None and len(dimensions) in (2, 3):
        return ("x", "y", "z")[: len(dimensions)]
    if reading.axes is None:
        raise FormatError(
            f"{where}: has {len(dimensions)} axes {tuple(dimensions)} and does not say which is which. Name them in "
            "this order, x first, for instance ::axes=xyzc after the path, where c are channels"
        )
    return assumed_axes(dimensions, reading, where)


def _calibration(
    place: Place, attributes: Mapping[str, Any], above: Sequence[Mapping[str, Any]], axes: Sequence[str]
) -> Calibration:
    own = {**attributes, **above[0]}
    if _BIGDATAVIEWER.search(place.absolute().as_posix()) and "pixelResolution" not in own and "units" not in own:
        return Calibration(note="BigDataViewer keeps the voxel size in the XML file beside the container")
    if (level := _cosem_level(above[0], place.name)) and not isinstance(attributes.get("transform"), Mapping):
        return measured(place.name, {**attributes, "transform": level}, above, axes, order="xyz")
    return measured(place.name, attributes, above, axes, order="xyz")


def _cosem_level(group: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """What COSEM's `multiscales` of a group say about one level."""
    scales = group.get("multiscales")
    for scale in scales if isinstance(scales, list) else ():
        levels = scale.get("datasets") if isinstance(scale, dict) else None
        for level in levels if isinstance(levels, list) else ():
            if isinstance(level, dict) and level.get("path") == name and isinstance(level.get("transform"), dict):
                found: Mapping[str, Any] = level["transform"]
                return found
    return None
