"""What descriptions and resolution tags of TIFF files say about voxel size and channels: OME, ImageJ, tifffile."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from cristae.data.formats.tiff_instruments import Lengths, instrument_lengths
from cristae.data.formats.tiff_tags import RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION, PageTags
from cristae.data.formats.units import Calibration, calibrate, nm_per_unit, offset_to_nm, to_nm
from cristae.data.image import SIZE_TOLERANCE, Image
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


def calibration(tif: Any, tags: Sequence[PageTags], width: int, *, transposed: bool) -> Calibration:
    """Voxel size and origin of a file: its description goes first, then the microscope's tags, then the resolution.

    Args:
        tif: The file, opened by tifffile.
        tags: Of the slices, in order.
        width: Columns of a slice as stored.
        transposed: Whether stored rows are shown as columns.
    """
    found = _lengths(tif, tags, width)
    edges, origin = [found.z, found.y, found.x], found.origin
    if transposed:
        edges, origin = [found.z, found.x, found.y], origin and (origin[0], origin[2], origin[1])
    known = calibrate(edges, origin)
    remarks = "; ".join(filter(None, (known.note, found.remark)))
    return known if known.voxel_size_nm is not None else replace(known, note=remarks)


def _lengths(tif: Any, tags: Sequence[PageTags], width: int) -> Lengths:
    if tif.is_ome and tif.ome_metadata:
        return ome_lengths(tif.ome_metadata)
    for found in (
        described_lengths(description_of(tif), tags[0]),
        instrument_lengths(tif, width),
        tag_lengths(tags[0]),
    ):
        if found != Lengths():
            return _unless_slices_differ(found, tags)
    return Lengths()


def ome_lengths(xml: str) -> Lengths:
    """Physical sizes of the first image of an OME-XML description; units default to micrometres."""
    pixels = _ome_pixels(xml)
    if isinstance(pixels, str):
        return Lengths(remark=pixels)
    if pixels is None:
        return Lengths()
    first = {"TheZ": "0", "TheC": "0", "TheT": "0"}
    planes = (node.attrib for node in pixels if _name(node) == "Plane")
    place = next((plane for plane in planes if all(plane.get(k, "0") == v for k, v in first.items())), {})
    # A stage position without a unit is in the stage's own frame and no length.
    origin = [offset_to_nm(place.get(f"Position{a}", "0"), place.get(f"Position{a}Unit")) for a in "ZYX"]
    placed = None if origin == [None] * 3 else (origin[0] or 0.0, origin[1] or 0.0, origin[2] or 0.0)
    return _physical_sizes(pixels.attrib)._replace(origin=placed)


def described_lengths(description: Mapping[str, Any], tags: PageTags) -> Lengths:
    """Voxel size from a description by ImageJ or tifffile, whose resolution tags count pixels per its `unit`.

    ImageJ gives rows and slices units of their own where they differ: `yunit`, `zunit`.
    """
    if any(f"PhysicalSize{axis}" in description for axis in "XYZ"):
        return _physical_sizes({key: str(value) for key, value in description.items()})
    unit = description.get("unit")
    units = {"x": unit, "y": description.get("yunit", unit), "z": description.get("zunit", unit)}
    if not any(isinstance(each, str) for each in units.values()):
        return Lengths()
    spacing = description.get("spacing")
    # ImageJ leaves out a spacing of 1; so a missing one could be set or forgotten, and is not taken as known.
    z = to_nm(abs(spacing), units["z"]) if isinstance(spacing, int | float) else None
    y, x = (_pixel(tags, tag, units[axis]) for tag, axis in ((Y_RESOLUTION, "y"), (X_RESOLUTION, "x")))
    tagged = tag_lengths(tags) if RESOLUTION_UNIT in tags.values else Lengths()
    slip = [edge for edge in (y, x) if edge is not None and not _PLAUSIBLE_NM[0] <= edge <= _PLAUSIBLE_NM[1]]
    if "ImageJ" not in description and tagged.x is not None:
        y, x = tagged.y, tagged.x
    elif slip and tagged.x is not None:
        said = f"ImageJ's unit '{unit}' makes pixels of {slip[-1]:g} nm, the resolution tags of {tagged.x:g} nm"
        return Lengths(remark=said)
    strange = {str(each) for each in units.values() if each is not None and nm_per_unit(each) is None}
    listed = ", ".join(sorted(f"'{each}'" for each in strange if each not in _NO_UNITS))
    return Lengths(z, y, x, remark=f"units that are not understood: {listed}" if listed else "")


def tag_lengths(tags: PageTags) -> Lengths:
    """What plain resolution tags say: a pixel size at most, and only where a microscope could have written it."""
    unit, largest = _TAG_UNITS.get(tags.one(RESOLUTION_UNIT, 2), (None, 0.0))
    y, x = (_pixel(tags, tag, unit) for tag in (Y_RESOLUTION, X_RESOLUTION))
    plausible = y is not None and x is not None and min(y, x) >= 0.01 and max(y, x) <= largest
    return Lengths(None, y, x) if plausible else Lengths()


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


def _physical_sizes(stated: Mapping[str, str]) -> Lengths:
    """OME's `PhysicalSizeX` and the like, each with a unit of its own."""
    keys = [f"PhysicalSize{axis}" for axis in "ZYX"]
    units = [stated.get(f"{key}Unit", "µm") for key in keys]
    z, y, x = (to_nm(stated.get(key), unit) for key, unit in zip(keys, units, strict=True))
    strange = [
        f"{key} {stated[key]} {unit}"
        for key, unit, edge in zip(keys, units, (z, y, x), strict=True)
        if key in stated and edge is None and unit not in _NO_UNITS
    ]
    return Lengths(z, y, x, remark=f"no length: {', '.join(strange)}" if strange else "")


def _unless_slices_differ(found: Lengths, tags: Sequence[PageTags]) -> Lengths:
    """What the first slice says, unless another one says that its pixels have another size."""
    known = list({id(each): each for each in tags}.values())
    stated = [(each, _resolution(each)) for each in known if all(_resolution(each))]
    odd = next((each for each, own in stated if _far(own, stated[0][1])), None)
    if odd is None:
        return found
    pair = (stated[0][0], odd)
    shown = ["{:g} x {:g}".format(*(float(number) for number in _resolution(each)[1:])) for each in pair]
    places = [next(i for i, tagged in enumerate(tags) if tagged is each) for each in pair]
    return Lengths(
        origin=found.origin,
        remark=f"slices differ in pixel size: slice {places[0]} (from 0) has a resolution of {shown[0]} pixels per "
        f"unit, slice {places[1]} one of {shown[1]} (y, x)",
    )


def _resolution(tags: PageTags) -> tuple[int, Fraction, Fraction]:
    """Unit, and pixels per unit along y and x; 0 where that is not stated."""
    y, x = (tags.pixels_per_unit(tag) or Fraction(0) for tag in (Y_RESOLUTION, X_RESOLUTION))
    return tags.one(RESOLUTION_UNIT, 2), y, x


def _far(one: tuple[int, Fraction, Fraction], other: tuple[int, Fraction, Fraction]) -> bool:
    pairs = zip(one[1:], other[1:], strict=True)
    return one[0] != other[0] or any(abs(a - b) > Fraction(SIZE_TOLERANCE) * max(a, b) for a, b in pairs)


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
