"""What descriptions and resolution tags of TIFF files say about voxel size and channels: OME, ImageJ, tifffile."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from cristae.data.formats.tiff_instruments import instrument_calibration
from cristae.data.formats.tiff_tags import RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION, PageTags
from cristae.data.formats.units import Calibration, calibrate, nm_per_unit, offset_to_nm, to_nm
from cristae.data.image import SIZE_TOLERANCE, Image, VoxelSize
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
_PLAUSIBLE_NM = (0.001, 10_000_000.0)
"""Pixels outside this range are slips of the unit."""
_NO_UNITS = frozenset({"", "pixel", "pixels", "px", "none"})
_TAG_UNITS = {2: ("inch", 1_000.0), 3: ("cm", 10_000.0)}
"""Units of the resolution tags, and the largest pixel in nm that is not a screen's or a scanner's dots."""
_NM_PER_INCH = Fraction(25_400_000)


def calibration(tif: Any, tags: Sequence[PageTags], width: int) -> Calibration:
    """Voxel size and origin as the file says them: its description goes first, then the microscope's tags, then the
    resolution tags; each length has a unit of its own.

    Args:
        tif: The file, opened by tifffile.
        tags: Of the slices, in order.
        width: Columns of a slice as stored.
    """
    if tif.is_ome and tif.ome_metadata:
        return ome_calibration(tif.ome_metadata)
    found = described_calibration(description_of(tif), tags[0])
    if found == Calibration():
        found = instrument_calibration(tif, width)
    return tag_calibration(tags) if found == Calibration() else _unless_slices_differ(found, tags)


def ome_calibration(xml: str) -> Calibration:
    """Physical sizes of the first image of an OME-XML description; units default to micrometres."""
    pixels = _ome_pixels(xml)
    if isinstance(pixels, str):
        return Calibration(note=pixels)
    if pixels is None:
        return Calibration()
    sizes = [_ome_length(pixels.attrib, f"PhysicalSize{axis}") for axis in "ZYX"]
    first = {"TheZ": "0", "TheC": "0", "TheT": "0"}
    planes = (node.attrib for node in pixels if _name(node) == "Plane")
    place = next((plane for plane in planes if all(plane.get(k, "0") == v for k, v in first.items())), {})
    # A stage position without a unit is in the stage's own frame and no length.
    origin = [offset_to_nm(place.get(f"Position{a}", "0"), place.get(f"Position{a}Unit")) for a in "ZYX"]
    placed = None if origin == [None] * 3 else (origin[0] or 0.0, origin[1] or 0.0, origin[2] or 0.0)
    stated = [key for axis in "ZYX" if (key := f"PhysicalSize{axis}") in pixels.attrib]
    strange = [
        f"{key} {pixels.attrib[key]} {pixels.attrib.get(f'{key}Unit', 'µm')}"
        for key in stated
        if _ome_length(pixels.attrib, key) is None
    ]
    return _calibrate(sizes, placed, strange=strange)


def described_calibration(description: Mapping[str, Any], tags: PageTags) -> Calibration:
    """Voxel size from a description by ImageJ or tifffile, whose resolution tags count pixels per its `unit`.

    ImageJ gives rows and slices units of their own where they differ: `yunit`, `zunit`.
    """
    if any(f"PhysicalSize{axis}" in description for axis in "XYZ"):
        stated = {key: str(value) for key, value in description.items() if key.startswith("PhysicalSize")}
        return _calibrate([_ome_length(stated, f"PhysicalSize{axis}") for axis in "ZYX"])
    unit = description.get("unit")
    units = {"x": unit, "y": description.get("yunit", unit), "z": description.get("zunit", unit)}
    if not any(isinstance(each, str) for each in units.values()):
        return Calibration()
    spacing = description.get("spacing")
    # ImageJ leaves out a spacing of 1; so a missing one could be set or forgotten, and is not taken as known.
    z = to_nm(abs(spacing), units["z"]) if isinstance(spacing, int | float) else None
    y, x = (_pixel(tags, tag, units[axis]) for tag, axis in ((Y_RESOLUTION, "y"), (X_RESOLUTION, "x")))
    tagged = _tag_pixel(tags) if RESOLUTION_UNIT in tags.values else None
    slip = [edge for edge in (y, x) if edge is not None and not _PLAUSIBLE_NM[0] <= edge <= _PLAUSIBLE_NM[1]]
    if "ImageJ" not in description and tagged is not None:
        y, x = tagged
    elif tagged is not None and slip:
        return Calibration(
            note=f"ImageJ's unit '{unit}' makes pixels of {slip[-1]:g} nm, the resolution tags of {tagged[1]:g} nm"
        )
    strange = {str(each) for each in units.values() if each is not None and nm_per_unit(each) is None}
    return _calibrate([z, y, x], strange=sorted(f"unit '{each}'" for each in strange if each not in _NO_UNITS))


def tag_calibration(tags: Sequence[PageTags]) -> Calibration:
    """What plain resolution tags say: a pixel size at most, and only where a microscope could have written it."""
    first = _tag_pixel(tags[0])
    return _unless_slices_differ(calibrate([None, *first]), tags) if first is not None else Calibration()


def channel_names(tif: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the channels, and labels of all planes, as OME and ImageJ write them; empty where they do not."""
    if tif.is_ome and tif.ome_metadata:
        pixels = _ome_pixels(tif.ome_metadata)
        if pixels is None or isinstance(pixels, str):
            return (), ()
        return tuple(node.attrib.get("Name", "") for node in pixels if _name(node) == "Channel"), ()
    labels = (tif.imagej_metadata or {}).get("Labels") if tif.is_imagej else None
    return (), tuple(str(label) for label in labels) if isinstance(labels, list | tuple) else ()


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


def description_of(tif: Any) -> Mapping[str, Any]:
    """What ImageJ or tifffile describe the first image with."""
    if tif.is_imagej:
        return tif.imagej_metadata or {}
    text = tif.pages.first.shaped_description
    if not text:
        return {}
    try:
        stated = json.loads(text)
    except ValueError:
        return {}
    return stated if isinstance(stated, Mapping) else {}


def _calibrate(
    edges_nm: Sequence[float | None], origin_nm: VoxelSize | None = None, *, strange: Sequence[str] = ()
) -> Calibration:
    """A calibration that says which stated lengths are not understood."""
    found = calibrate(edges_nm, origin_nm)
    if not strange or found.voxel_size_nm is not None:
        return found
    said = f"{found.note}; " if found.note else ""
    return Calibration(None, origin_nm, f"{said}not understood: {', '.join(strange)}")


def _unless_slices_differ(found: Calibration, tags: Sequence[PageTags]) -> Calibration:
    """What the first slice says, unless another one says that its pixels have another size."""
    known = list({id(each): each for each in tags}.values())
    stated = [(each, _resolution(each)) for each in known if all(_resolution(each))]
    odd = next((each for each, own in stated if _far(own, stated[0][1])), None)
    if odd is None:
        return found
    shown = [f"{' x '.join(f'{float(n or 0):g}' for n in _resolution(each))}" for each in (stated[0][0], odd)]
    places = [next(i for i, tagged in enumerate(tags) if tagged is each) for each in (stated[0][0], odd)]
    return Calibration(
        None,
        found.origin_nm,
        f"slices differ in pixel size: slice {places[0]} (from 0) has a resolution of {shown[0]} pixels per unit, "
        f"slice {places[1]} of {shown[1]}",
    )


def _resolution(tags: PageTags) -> tuple[Fraction | None, Fraction | None]:
    return tags.pixels_per_unit(Y_RESOLUTION), tags.pixels_per_unit(X_RESOLUTION)


def _far(one: tuple[Fraction | None, ...], other: tuple[Fraction | None, ...]) -> bool:
    pairs = zip(one, other, strict=True)
    return any(a is not None and b is not None and abs(a - b) > SIZE_TOLERANCE * max(a, b) for a, b in pairs)


def _tag_pixel(tags: PageTags) -> tuple[float, float] | None:
    """The pixel size (y, x) in nm by the resolution tags alone."""
    unit, largest = _TAG_UNITS.get(tags.one(RESOLUTION_UNIT, 2), (None, 0.0))
    y, x = (_pixel(tags, tag, unit) for tag in (Y_RESOLUTION, X_RESOLUTION))
    plausible = all(size is not None and 0.01 <= size <= largest for size in (y, x))
    return (y, x) if plausible and y is not None and x is not None else None


def _pixel(tags: PageTags, tag: int, unit: Any) -> float | None:
    resolution = tags.pixels_per_unit(tag)
    if resolution is None:
        return None
    return to_nm(_NM_PER_INCH / resolution, "nm") if unit == "inch" else to_nm(1 / resolution, unit)


def _ome_pixels(xml: str) -> ElementTree.Element | str | None:
    """The first image's pixels; a remark where the description is damaged."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return "the OME-XML description is damaged"
    return next((node for node in root.iter() if _name(node) == "Pixels"), None)


def _name(node: ElementTree.Element) -> str:
    return node.tag.split("}")[-1]


def _ome_length(attributes: Mapping[str, str], key: str) -> float | None:
    return to_nm(attributes[key], attributes.get(f"{key}Unit", "µm")) if key in attributes else None
