"""Voxel size of WEBKNOSSOS datasets, whose layers are Zarr arrays.

`datasource-properties.json` beside the layers says the size of the finest voxels (x, y, z), in nm or in its own unit;
folders of layers are named after their downsampling: `1`, `2-2-1`.
https://docs.webknossos.org/webknossos/data/concepts.html
"""

from __future__ import annotations

import re
from typing import Any

from cristae.data.address import Place
from cristae.data.formats.json_file import load_object
from cristae.data.formats.units import Calibration, calibrate, to_nm

_MAG = re.compile(r"(\d+)(?:-(\d+)-(\d+))?")


def webknossos_calibration(array: Place) -> Calibration:
    """Voxel size of a layer's array at `dataset/layer/1` or `dataset/layer/2-2-1`; empty where it is none.

    Raises:
        FormatError: The description of the dataset is damaged.
    """
    place = array.absolute()
    file = place.parent.parent / "datasource-properties.json"
    mag = _MAG.fullmatch(place.name)
    if mag is None or not file.is_file():
        return Calibration()
    scale = load_object(file).get("scale")
    unit = scale.get("unit", "nanometer") if isinstance(scale, dict) else "nanometer"
    factor = scale.get("factor") if isinstance(scale, dict) else scale
    if not isinstance(factor, list) or len(factor) != 3:
        return Calibration(note=f"the scale in {file.name} is not understood: {str(scale)[:80]}")
    coarser = [int(mag[i] or mag[1]) for i in (1, 2, 3)]
    x, y, z = (_edge(length, unit, by) for length, by in zip(factor, coarser, strict=True))
    return calibrate((z, y, x), note=f"{file.name} says {factor} {unit}")


def _edge(length: Any, unit: Any, by: int) -> float | None:
    edge = to_nm(length, unit)
    return None if edge is None else edge * by
