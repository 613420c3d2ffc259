"""What the programs that write HDF5 say about an array: the names of its axes, its voxel size, how its values count.

| program | axes | voxel size |
|---|---|---|
| ilastik, Cristae | `axistags` | attributes, or `axistags` with `axis_units` |
| netCDF4, xarray | dimension scales | their coordinates and `units` |
| NeXus | `axes` of the group whose `signal` is the array | the same |
| EMD (Berkeley) | `dim1`, `dim2` ... beside `data` | the same |
| EMD (Velox) | y, x, frames | `PixelSize` of the metadata |
| MATLAB 7.3 | reversed: rows, columns, slices become z, x, y | none |
| BigDataViewer | z, y, x; 16-bit values are unsigned, though stored as signed | the `.xml` beside the file |
| others | dimension labels, else z, y, x | attributes, see `conventions` |

MATLAB: https://www.mathworks.com/help/matlab/import_export/mat-file-versions.html; NeXus: https://manual.nexusformat.org;
EMD: https://emdatasets.com/format; BigDataViewer: https://imagej.net/plugins/bdv
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np

from cristae.data.formats.conventions import attribute_calibration
from cristae.data.formats.paths import Reading
from cristae.data.formats.stored import MANY, assumed_axes, axis_names, short_name
from cristae.data.formats.units import Calibration, calibrate, offset_to_nm, to_nm
from cristae.errors import FormatError

_BDV = re.compile(r"/t\d+/s(?P<setup>\d+)/(?P<level>\d+)/cells$")
_VELOX = re.compile(r"^/Data/Image/\w+/Data$")
_OF_PROGRAMS = re.compile(r"/s\d+/(resolutions|subdivisions)$|^/Data/\w+/\w+/(Metadata|FrameLookupTable)$")
_MAX_XML_BYTES = 64 * 2**20
Coordinates = list[tuple[str, Any]]
"""Name and coordinates of each axis of an array; None where it has none."""


def is_bookkeeping(array: Any) -> bool:
    """Whether an array is a program's own table, or a coarser copy of one that is listed."""
    bdv = _BDV.search(array.name)
    coarser = bdv is not None and int(bdv["level"]) > 0 and "0/cells" in array.parent.parent
    return (
        coarser
        or _OF_PROGRAMS.search(array.name) is not None
        or _plain(array.attrs.get("CLASS", "")) == "DIMENSION_SCALE"
    )


def stored_axes(name: str, array: Any, reading: Reading) -> tuple[str, ...]:
    """Names of the axes as stored: what the person says, else what the file says, else z, y, x.

    Raises:
        FormatError: The file contradicts itself, or does not say which axis is which.
    """
    if reading.axes is not None:
        return assumed_axes(array.shape, reading, name)
    if "axistags" in array.attrs:
        return axis_names(_tagged_axes(name, array), reading, name)
    labels = _labels(array)
    if labels and all(labels):
        return axis_names(labels, reading, name)
    if named := [axis for axis, _ in _coordinates(array) if axis]:
        short = [short_name(axis) for axis in named]
        if len(set(short)) == array.ndim and set(short) <= set("tczyx"):
            return tuple(short)
    if any(labels):
        raise FormatError(
            f"{name}: names only some of its axes ({', '.join(label or '?' for label in labels)}); name all, in the "
            "order in which the file lists them: ::axes=zyx after the path"
        )
    if _VELOX.match(array.name) and array.ndim == 3:
        return ("y", "x", "t")
    if _is_matlab(array):
        return _matlab_axes(name, array.shape, array.dtype)
    if array.ndim == 4 and name.rpartition("/")[2] in ("predictions", "predictions0"):
        raise FormatError(
            f"{name}: has 4 axes {tuple(array.shape)} and does not name them; pytorch-3dunet writes channels first. If "
            "it did, say ::axes=czyx::channel=0 after the path"
        )
    return assumed_axes(array.shape, reading, name)


def array_calibration(array: Any, axes: Sequence[str]) -> Calibration:
    """Voxel size and origin by the conventions of the table above."""
    found = attribute_calibration(dict(array.attrs), axes)
    if found != Calibration():
        return found
    if "axistags" in array.attrs:
        return _tagged_calibration(array)
    if bdv := _BDV.search(array.name):
        return _bdv_calibration(array, int(bdv["setup"]), int(bdv["level"]))
    if _VELOX.match(array.name):
        return _velox_calibration(array)
    edges, places = {}, {}
    for axis, (_, coordinates) in zip(axes, _coordinates(array), strict=False):
        edges[axis], places[axis] = _spacing(coordinates)
    z, y, x = (places.get(axis) for axis in "zyx")
    origin = (z, y, x) if z is not None and y is not None and x is not None and any((z, y, x)) else None
    return calibrate([edges.get(axis) for axis in "zyx"], origin)


def counted_as(array: Any) -> np.dtype[Any]:
    """The type as which the values count: some programs store unsigned values as signed ones."""
    unsigned = str(_plain(array.attrs.get("_Unsigned", ""))).lower() == "true"
    stored: np.dtype[Any] = np.dtype(array.dtype.str)
    if stored.kind == "i" and (unsigned or (_BDV.search(array.name) and stored.itemsize == 2)):
        return np.dtype(stored.str.replace("i", "u"))
    return stored


def values_note(array: Any) -> str:
    """What the stored values are not, in words; empty where they are what they seem."""
    scale, shift = (array.attrs.get(key) for key in ("scale_factor", "add_offset"))
    if scale is None and shift is None:
        return ""
    return (
        f"values are read as stored; by the file the quantity is value x {_plain(scale) if scale is not None else 1} + "
        f"{_plain(shift) if shift is not None else 0}"
    )


def default_array(file: Any) -> str:
    """The array that a NeXus file names as its default; '' where it names none."""
    group, path = file, ""
    for _ in range(8):
        name = str(_plain(group.attrs.get("signal") or group.attrs.get("default") or ""))
        if not name or name not in group:
            return ""
        path, node = f"{path}/{name}".lstrip("/"), group[name]
        if isinstance(node, h5py.Dataset):
            return path
        group = node
    return ""


def _tagged_axes(name: str, array: Any) -> list[str]:
    try:
        axes = [str(tag["key"]) for tag in json.loads(array.attrs["axistags"])["axes"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{name}: the attribute 'axistags' is damaged: {error}") from error
    if len(axes) != array.ndim:
        raise FormatError(f"{name}: has {array.ndim} axes {array.shape}, but 'axistags' names {','.join(axes)}")
    return axes


def _tagged_calibration(array: Any) -> Calibration:
    try:
        tags = json.loads(array.attrs["axistags"])["axes"]
        edges = {tag["key"]: tag.get("resolution", 0) for tag in tags}
        units = json.loads(array.attrs.get("axis_units", "{}"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Calibration()
    # Without `axis_units` the resolutions of the tags have no unit and say nothing.
    known: Mapping[str, Any] = units if isinstance(units, dict) else {}
    return calibrate([to_nm(edges.get(axis, 0), known.get(axis)) for axis in "zyx"])


def _is_matlab(array: Any) -> bool:
    return "MATLAB_class" in array.attrs or Path(array.file.filename).suffix.lower() == ".mat"


def _matlab_axes(name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[str, ...]:
    """MATLAB counts rows, columns, slices and stores the first of them fastest."""
    extra = shape[:-3]
    if any(size > 1 for size in extra):
        raise FormatError(
            f"{name}: is a MATLAB array of {' x '.join(map(str, reversed(shape)))}; expected rows, columns, slices. "
            "HDF5 lists its axes in reverse: for rows, columns, slices, channels say ::axes=czxy after the path"
        )
    if len(shape) == 3 and shape[0] == 3 and min(shape[1:]) >= MANY and dtype == np.uint8:
        raise FormatError(
            f"{name}: is a MATLAB array of {' x '.join(map(str, reversed(shape)))}: three slices, or colours? Say "
            "::axes=zxy or ::axes=cxy after the path"
        )
    return (*(f"single{i}" for i in range(len(extra))), *("z", "x", "y")[-len(shape) :])


def _coordinates(array: Any) -> Coordinates:
    """Names and coordinates of the axes, from EMD, NeXus or netCDF4; empty where there are none."""
    group, base = array.parent, array.name.rpartition("/")[2]
    if "emd_group_type" in group.attrs:
        dims = [group.get(f"dim{i + 1}") for i in range(array.ndim)]
        return [("" if dim is None else str(_plain(dim.attrs.get("name", ""))), dim) for dim in dims]
    if str(_plain(group.attrs.get("signal", ""))) == base and "axes" in group.attrs:
        names = [str(_plain(axis)) for axis in np.atleast_1d(group.attrs["axes"])]
        return [(axis, group.get(axis)) for axis in names] if len(names) == array.ndim else []
    scales = _scales(array)
    if not any(scale is not None for scale in scales):
        return []
    return [("" if scale is None else scale.name.rpartition("/")[2], scale) for scale in scales]


# libhdf5's own functions for labels and scales end the process where their attributes have another type.
def _labels(array: Any) -> list[str]:
    """Labels of the axes, '' where one has none; empty where no axis has one."""
    labels = array.attrs.get("DIMENSION_LABELS")
    if not isinstance(labels, np.ndarray) or labels.shape != (array.ndim,):
        return []
    return [str(_plain(label) or "") if isinstance(label, str | bytes) else "" for label in labels.tolist()]


def _scales(array: Any) -> list[Any]:
    """The first dimension scale of each axis; None where it has none."""
    listed = array.attrs.get("DIMENSION_LIST")
    if not isinstance(listed, np.ndarray) or listed.shape != (array.ndim,) or listed.dtype != object:
        return []
    first = [scales[0] if isinstance(scales, np.ndarray) and len(scales) else None for scales in listed]
    return [array.file[scale] if isinstance(scale, h5py.Reference) and scale else None for scale in first]


def _spacing(coordinates: Any) -> tuple[float | None, float | None]:
    """Distance of equally spaced coordinates and the first of them, in nm."""
    if not isinstance(coordinates, h5py.Dataset) or coordinates.ndim != 1 or coordinates.dtype.kind not in "iuf":
        return None, None
    unit = re.sub(r"[\[\]_]", "", str(_plain(coordinates.attrs.get("units", ""))))
    places = coordinates[:].astype(np.float64)
    if len(places) < 2 or not np.isfinite(places).all():
        return None, None
    step = (places[-1] - places[0]) / (len(places) - 1)
    if step <= 0 or np.abs(np.diff(places) - step).max() > 1e-3 * step:
        return None, None
    return to_nm(f"{step:.7g}", unit), offset_to_nm(f"{places[0]:.7g}", unit)


def _bdv_calibration(array: Any, setup: int, level: int) -> Calibration:
    """Voxel size of one setup in the `.xml` of BigDataViewer, times the steps of a coarser level."""
    xml = Path(array.file.filename).with_suffix(".xml")
    missing = Calibration(note=f"BigDataViewer keeps it in {xml.name}, which is not beside this file or not readable")
    try:
        if xml.stat().st_size > _MAX_XML_BYTES:
            return missing
        setups = ElementTree.parse(xml).getroot().iter("ViewSetup")
        mine = next(one for one in setups if int(one.findtext("id", "-1")) == setup)
        size, unit = str(mine.findtext("voxelSize/size")).split(), mine.findtext("voxelSize/unit")
        steps = _bdv_steps(array, level)
        edges = [to_nm(float(f"{float(edge) * step:.12g}"), unit) for edge, step in zip(size, steps, strict=True)]
    except (OSError, ElementTree.ParseError, StopIteration, ValueError):
        return missing
    return calibrate(edges[::-1], note=f"{xml.name} only says {' x '.join(size)} {unit or '(no unit)'} (x, y, z)")


def _bdv_steps(array: Any, level: int) -> list[float]:
    setup = array.parent.parent.name.rpartition("/")[2]
    found = array.file.get(f"{setup}/resolutions")
    return [float(step) for step in found[level]] if found is not None else [1.0, 1.0, 1.0]


def _velox_calibration(array: Any) -> Calibration:
    try:
        text = bytes(array.parent["Metadata"][:, 0]).split(b"\0")[0]
        result = json.loads(text)["BinaryResult"]
        size = result["PixelSize"]
        y, x = (
            to_nm(f"{float(size[k]):.7g}", result.get(f"PixelUnit{a}")) for k, a in (("height", "Y"), ("width", "X"))
        )
    except (KeyError, ValueError, TypeError, RecursionError):
        return Calibration()
    return calibrate([None, y, x])


def _plain(value: Any) -> Any:
    """A scalar of an attribute; text where it is bytes, the first where it is a list of one."""
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
