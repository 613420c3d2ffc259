"""Pixel sizes in the private tags of TIFF files, as electron and light microscopes write them.

| written by | where | unit |
|---|---|---|
| Thermo Fisher, FEI | tags 34680 and 34682: `[Scan] PixelWidth`, `PixelHeight`; `[EScan]`, `[IRBeam]` alike | m |
| Zeiss SmartSEM | tag 34118: `AP_IMAGE_PIXEL_SIZE`, `AP_PIXEL_SIZE` | its own |
| Olympus SIS, iTEM | tags 33471 and 33560: pixel size | m |
| TVIPS EM-MENU | tag 37706: `PixelSizeX`, `PixelSizeY` | nm |
| Gatan DigitalMicrograph | tags 65003 to 65005 units, 65009 to 65011 scales of x, y, z | its own |
| Zeiss LSM | tag 34412: `VoxelSizeX`, `VoxelSizeY`, `VoxelSizeZ` | m |
| MetaMorph STK | tags 33628 and 33629: `XCalibration`, `YCalibration`; `ZDistance` | its own; um |
| Micro-Manager | tag 51123, and its summary: `PixelSize_um`, `z-step_um` | um |

A single picture of a scanning microscope does not say how thick a slice is; then z stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from cristae.data.formats.units import to_nm
from cristae.data.image import VoxelSize

_GATAN_UNITS, _GATAN_SCALES = (65005, 65004, 65003), (65011, 65010, 65009)
_PRIVATE = (34680, 34682, 34118, 33471, 33560, 37706, *_GATAN_SCALES, 34412, 33628, 51123)

Edges = tuple[float | None, float | None, float | None]


class Lengths(NamedTuple):
    """Edges of a voxel in nm, along the axes as they are stored."""

    z: float | None = None
    y: float | None = None
    x: float | None = None
    origin: VoxelSize | None = None
    """Centre of the first voxel (z, y, x)."""
    remark: str = ""
    """What is said where an edge stays unknown."""


def instrument_lengths(tif: Any, width: int) -> Lengths:
    """What the microscope's own tags say of the first page; empty where there are none.

    Args:
        tif: The file, opened by tifffile.
        width: Columns of an image as stored, of which Zeiss's oldest tag needs to know.
    """
    if not any(code in tif.pages.first.tags for code in _PRIVATE):
        return Lengths()
    readers: dict[str, Callable[[], Edges | None]] = {
        "Thermo Fisher (FEI)": lambda: _fei(tif),
        "Zeiss SEM": lambda: _zeiss(tif, width),
        "Olympus SIS": lambda: _metres(tif.sis_metadata, None, "pixelsizey", "pixelsizex"),
        "TVIPS": lambda: _tvips(tif),
        "DigitalMicrograph": lambda: _gatan(tif),
        "Zeiss LSM": lambda: _metres(tif.lsm_metadata, "VoxelSizeZ", "VoxelSizeY", "VoxelSizeX"),
        "MetaMorph": lambda: _metamorph(tif),
        "Micro-Manager": lambda: _micromanager(tif),
    }
    for who, read in readers.items():
        edges = None
        # These tags have no specification: what does not look as expected says nothing.
        with suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
            edges = read()
        if edges is not None and edges != (None, None, None):
            return Lengths(*edges, remark=f"as the tags of {who} say")
    return Lengths()


def _metres(stated: Mapping[str, Any] | None, *keys: str | None) -> Edges | None:
    """Edges (z, y, x) under these keys."""
    if stated is None:
        return None
    z, y, x = (to_nm(_rounded(stated[key]), "m") if key is not None and key in stated else None for key in keys)
    return z, y, x


def _fei(tif: Any) -> Edges | None:
    stated = tif.fei_metadata
    for section in ("Scan", "EScan", "IRBeam", "EBeam"):
        edges = _metres((stated or {}).get(section), None, "PixelHeight", "PixelWidth")
        if edges is not None and edges != (None, None, None):
            return edges
    return None


def _zeiss(tif: Any, width: int) -> Edges | None:
    stated = tif.sem_metadata
    if stated is None:
        return None
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        if key in stated:
            _, size, unit = stated[key][:3]
            edge = to_nm(size, unit)
            return None, edge, edge
    # The unnamed values are in SI units; the scale is that of a screen of 1024 columns.
    edge = to_nm(_rounded(stated[""][3] * 1024 / width), "m")
    return None, edge, edge


def _tvips(tif: Any) -> Edges | None:
    stated = tif.tvips_metadata
    return None if stated is None else (None, to_nm(stated["PixelSizeY"], "nm"), to_nm(stated["PixelSizeX"], "nm"))


def _gatan(tif: Any) -> Edges | None:
    tags = tif.pages.first.tags
    if not any(code in tags for code in _GATAN_SCALES):
        return None
    units = [_text(tags.valueof(code)) for code in _GATAN_UNITS]
    scales = [tags.valueof(code) for code in _GATAN_SCALES]
    z, y, x = (to_nm(_rounded(s), u) if s is not None else None for s, u in zip(scales, units, strict=True))
    return z, y, x


def _metamorph(tif: Any) -> Edges | None:
    stated = tif.stk_metadata
    if stated is None or not stated.get("SpatialCalibration", 1):
        return None
    steps = {float(step) for step in stated.get("ZDistance", ())}
    unit = _text(stated.get("CalibrationUnits"))
    z = to_nm(_rounded(steps.pop()), "um") if len(steps) == 1 else None
    return z, to_nm(_rounded(stated["YCalibration"]), unit), to_nm(_rounded(stated["XCalibration"]), unit)


def _micromanager(tif: Any) -> Edges | None:
    stated = (tif.micromanager_metadata or {}).get("Summary")
    if stated is None:
        return None
    pixel = to_nm(stated.get("PixelSize_um"), "um")
    return to_nm(stated.get("z-step_um"), "um"), pixel, pixel


def _rounded(value: Any) -> str:
    """Metres and scales are stored as floats, some of single precision: 7 digits are meant."""
    return f"{float(value):.7g}"


def _text(value: Any) -> str:
    stated = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return stated.replace("\0", "").strip()
