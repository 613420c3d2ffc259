"""Each axis of a TIFF file has a unit of its own, and many programs have their own place for it."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cristae.data.formats import open_image
from cristae.errors import FormatError

STACK = np.random.default_rng(41).integers(0, 255, (6, 20, 24)).astype(np.uint8)


def imagej(path: Path, description: str, *, resolution: Any = ((1, 4), (1, 4)), unit: int | None = 1) -> Path:
    """A stack as ImageJ describes it, whose resolution tags count pixels (x, y)."""
    options = {} if resolution is None else {"resolution": resolution, "resolutionunit": unit}
    text = f"ImageJ=1.54f\nimages=6\nslices=6\n{description}loop=false\n"
    tifffile.imwrite(path, STACK, photometric="minisblack", description=text.encode(), metadata=None, **options)
    return path


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("unit=nm\nyunit=nm\nzunit=micron\nspacing=0.05\n", (50, 4, 4)),
        ("unit=nm\nyunit=\\u00B5m\nzunit=nm\nspacing=50\n", (50, 4000, 4)),
        ("unit=micron\nzunit=nm\nspacing=50\n", (50, 4000, 4000)),
        ("unit=nm\nzunit=mm\nspacing=5e-05\n", (50, 4, 4)),
        ("unit=\u212b\nspacing=500\n", (50, 0.4, 0.4)),
        ("unit=nm\nspacing=-50\n", (50, 4, 4)),
        ("unit=nm\nspacing=0\n", None),
        ("unit=nm\nspacing=NaN\n", None),
        ("unit=nm\nzunit=pixel\nspacing=50\n", None),
        ("unit=nm\nzunit=furlong\nspacing=50\n", None),
        ("unit=pixel\nspacing=50\n", None),
        ("spacing=50\n", None),
        ("unit=\nspacing=50\n", None),
    ],
)
def test_imagej_has_a_unit_for_each_axis(tmp_path: Path, description: str, expected: object) -> None:
    image = open_image(imagej(tmp_path / "a.tif", description))
    assert image.voxel_size_nm == expected
    if "nm" in description and expected is None:
        assert "y 4 nm, x 4 nm" in image.details["voxel size"]
    assert ("'furlong'" in image.details.get("voxel size", "")) == ("furlong" in description)


def test_imagej_unit_that_does_not_fit_the_resolution_tags(tmp_path: Path) -> None:
    # Pixels per cm by the tags, but read as pixels per nm they would be of a billionth of a nm.
    image = open_image(imagej(tmp_path / "a.tif", "unit=nm\nspacing=50\n", resolution=(2_500_000, 2_500_000), unit=3))
    assert image.voxel_size_nm is None
    assert image.details["voxel size"] == "ImageJ's unit 'nm' makes pixels of 4e-07 nm, the resolution tags of 4 nm"
    # Where the description makes sense, ImageJ itself goes by it.
    image = open_image(imagej(tmp_path / "b.tif", "unit=nm\nspacing=50\n", unit=3))
    assert image.voxel_size_nm == (50, 4, 4)
    # No unit at all: the tags.
    image = open_image(imagej(tmp_path / "c.tif", "spacing=50\n", resolution=(2_500_000, 1_250_000), unit=3))
    assert image.details["voxel size"] == "incomplete: the file only says y 8 nm, x 4 nm"


@pytest.mark.parametrize(
    ("unit", "resolution", "expected"),
    [
        (3, (2_500_000, 1_250_000), "y 8 nm, x 4 nm"),
        (2, (6_350_000, 3_175_000), "y 8 nm, x 4 nm"),
        (2, (300, 300), None),
        (2, (9600, 9600), None),
        (3, (118, 118), None),
        (1, (2_500_000, 2_500_000), None),
        (3, ((0, 1), (0, 1)), None),
    ],
)
def test_resolution_tags(tmp_path: Path, unit: int, resolution: Any, expected: str | None) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", STACK, photometric="minisblack", metadata=None, resolution=resolution, resolutionunit=unit
    )
    image = open_image(tmp_path / "a.tif")
    assert image.voxel_size_nm is None
    assert image.details.get("voxel size") == (expected and f"incomplete: the file only says {expected}")


@pytest.mark.parametrize(
    ("metadata", "options", "expected"),
    [
        ({"spacing": 0.05, "unit": "um"}, {"resolution": (2_500_000, 2_500_000), "resolutionunit": 3}, (50, 4, 4)),
        ({"spacing": 50, "unit": "nm"}, {"resolution": ((1, 4), (1, 8)), "resolutionunit": 1}, (50, 8, 4)),
        (
            {"PhysicalSizeX": 0.004, "PhysicalSizeY": 8, "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 0.05},
            {},
            (50, 8, 4),
        ),
        ({"spacing": 50}, {}, None),
        ({"unit": "parsec", "spacing": 50}, {}, None),
    ],
)
def test_descriptions_by_tifffile(
    tmp_path: Path, metadata: dict[str, Any], options: dict[str, Any], expected: object
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", STACK, photometric="minisblack", metadata={"axes": "ZYX", **metadata}, **options
    )
    assert open_image(tmp_path / "a.tif").voxel_size_nm == expected


@pytest.mark.parametrize(
    ("sizes", "expected", "note"),
    [
        ({"X": (0.004, None), "Y": (4, "nm"), "Z": (500, "Å")}, (50, 4, 4), None),
        ({"X": (4e-6, "mm"), "Y": (4000, "pm"), "Z": (5e-8, "m")}, (50, 4, 4), None),
        ({"X": (4, "nm"), "Y": (4, "nm")}, None, "incomplete: the file only says y 4 nm, x 4 nm"),
        ({"X": (4, "nm"), "Y": (4, "nm"), "Z": (1, "pixel")}, None, "incomplete: the file only says y 4 nm, x 4 nm"),
        ({"X": (4, "nm"), "Y": (4, "nm"), "Z": (7, "Gy")}, None, "no length: PhysicalSizeZ 7 Gy"),
        ({"X": (4, "nm"), "Y": (4, "nm"), "Z": (0, "nm")}, None, "no length: PhysicalSizeZ 0 nm"),
        (
            {"X": (1, "reference frame"), "Y": (1, "reference frame"), "Z": (1, "reference frame")},
            None,
            "reference frame",
        ),
    ],
)
def test_ome_has_a_unit_for_each_axis(
    tmp_path: Path, sizes: dict[str, Any], expected: object, note: str | None
) -> None:
    metadata = {f"PhysicalSize{axis}": size for axis, (size, _) in sizes.items()}
    metadata |= {f"PhysicalSize{axis}Unit": unit for axis, (_, unit) in sizes.items() if unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX", **metadata})
    image = open_image(tmp_path / "a.ome.tif")
    assert image.voxel_size_nm == expected
    if note is None:
        assert "voxel size" not in image.details
    else:
        assert note in image.details["voxel size"]


def test_pages_that_differ_in_pixel_size(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for z, pixels in enumerate(STACK):
            pixel = 2_500_000 if z != 4 else 1_250_000
            file.write(pixels, contiguous=False, metadata=None, resolution=(pixel, pixel), resolutionunit=3)
    image = open_image(tmp_path / "a.tif")
    assert image.voxel_size_nm is None
    assert image.details["voxel size"].startswith("slices differ in pixel size: slice 0 (from 0)")
    assert "slice 4 one of 1.25e+06 x 1.25e+06" in image.details["voxel size"]


def test_files_that_differ_in_pixel_size(tmp_path: Path) -> None:
    for z, pixels in enumerate(STACK):
        pixel = 2_500_000 if z != 4 else 1_250_000
        tifffile.imwrite(tmp_path / f"{z}.tif", pixels, metadata=None, resolution=(pixel, pixel), resolutionunit=3)
    image = open_image(tmp_path)
    assert image.voxel_size_nm is None
    assert "5 of 6 have incomplete: the file only says y 4 nm, x 4 nm, but 4.tif has" in image.details["voxel size"]


FEI = "[User]\r\nUser=supervisor\r\n[Scan]\r\nInternalScan=true\r\nPixelWidth=4.6e-009\r\nPixelHeight=4.6e-009\r\n"
ZEISS = "\r\n".join(["0", "4.6e-9", "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 4.600 nm", "AP_WD", "WD = 5.1 mm", ""])


@pytest.mark.parametrize(
    ("who", "tags", "expected"),
    [
        ("FEI", [(34682, "s", 0, FEI, True)], "y 4.6 nm, x 4.6 nm"),
        ("FEI", [(34680, "s", 0, FEI.replace("[Scan]", "[EScan]"), True)], "y 4.6 nm, x 4.6 nm"),
        ("Zeiss SEM", [(34118, "s", 0, ZEISS, True)], "y 4.6 nm, x 4.6 nm"),
        ("Zeiss SEM", [(34118, "s", 0, ZEISS.replace("4.600 nm", "0.0046 µm"), True)], "y 4.6 nm, x 4.6 nm"),
        (
            "DigitalMicrograph",
            [
                (65003, "s", 0, "nm", True),
                (65004, "s", 0, "µm", True),
                (65009, "d", 1, 4.6, True),
                (65010, "d", 1, 0.0046, True),
            ],
            "y 4.6 nm, x 4.6 nm",
        ),
    ],
)
def test_pixel_sizes_of_microscopes(tmp_path: Path, who: str, tags: list[Any], expected: str) -> None:
    tags = [
        (code, kind, count, text.encode("latin-1") if isinstance(text, str) else text, once)
        for code, kind, count, text, once in tags
    ]
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], metadata=None, extratags=tags, resolution=(72, 72), resolutionunit=2)
    image = open_image(tmp_path / "a.tif")
    assert image.voxel_size_nm is None
    assert expected in image.details["voxel size"]
    assert who in image.details["voxel size"]


@pytest.mark.parametrize("text", ["", "[Scan]\nPixelWidth=wide\n", "[Scan]\n", "nonsense"])
def test_strange_tags_of_microscopes_say_nothing(tmp_path: Path, text: str) -> None:
    for code in (34682, 34118, 33560, 37706, 65009):
        tifffile.imwrite(tmp_path / "a.tif", STACK[0], metadata=None, extratags=[(code, "s", 0, text, True)])
        image = open_image(tmp_path / "a.tif")
        assert image.voxel_size_nm is None
        np.testing.assert_array_equal(image.read()[0], STACK[0])


def test_metamorph_stacks(tmp_path: Path) -> None:
    """UIC1 (spatial calibration) and UIC2 (a step for each plane) by hand; the planes lie behind the only page."""
    data = STACK.tobytes()
    planes, at = len(STACK), 8 + len(data)
    uic2 = b"".join(struct.pack("<6I", 50, 1000, 2451545, 0, 2451545, 0) for _ in range(planes))
    # Entries of UIC1, number and value or place: whether it is calibrated, pixel sizes of x and y, their unit.
    calibration = struct.pack("<4I", 46, 10000, 92, 10000) + struct.pack("<I", 3) + b"um\0\0"
    entries = struct.pack("<8I", 3, 1, 4, at + len(uic2), 5, at + len(uic2) + 8, 6, at + len(uic2) + 16)
    blob = uic2 + calibration + entries
    tags = {256: (4, 1, 24), 257: (4, 1, 20), 258: (4, 1, 8), 259: (4, 1, 1), 262: (4, 1, 1), 273: (4, 1, 8),
            277: (4, 1, 1), 278: (4, 1, 20), 279: (4, 1, 480), 33628: (4, 4, at + len(uic2) + len(calibration)),
            33629: (5, planes, at)}  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in tags.items())
    content = b"II*\0" + struct.pack("<I", at + len(blob)) + data + blob + directory + b"\0" * 4
    (tmp_path / "a.tif").write_bytes(content)
    image = open_image(tmp_path / "a.tif")
    assert image.details["written as"] == "stk"
    np.testing.assert_array_equal(image.read(), STACK)
    assert image.voxel_size_nm == (50, 9.2, 4.6)


def test_a_damaged_description_is_refused_in_words(tmp_path: Path) -> None:
    text = json.dumps({"shape": [6, 20, 24]})[:-1]
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", metadata=None, description=text)
    with pytest.raises(FormatError, match=r"a\.tif: its description of the pages is damaged.*save it again"):
        open_image(tmp_path / "a.tif")
