"""DM3 and DM4 files of Gatan's DigitalMicrograph, read with ncempy where it is installed.

ncempy (https://github.com/ercius/openNCEM) reads voxels through a memory map. It is licensed under the GPL, parts of it
under the MIT licence too; so it is an extra that people may install, and nothing else needs it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.box import Box
from cristae.data.formats.mapped import require_whole
from cristae.data.formats.paths import require_content
from cristae.data.formats.units import Calibration, calibrate, to_nm
from cristae.data.image import Image
from cristae.errors import CristaeError, FormatError

_TYPES = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1"}
"""What DigitalMicrograph's `DataType` stores; 14 are truth values. The others are complex, packed or coloured."""


def open_dm(path: Path) -> Image:
    """Open the image of a DM3 or DM4 file: one slice, or a stack.

    Raises:
        FormatError: ncempy is not installed, the file is damaged or truncated, or it holds a spectrum or a movie.
    """
    size = require_content(path, at_least=16)
    try:
        from ncempy.io.dm import fileDM
    except ImportError as error:
        raise FormatError(
            f"{path}: DM3 and DM4 files need ncempy: `pip install cristae[dm]` (or `pip install ncempy`; it is "
            "licensed under the GPL). Or save the image in DigitalMicrograph or Fiji as TIFF"
        ) from error
    try:
        with fileDM(path, on_memory=False) as file:
            return _image(path, file, size)
    except CristaeError:
        raise
    except Exception as error:  # a damaged file makes ncempy raise whatever it stumbles over
        raise FormatError(f"{path}: is not a readable DM3 or DM4 file, or it is damaged; export it again") from error


def _image(path: Path, file: Any, size: int) -> Image:
    """The first image that is no thumbnail."""
    place = 0 if file.numObjects == 1 else 1
    sides = [int(found[place]) for found in (file.zSize2, file.zSize, file.ySize, file.xSize)]
    kind, offset = int(file.dataType[place]), int(file.dataOffset[place])
    if kind not in _TYPES:
        raise FormatError(f"{path}: holds colours, complex numbers or packed bits (type {kind}); expected grey")
    if sides[0] > 1:
        raise FormatError(f"{path}: has 4 axes {tuple(sides)}: a movie or diffraction data; save one volume by itself")
    shape = (max(1, sides[1]), max(1, sides[2]), sides[3])
    stored = np.dtype(f"<{_TYPES[kind]}")
    if offset + math.prod(shape) * stored.itemsize > size or min(shape) < 1:
        raise FormatError(f"{path}: is truncated or damaged: {shape} voxels (z, y, x) do not fit {size} bytes")
    calibration = _calibration(path, file.allTags, place + 1, shape[0] > 1)
    voxels = np.memmap(path, stored, "r", offset, shape)
    native = stored.newbyteorder("=")

    def read(box: Box) -> np.ndarray:
        require_whole(voxels, path)
        return np.array(voxels[box.slices], dtype=native, order="C")

    return Image(
        path=path,
        format=path.suffix[1:].lower(),
        shape=shape,
        dtype=native,
        reader=read,
        chunks=(1, *shape[1:]),
        voxel_size_nm=calibration.voxel_size_nm,
        origin_nm=None,
        details={"axes": "zyx"} | ({"voxel size": calibration.note} if calibration.note else {}),
    )


def _calibration(path: Path, tags: dict[str, Any], number: int, deep: bool) -> Calibration:
    """Voxel size by axis; DigitalMicrograph lists x first."""
    edges: list[float | None] = []
    said: list[str] = []
    for axis, dimension in zip("xyz", (1, 2, 3), strict=True):
        prefix = f".ImageList.{number}.ImageData.Calibrations.Dimension.{dimension}"
        scale, unit = tags.get(f"{prefix}.Scale"), _text(tags.get(f"{prefix}.Units"))
        edges.append(None if scale is None else to_nm(f"{float(scale):.7g}", unit))
        said.append(f"{axis} {float(scale or 0):g} {unit or '(no unit)'}")
        if axis == "z" and deep and unit and unit.lower() in ("ev", "kev", "s", "ms"):
            raise FormatError(f"{path}: its third axis is in {unit}: a spectrum or a movie, not a volume")
    if not deep:
        edges[2] = None
        return calibrate(edges[::-1])
    return calibrate(edges[::-1], note=f"the file only says {', '.join(said)}")


def _text(value: Any) -> str:
    """DigitalMicrograph writes text as 16-bit characters."""
    if isinstance(value, np.ndarray):
        return value.astype("<u2").tobytes().decode("utf-16-le", "replace").strip("\0 ")
    return str(value or "").strip("\0 ")
