"""Groups of arrays: which of them is the finest level, and what a group says about the voxels of its arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cristae.data.address import places_above
from cristae.data.formats.conventions import Order, attribute_calibration
from cristae.data.formats.paths import Reading
from cristae.data.formats.stored import assumed_axes, axis_names
from cristae.data.formats.units import Calibration
from cristae.data.formats.webknossos import webknossos_calibration
from cristae.data.formats.zarr_arrays import Node, find_node
from cristae.data.image import VoxelSize

Geometry = tuple[tuple[str, ...], Calibration]
"""Axes of an array and what they measure."""

_LEVEL = re.compile(r"s(\d+)")


def finest_level(names: Sequence[str]) -> str | None:
    """The array of a pyramid s0, s1, ... that is read first; None where the names are not those of a pyramid.

    Example:
        >>> finest_level(("s0", "s1", "s10")), finest_level(("s1", "s2")), finest_level(("raw", "s0"))
        ('s0', None, None)
    """
    return "s0" if "s0" in names and all(_LEVEL.fullmatch(name) for name in names) else None


def measured(
    name: str,
    attributes: Mapping[str, Any],
    above: Sequence[Mapping[str, Any]],
    axes: Sequence[str],
    *,
    order: Order = "array",
) -> Calibration:
    """Voxel size and origin that an array gives, or else the groups that it lies in.

    What groups say is about the finest level; a coarser one is understood where its `downsamplingFactors` are stated.

    Args:
        name: Of the array in its group, such as 's0'.
        attributes: Of the array.
        above: Attributes of its group, and of the group around that.
        axes: Of the array, slowest first.
        order: Of numbers that the format does not give an order; see `conventions`.
    """
    factors = _factors(attributes.get("downsamplingFactors"))
    own = attribute_calibration(attributes, axes, order=order)
    if own != Calibration():
        if factors in (None, (1.0, 1.0, 1.0)) or isinstance(attributes.get("transform"), Mapping):
            return own
        if factors is not None and "pixelResolution" in attributes:
            return _coarser(own, factors)
        return Calibration(note="a resolution and downsamplingFactors, but not of which level the resolution is")
    for group in above:
        found = attribute_calibration(group, axes, order=order)
        if found == Calibration():
            continue
        if factors is not None:
            return _coarser(found, factors)
        level = _LEVEL.fullmatch(name)
        if level is not None and int(level[1]) > 0:
            return Calibration(note=f"its group says the size of level s0, but not by how much '{name}' is coarser")
        return found
    return Calibration()


def plain_geometry(node: Node, shape: Sequence[int], reading: Reading) -> Geometry:
    """Axes and calibration of a Zarr array that no image description mentions.

    Raises:
        FormatError: It has neither two nor three axes, and nobody names them.
    """
    names = node.metadata.get("dimension_names") or node.attributes.get("_ARRAY_DIMENSIONS")
    where = str(node.path)
    if isinstance(names, list) and len(names) == len(shape) and all(isinstance(name, str) for name in names):
        axes = axis_names(names, reading, where)
    else:
        axes = assumed_axes(shape, reading, where)
    groups = [find_node(parent) for parent in places_above(node.path)[:2]]
    above = [group.attributes if group is not None else {} for group in groups]
    found = measured(node.path.name, node.attributes, above, axes)
    return axes, found if found != Calibration() else webknossos_calibration(node.path)


def _factors(stated: Any) -> VoxelSize | None:
    """Voxels of the finest level along a voxel (z, y, x); N5 lists x, y, z."""
    if not isinstance(stated, list) or len(stated) < 3:
        return None
    if not all(isinstance(factor, int | float) and 1 <= factor <= 1e6 for factor in stated[:3]):
        return None
    x, y, z = stated[:3]
    return float(z), float(y), float(x)


def _coarser(fine: Calibration, factors: VoxelSize) -> Calibration:
    if fine.voxel_size_nm is None:
        return fine
    z, y, x = (edge * factor for edge, factor in zip(fine.voxel_size_nm, factors, strict=True))
    if fine.origin_nm is None:
        return Calibration((z, y, x))
    # The centre of a coarse voxel lies half the difference further than that of its first fine voxel.
    a, b, c = (
        at + edge * (factor - 1) / 2
        for at, edge, factor in zip(fine.origin_nm, fine.voxel_size_nm, factors, strict=True)
    )
    return Calibration((z, y, x), (a, b, c))
