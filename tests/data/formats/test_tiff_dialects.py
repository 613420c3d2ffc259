"""TIFF files as ImageJ, Bio-Formats, tifffile and microscopes write them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from cristae.data.formats import open_image
from cristae.errors import FormatError

RNG = np.random.default_rng(5)
STACK = RNG.integers(0, 255, (5, 30, 40)).astype(np.uint8)


def write_imagej(path: Path, unit: str | None, *, spacing: float | None = 40.0, pixel: float = 4.6) -> None:
    metadata = {"axes": "ZYX"} | ({"unit": unit} if unit else {}) | ({"spacing": spacing} if spacing else {})
    tifffile.imwrite(path, STACK, imagej=True, metadata=metadata, resolution=(1 / pixel, 1 / pixel))


@pytest.mark.parametrize(
    ("unit", "pixel", "spacing", "expected"),
    [
        ("nm", 4.6, 40.0, (40.0, 4.6, 4.6)),
        ("micron", 0.0046, 0.04, (40.0, 4.6, 4.6)),
        ("um", 0.0046, 0.04, (40.0, 4.6, 4.6)),
        ("\\u00B5m", 0.0046, 0.04, (40.0, 4.6, 4.6)),
        ("A", 46.0, 400.0, (40.0, 4.6, 4.6)),
        ("mm", 0.0000046, 0.00004, (40.0, 4.6, 4.6)),
        ("pixel", 1.0, 1.0, None),
        ("inch", 1 / 72, 1.0, None),
        (None, 4.6, 40.0, None),
        ("nm", 4.6, None, None),
    ],
)
def test_imagej_units(tmp_path: Path, unit: str | None, pixel: float, spacing: float | None, expected) -> None:  # type: ignore[no-untyped-def]
    write_imagej(tmp_path / "ij.tif", unit, spacing=spacing, pixel=pixel)
    image = open_image(tmp_path / "ij.tif")
    np.testing.assert_array_equal(image.read(), STACK)
    assert image.voxel_size_nm == (None if expected is None else pytest.approx(expected, rel=1e-6))


def test_incomplete_size_is_reported_but_not_taken(tmp_path: Path) -> None:
    write_imagej(tmp_path / "ij.tif", "nm", spacing=None)
    assert "4.6 nm" in open_image(tmp_path / "ij.tif").details["voxel size"]


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("µm", 1000.0), ("nm", 1.0), ("Å", 0.1), (None, 1000.0), ("pixel", None), ("reference frame", None)],
)
def test_ome_units(tmp_path: Path, unit: str | None, factor: float | None) -> None:
    sizes = {"PhysicalSizeX": 4.6, "PhysicalSizeY": 5.0, "PhysicalSizeZ": 40.0}
    units = {f"PhysicalSize{a}Unit": unit for a in "XYZ"} if unit else {}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX", **sizes, **units})
    expected = None if factor is None else pytest.approx((40 * factor, 5 * factor, 4.6 * factor))
    assert open_image(tmp_path / "a.ome.tif").voxel_size_nm == expected


def test_screen_resolution_is_no_voxel_size(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, resolution=(72, 72), resolutionunit="INCH", metadata=None)
    image = open_image(tmp_path / "a.tif")
    assert image.voxel_size_nm is None
    assert "voxel size" not in image.details


def test_big_endian_and_bigtiff(tmp_path: Path) -> None:
    stack = STACK.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", stack, byteorder=">", bigtiff=True, compression="zlib")
    image = open_image(tmp_path / "a.tif")
    assert image.details["TIFF"] == "BigTIFF"
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image.read(), stack)


def test_pages_that_do_not_follow_each_other(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels in STACK:
            file.write(pixels, contiguous=False, metadata=None)
            file.write(pixels[:1], contiguous=False, metadata=None, subfiletype=1)
    thumbnails_left_out = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(thumbnails_left_out.read(), STACK)
    assert thumbnails_left_out.details["left out"].startswith("5 of 10 pages")
    with tifffile.TiffWriter(tmp_path / "c.tif") as file:
        for pixels in (*STACK, STACK[0, :1]):
            file.write(pixels, contiguous=False, metadata=None)
    with pytest.raises(FormatError, match=r"differ in size: 5 of 6 have 30 x 40 .*slice 5 \(from 0\) has 1 x 40"):
        open_image(tmp_path / "c.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        for pixels in STACK:
            file.write(pixels, contiguous=False, metadata=None)
    np.testing.assert_array_equal(open_image(tmp_path / "b.tif").read(), STACK)


def test_planar_and_contiguous_colours(tmp_path: Path) -> None:
    colour = RNG.integers(0, 255, (3, 20, 24, 3)).astype(np.uint8)
    for planar, compression in (("contig", None), ("separate", None), ("contig", "zlib"), ("separate", "zlib")):
        data = colour if planar == "contig" else np.moveaxis(colour, -1, 1)
        path = tmp_path / f"{planar}{compression}.tif"
        tifffile.imwrite(path, data, photometric="rgb", planarconfig=planar, compression=compression, metadata=None)
        image = open_image(path)
        assert (image.shape, image.colors) == ((3, 20, 24), 3)
        np.testing.assert_array_equal(image.read(), colour)


def test_palette_and_one_bit(tmp_path: Path) -> None:
    indices = (STACK[0] % 3).astype(np.uint8)
    table = np.zeros((3, 256), np.uint16)
    table[:, 1], table[:, 2] = (65535, 0, 0), (0, 257 * 128, 65535)
    tifffile.imwrite(tmp_path / "p.tif", indices, photometric="palette", colormap=table)
    image = open_image(tmp_path / "p.tif")
    assert image.palette is not None
    assert image.palette[:3] == ("#000000", "#ff0000", "#0080ff")
    np.testing.assert_array_equal(image.read()[0], indices)
    PillowImage.fromarray(STACK[0] > 100).save(tmp_path / "bit.tif", compression="group4")
    bit = open_image(tmp_path / "bit.tif")
    assert bit.dtype == np.uint8
    np.testing.assert_array_equal(bit.read()[0], (STACK[0] > 100).astype(np.uint8))


@pytest.mark.parametrize(
    ("axes", "shape", "words"),
    [("CYX", (3, 20, 24), "3 channels"), ("TZYX", (2, 3, 20, 24), "T=2, Z=3"), ("ZCYX", (4, 2, 20, 24), "2 channels")],
)
def test_more_than_one_volume_is_refused(tmp_path: Path, axes: str, shape: tuple[int, ...], words: str) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.ones(shape, np.uint8), metadata={"axes": axes}, photometric="minisblack"
    )
    with pytest.raises(FormatError, match=words):
        open_image(tmp_path / "a.ome.tif")


def test_frames_count_as_slices_and_say_so(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", STACK, imagej=True, metadata={"axes": "TYX"})
    image = open_image(tmp_path / "t.tif")
    assert image.shape == STACK.shape
    assert image.details["note"] == "axis T was taken as z"


def test_promise_of_more_slices_than_there_are(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, description="ImageJ=1.53k\nimages=90\nslices=90\n", metadata=None)
    with pytest.raises(FormatError, match="90"):
        open_image(tmp_path / "a.tif")


def test_missing_companion_file(tmp_path: Path) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="40" SizeY="30" SizeZ="2" SizeC="1" SizeT="1">'
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
        '<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="b.ome.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0], description=xml, metadata=None)
    with pytest.raises(FormatError, match="other files"):
        open_image(tmp_path / "a.ome.tif")
    # As one slice of a folder the file is complete.
    tifffile.imwrite(tmp_path / "b.ome.tif", STACK[1], metadata=None)
    np.testing.assert_array_equal(open_image(tmp_path).read(), STACK[:2])
