"""Voxel size and origin in the attributes of arrays, as the programs of connectomics write them.

Each convention states an order of the axes: that of the array as the file lists it ('array'), or x, y, z ('xyz').

| attributes | written by | order | unit |
|---|---|---|---|
| `voxel_size_nm`, `origin_nm` | Cristae | z, y, x | nm |
| `element_size_um` | ImageJ's HDF5 plug-in, ilastik, pytorch-3dunet | z, y, x | um |
| `transform: {axes, scale, translate, units}` | COSEM / OpenOrganelle | its own `axes` | its own |
| `pixelResolution: {dimensions, unit}`, or a list | N5 viewers, BigStitcher | x, y, z | its own, else um |
| `voxel_size`, `offset`, `units`, `axis_names` | funlib.persistence, gunpowder | array | `units`, else nm |
| `resolution`, `offset`, `units` | CREMI, daisy, gunpowder; Paintera in N5 | array; x, y, z in N5 | `units`, else nm |

CREMI: https://cremi.org; funlib: https://github.com/funkelab/funlib.persistence;
Paintera: https://github.com/saalfeldlab/paintera#paintera-data-format;
COSEM: https://github.com/janelia-cosem/schemas
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from cristae.data.formats.units import Calibration, calibrate, offset_to_nm, to_nm
from cristae.data.image import VoxelSize

Order = Literal["array", "xyz"]


def attribute_calibration(attributes: Mapping[str, Any], axes: Sequence[str], *, order: Order = "array") -> Calibration:
    """Voxel size and origin that the attributes of an array give by one of the conventions above.

    Args:
        attributes: Of the array, or of the group that describes it.
        axes: Names of the array's axes as the file stores them; only z, y and x are measured.
        order: How `resolution`, `voxel_size` and `offset` are ordered where the convention leaves it to the format:
            'xyz' in N5.

    Returns:
        An empty calibration where no convention applies; one with a note where an attribute cannot be understood.
    """
    for convention in (_ours, _element_size, _cosem, _pixel_resolution):
        found = convention(attributes)
        if found is not None:
            return found
    for name in ("voxel_size", "resolution"):
        if name in attributes:
            return _connectomics(attributes, name, axes, order)
    return Calibration()


def _ours(attributes: Mapping[str, Any]) -> Calibration | None:
    size = _numbers(attributes.get("voxel_size_nm"))
    if size is None or len(size) != 3:
        return None
    origin = _numbers(attributes.get("origin_nm"))
    return calibrate([to_nm(edge, "nm") for edge in size], _triple(origin))


def _element_size(attributes: Mapping[str, Any]) -> Calibration | None:
    size = _numbers(attributes.get("element_size_um"))
    if size is None or len(size) != 3:
        return None
    return calibrate([to_nm(edge, "um") for edge in size], _triple(_numbers(attributes.get("origin_nm"))))


def _cosem(attributes: Mapping[str, Any]) -> Calibration | None:
    stated = attributes.get("transform")
    if not isinstance(stated, Mapping):
        return None
    axes, units = _words(stated.get("axes")), _words(stated.get("units"))
    scale, shift = _numbers(stated.get("scale")), _numbers(stated.get("translate"))
    if scale is None or not len(axes) == len(units) == len(scale):
        return Calibration(note=f"the attribute 'transform' is not understood: {_shown(stated)}")
    return _by_axis(axes, units, scale, shift)


def _pixel_resolution(attributes: Mapping[str, Any]) -> Calibration | None:
    stated = attributes.get("pixelResolution")
    if stated is None:
        return None
    given = stated if isinstance(stated, Mapping) else {"dimensions": stated}
    size = _numbers(given.get("dimensions"))
    if size is None or len(size) < 3:
        return Calibration(note=f"the attribute 'pixelResolution' is not understood: {_shown(stated)}")
    return _by_axis("xyz", [given.get("unit") or "um"] * 3, size[:3], None)


def _connectomics(attributes: Mapping[str, Any], name: str, axes: Sequence[str], order: Order) -> Calibration:
    size, offset = _numbers(attributes[name]), _numbers(attributes.get("offset"))
    spatial = [axis for axis in axes if axis in ("z", "y", "x")]
    named = [axis.rstrip("^") for axis in _words(attributes.get("axis_names"))]
    order_of = sorted(spatial) if order == "xyz" else spatial
    if size is not None and len(size) == len(named) and {"y", "x"} <= set(named):
        order_of = named
    elif size is not None and len(size) == len(axes):
        order_of = list(axes)[::-1] if order == "xyz" else list(axes)
    if size is None or len(size) != len(order_of):
        stated = _shown(attributes[name])
        return Calibration(note=f"the attribute '{name}' {stated} does not fit the axes {','.join(axes)}")
    units = _words(attributes.get("units")) or ["nm"]
    units = units * len(size) if len(units) == 1 else units
    if len(units) != len(size):
        return Calibration(note=f"the attribute 'units' {_shown(attributes.get('units'))} does not fit '{name}'")
    return _by_axis(order_of, units, size, offset)


def _by_axis(
    axes: Sequence[str], units: Sequence[Any], sizes: Sequence[float], offsets: Sequence[float] | None
) -> Calibration:
    size = {axis: to_nm(edge, unit) for axis, edge, unit in zip(axes, sizes, units, strict=True)}
    origin = None
    if offsets is not None and len(offsets) == len(axes):
        place = {axis: offset_to_nm(at, unit) for axis, at, unit in zip(axes, offsets, units, strict=True)}
        origin = _triple([place.get(axis) for axis in "zyx"])
    stated = ", ".join(f"{a} {s:g} {u or '(no unit)'}" for a, s, u in zip(axes, sizes, units, strict=True))
    return calibrate([size.get(axis) for axis in "zyx"], origin, note=f"the file only says {stated}")


def _numbers(value: Any) -> list[float] | None:
    """A list of finite numbers; None when it is anything else."""
    try:
        stored = np.asarray(value).ravel() if value is not None else np.zeros(0)
        numbers = stored.astype(np.float64)
    except (TypeError, ValueError):
        return None
    if not numbers.size or not np.isfinite(numbers).all():
        return None
    # float32 holds 7 digits; the rest is noise that would make 4.6 nm into 4.599999904632568 nm.
    digits = 7 if stored.dtype == np.float32 else 17
    return [float(f"{number:.{digits}g}") for number in numbers]


def _triple(values: Sequence[float | None] | None) -> VoxelSize | None:
    if values is None or len(values) != 3:
        return None
    z, y, x = values
    return None if z is None or y is None or x is None else (z, y, x)


def _words(value: Any) -> list[str]:
    """Words of a list, or the one word that stands for all; HDF5 gives them as bytes or arrays."""
    listed = (
        [value]
        if isinstance(value, str | bytes)
        else list(value)
        if isinstance(value, list | tuple | np.ndarray)
        else []
    )
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in listed]


def _shown(value: Any) -> str:
    return str(value)[:80]
