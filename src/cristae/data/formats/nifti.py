"""NIfTI volumes (`.nii`, `.nii.gz`), read with nibabel's header and a memory map.

The first axis of a NIfTI file is x and its fastest, so its axes read backwards are (c, t), z, y, x.

https://nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields
"""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.formats.cache import DecodedCache, file_key
from cristae.data.formats.mapped import require_whole
from cristae.data.formats.paths import Reading, require_content
from cristae.data.formats.stored import Index, StoredArray, axis_names, open_stored
from cristae.data.formats.units import Calibration, calibrate, is_of_microscope, offset_to_nm, to_nm
from cristae.data.image import Image, VoxelSize
from cristae.errors import CristaeError, FormatError

MAX_UNPACKED_BYTES = 2**30
"""A larger `.nii.gz` is refused: gzip has to be unpacked from its start to read one voxel."""
_UNPACKED = DecodedCache(MAX_UNPACKED_BYTES)
_COLORS = {("R", "G", "B"): 3, ("R", "G", "B", "A"): 4}


@dataclass(frozen=True)
class Scaling:
    """What turns stored values into those that are meant."""

    slope: float
    shift: float
    dtype: np.dtype[Any]

    def __call__(self, stored: np.ndarray) -> np.ndarray:
        """Stored values times the slope plus the shift, computed in double precision."""
        if self.dtype.kind == "i":
            return np.asarray(stored.astype(self.dtype) + self.dtype.type(self.shift))
        meant: np.ndarray = (stored.astype(np.float64) * self.slope + self.shift).astype(self.dtype)
        return meant


def open_nifti(path: Path, *, reading: Reading = Reading()) -> Image:
    """Open a NIfTI-1 or NIfTI-2 file; voxels stay in the order in which they are stored.

    A fourth axis without a unit of time, and the fifth, are channels. `scl_slope` and `scl_inter` are applied.

    Raises:
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: It is damaged or truncated, holds time points or complex numbers, or is too large to be unpacked.
    """
    try:
        return _open(path, reading)
    except CristaeError:
        raise
    except Exception as error:  # a damaged header makes nibabel raise whatever it stumbles over
        raise FormatError(f"{path}: is not a readable NIfTI volume, or its header is damaged") from error


def _open(path: Path, reading: Reading) -> Image:
    header, proxy = _load(path)
    stored_type: np.dtype[Any] = proxy.dtype
    if stored_type.kind == "c" or (stored_type.kind == "f" and stored_type.itemsize > 8):
        raise FormatError(f"{path}: holds '{stored_type}' values; expected integers or floats of up to 64 bits")
    samples = _COLORS.get(stored_type.names or (), 1)
    shape = tuple(int(size) for size in reversed(proxy.shape))
    axes = _axes(path, header, proxy.shape, reading)
    if samples > 1:
        stored_type, shape, axes = np.dtype("u1"), (*shape, samples), (*axes, "c")
    scaling = None if samples > 1 else _scaling(proxy, stored_type)
    array = StoredArray(
        where=str(path),
        axes=axes,
        shape=shape,
        dtype=stored_type if scaling is None else scaling.dtype,
        chunks=tuple(size if axis in ("y", "x") else 1 for axis, size in zip(axes, shape, strict=True)),
        read=_reader(path, proxy.offset, shape, stored_type, scaling),
        colors=samples > 1,
        details=_details(header, scaling),
    )
    image = open_stored(array, path, format="nifti", reading=reading, calibration=_calibration(header))
    return replace(image, orientation=_orientation(header))


def _load(path: Path) -> tuple[Any, Any]:
    """The header and nibabel's view of the voxels, checked to describe what the file has room for."""
    import nibabel  # takes a while, and few files need it

    # What nibabel has to say about a file reaches the user as an error of ours, not as a line on the screen.
    logging.getLogger("nibabel").setLevel(logging.CRITICAL)
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    size = require_content(path, at_least=28)
    image: Any = nibabel.load(path)
    shape, proxy = image.dataobj.shape, image.dataobj
    count = math.prod(shape)
    need = int(proxy.offset) + count * proxy.dtype.itemsize
    if len(shape) < 2 or count <= 0:
        raise FormatError(f"{path}: holds no volume: the header says {' x '.join(map(str, shape)) or 'no axes'}")
    if not _is_packed(path) and need > size:
        raise FormatError(f"{path}: is truncated: its voxels end at byte {need}, but the file has {size}")
    if _is_packed(path) and need > MAX_UNPACKED_BYTES:
        raise FormatError(
            f"{path}: takes {need / 2**30:.1f} GiB unpacked, more than is kept in memory; run gunzip on it, and name "
            "the .nii file, which is read in parts"
        )
    return image.header, proxy


def _axes(path: Path, header: Any, shape: tuple[int, ...], reading: Reading) -> tuple[str, ...]:
    count = len(shape)
    if reading.axes is not None:
        return axis_names([""] * count, reading, str(path))[::-1]
    fourth = "t" if _units(header)[1] in ("sec", "msec", "usec") else "c"
    fifth = "c" if fourth == "t" or (count > 4 and shape[3] == 1) else "dim5"
    fourth = "t" if fifth == "c" else fourth
    return ("x", "y", "z", fourth, fifth, "dim6", "dim7")[:count][::-1]


def _reader(
    path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], scaling: Scaling | None
) -> Callable[[Index], np.ndarray]:
    if not _is_packed(path):
        voxels = np.memmap(path, dtype, "r", offset, shape)

    def read(index: Index) -> np.ndarray:
        if _is_packed(path):
            part = _unpacked(path, offset, shape, dtype)[index]
        else:
            require_whole(voxels, path)
            part = np.asarray(voxels[index])
        return part if scaling is None else scaling(part)

    return read


def _unpacked(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """The whole volume, read-only; kept in memory for the next caller."""

    def unpack() -> np.ndarray:
        count = math.prod(shape) * dtype.itemsize
        try:
            with gzip.open(path) as file:
                file.read(offset)
                content = file.read(count)
                while file.read(2**20):  # up to the checksum
                    pass
        except (OSError, EOFError, zlib.error) as error:
            raise FormatError(f"{path}: does not unpack, it is truncated or damaged; copy it again") from error
        if len(content) < count:
            raise FormatError(f"{path}: is truncated: {len(content)} bytes of voxels instead of {count}")
        return np.frombuffer(content, dtype).reshape(shape)

    return _UNPACKED.get((*file_key(path), "nifti"), unpack)


def _scaling(proxy: Any, stored: np.dtype[Any]) -> Scaling | None:
    slope, shift = float(proxy.slope), float(proxy.inter)
    if slope == 1 and shift == 0:
        return None
    if slope == 1 and stored.kind in "iu" and shift.is_integer() and stored.itemsize <= 2 and abs(shift) < 2**30:
        return Scaling(1.0, shift, np.dtype("i4"))
    precise = stored.itemsize > 2 and not (stored.kind == "f" and stored.itemsize == 4)
    return Scaling(slope, shift, np.dtype("f8") if precise else np.dtype("f4"))


def _orientation(header: Any) -> str | None:
    from nibabel import aff2axcodes

    affine, _ = _affine(header)
    codes: Any = () if affine is None else aff2axcodes(affine)  # type: ignore[no-untyped-call]
    return "".join(code or "?" for code in codes) or None


def _details(header: Any, scaling: Scaling | None) -> dict[str, str]:
    details: dict[str, str] = {}
    affine, _ = _affine(header)
    if affine is not None:
        turned = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        if not np.allclose(np.abs(turned).max(axis=0), 1, atol=1e-3):
            details["note"] = "the header turns the volume by an angle that is not 90 degrees; voxels are as stored"
    if scaling is not None:
        details["values"] = f"stored values x {scaling.slope:g} + {scaling.shift:g}"
    return details


def _affine(header: Any) -> tuple[np.ndarray | None, str]:
    """The transform to world coordinates that the header says is valid."""
    for name, found in (("sform", header.get_sform(coded=True)), ("qform", _qform(header))):
        affine = found[0]
        if affine is not None and np.isfinite(affine).all() and (np.linalg.norm(affine[:3, :3], axis=0) > 0).all():
            return affine, name
    return None, ""


def _qform(header: Any) -> Any:
    try:
        return header.get_qform(coded=True)
    except Exception:  # a quaternion longer than 1
        return None, 0


def _calibration(header: Any) -> Calibration:
    unit = {"mm": "mm", "meter": "m", "micron": "um"}.get(_units(header)[0])
    zooms = [float(f"{float(zoom):.7g}") for zoom in header.get_zooms()[:3]]
    stated = f"{' x '.join(f'{zoom:g}' for zoom in zooms)} {unit or '(no unit)'} (x, y, z)"
    if unit is None:
        return Calibration(note=f"the file only says {stated}")
    edges = [to_nm(zoom, unit) for zoom in zooms]
    if unit == "mm" and all(zoom == 1 for zoom in zooms):
        return Calibration(note="1 mm on all axes, which is what programs write when they do not know")
    if not is_of_microscope(edges):
        return Calibration(note=f"the file says {stated}, which is no voxel of a microscope; its unit must be wrong")
    affine, name = _affine(header)
    if affine is not None and not np.allclose(np.linalg.norm(affine[:3, :3], axis=0)[: len(zooms)], zooms, rtol=0.01):
        return Calibration(note=f"the file contradicts itself: pixdim says {stated}, its {name} another size")
    missing: list[float | None] = [None] * (3 - len(edges))
    return calibrate([*missing, *edges[::-1]], _origin(affine, unit))


def _units(header: Any) -> tuple[str, str]:
    try:
        space, time = header.get_xyzt_units()
    except KeyError:  # a number that stands for no unit
        return "unknown", "unknown"
    return str(space), str(time)


def _origin(affine: np.ndarray | None, unit: str) -> VoxelSize | None:
    """Where the first voxel lies, for volumes whose axes run along the world's; zeros are what programs write."""
    if affine is None or not np.allclose(
        affine[:3, :3], np.diag(np.abs(np.diag(affine)[:3])), atol=1e-6 * affine.max()
    ):
        return None
    x, y, z = (offset_to_nm(f"{float(place):.7g}", unit) for place in affine[:3, 3])
    return None if z is None or y is None or x is None or x == y == z == 0 else (z, y, x)


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"
