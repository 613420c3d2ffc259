"""What TIFF files say about axes and voxel size: OME-XML, ImageJ's description, resolution tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np

from cristae.data.formats.units import Calibration, calibrate, offset_to_nm, to_nm
from cristae.data.image import Image
from cristae.errors import FormatError

_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_OME_TYPES = {
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "float32": "float",
    "float64": "double",
}
_PLAUSIBLE_NM = (0.01, 100_000.0)
"""Pixels outside this range come from a screen's dots per inch, not from a microscope."""


def stack_axes(axes: str, shape: Sequence[int], path: Path) -> tuple[int, int, int, int, str]:
    """Read tifffile's axes as a stack.

    Returns:
        z, y, x, colors, and the letter that was taken as z (empty for a single slice).

    Raises:
        FormatError: There are no pixels, or channels, or more than one axis that could be z.
    """
    sizes = {axis: size for axis, size in zip(axes, shape, strict=True) if size > 1 or axis in "YX"}
    stack = [axis for axis in sizes if axis not in "YXSC"]
    if "Y" not in sizes or "X" not in sizes:
        raise FormatError(f"{path}: has axes {axes}; expected an image with Y and X")
    if 0 in sizes.values():
        raise FormatError(f"{path}: says it has {sizes['Y']} x {sizes['X']} pixels, which is no image; it is damaged")
    if "C" in sizes:
        raise FormatError(f"{path}: has {sizes['C']} channels; expected one. Save one of them by itself")
    if len(stack) > 1:
        found = ", ".join(f"{axis}={sizes[axis]}" for axis in stack)
        raise FormatError(f"{path}: has axes {axes} ({found}); expected one stack of slices. Save one by itself")
    colors = sizes.get("S", 1)
    if colors > 4:
        raise FormatError(f"{path}: has {colors} samples for each pixel; expected 1 to 4")
    z = sizes[stack[0]] if stack else 1
    return z, sizes["Y"], sizes["X"], colors, stack[0] if stack else ""


def ome_calibration(xml: str) -> Calibration:
    """Physical sizes of the first image of an OME-XML description; units default to micrometres."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return Calibration(note="the OME-XML description is damaged")
    pixels = next((node for node in root.iter() if node.tag.endswith("}Pixels") or node.tag == "Pixels"), None)
    if pixels is None:
        return Calibration()
    sizes = {a: _ome_length(pixels.attrib, f"PhysicalSize{a}") for a in "ZYX"}
    plane = next((node for node in pixels if node.tag.split("}")[-1] == "Plane"), None)
    place = plane.attrib if plane is not None else {}
    # A stage position without a unit is in the stage's own frame and no length.
    origin = [offset_to_nm(place.get(f"Position{a}", "0"), place.get(f"Position{a}Unit")) for a in "ZYX"]
    placed = None if origin == [None] * 3 else (origin[0] or 0.0, origin[1] or 0.0, origin[2] or 0.0)
    return calibrate([sizes["Z"], sizes["Y"], sizes["X"]], placed)


def imagej_calibration(description: Mapping[str, Any], page: Any) -> Calibration:
    """Voxel size from ImageJ's `unit` and `spacing` and the resolution tags, which count pixels per unit."""
    unit = description.get("unit")
    unit = unit if isinstance(unit, str) else None
    spacing = description.get("spacing")
    # ImageJ leaves out a spacing of 1; so a missing one could be set or forgotten, and is not taken as known.
    z = to_nm(abs(float(spacing)), unit) if isinstance(spacing, int | float) else None
    y, x = (_pixel(page, tag, unit) for tag in ("YResolution", "XResolution"))
    return calibrate([z, y, x])


def tag_calibration(page: Any) -> Calibration:
    """What plain resolution tags say: a pixel size at most, and only where a microscope could have written it."""
    code = page.tags.get("ResolutionUnit")
    unit = "cm" if code is not None and int(code.value) == 3 else None
    y, x = (_pixel(page, tag, unit) for tag in ("YResolution", "XResolution"))
    plausible = all(size is not None and _PLAUSIBLE_NM[0] <= size <= 10_000.0 for size in (y, x))
    return calibrate([None, y, x]) if plausible else Calibration()


def palette_of(page: Any) -> tuple[str, ...] | None:
    """Colours of a palette image."""
    table = page.colormap
    if table is None or int(page.photometric) != 3:
        return None
    values = np.asarray(table).T
    bytes_ = values // 257 if values.max(initial=0) > 255 else values
    return tuple("#{:02x}{:02x}{:02x}".format(*map(int, color)) for color in bytes_)


def ome_xml(image: Image, name: str) -> str:
    """An OME-XML description of a stack in ASCII, with the voxel size in nm as exact decimal text.

    Raises:
        FormatError: TIFF readers have no common name for the image's type.
    """
    kind = _OME_TYPES.get(image.dtype.name)
    if kind is None:
        raise FormatError(
            f"{image.path}: OME-TIFF has no type for {image.dtype} values; write .h5 or .zarr,"
            f" or turn them into one of {', '.join(_OME_TYPES)} first"
        )
    z, y, x = image.shape
    sizes = f'SizeX="{x}" SizeY="{y}" SizeC="{image.colors}" SizeZ="{z}" SizeT="1"'
    plane = ""
    if image.voxel_size_nm is not None:
        for axis, size in zip("ZYX", image.voxel_size_nm, strict=True):
            sizes += f' PhysicalSize{axis}="{size!r}" PhysicalSize{axis}Unit="nm"'
    if image.voxel_size_nm is not None and image.origin_nm is not None:
        for axis, start in zip("ZYX", image.origin_nm, strict=True):
            plane += f' Position{axis}="{start!r}" Position{axis}Unit="nm"'
        plane = f'<Plane TheZ="0" TheC="0" TheT="0"{plane}/>'
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{_NAMESPACE}" Creator="Cristae">'
        f'<Image ID="Image:0" Name={quoteattr(name)}>'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="{kind}" {sizes}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="{image.colors}"/><TiffData IFD="0" PlaneCount="{z}"/>{plane}'
        "</Pixels></Image></OME>"
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _ome_length(attributes: Mapping[str, str], key: str) -> float | None:
    return to_nm(attributes[key], attributes.get(f"{key}Unit", "µm")) if key in attributes else None


def _pixel(page: Any, tag: str, unit: str | None) -> float | None:
    found = page.tags.get(tag)
    value = found.value if found is not None else None
    if not isinstance(value, tuple) or len(value) != 2 or 0 in value:
        return None
    return to_nm(Fraction(int(value[1]), int(value[0])), unit)
