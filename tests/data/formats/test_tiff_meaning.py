"""Tags of TIFF pages that change what a value means or where it is shown; Pillow and hand-worked arrays judge."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from cristae.data.box import Box
from cristae.data.formats import open_image
from cristae.data.formats.orientation import ORIENTATIONS
from cristae.errors import FormatError

RNG = np.random.default_rng(31)
GREY = RNG.integers(0, 255, (21, 30)).astype(np.uint8)
COLOR = RNG.integers(0, 255, (21, 30, 4)).astype(np.uint8)
MASK = np.zeros((21, 30), bool)
MASK[4:9, 3:20] = True


def orientation(code: int, *, once: bool = False) -> dict[str, object]:
    return {"extratags": [(274, "H", 1, code, once)]}


def pages(path: Path, *slices: tuple[np.ndarray, dict[str, object]]) -> Path:
    """Plain pages, each with tags of its own."""
    with tifffile.TiffWriter(path) as file:
        for pixels, options in slices:
            file.write(pixels, contiguous=False, metadata=None, **options)
    return path


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 5}, {"tile": (16, 16)}])
def test_turned_pages_are_read_as_pillow_shows_them(tmp_path: Path, code: int, options: dict[str, object]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, GREY, metadata=None, resolution=(1e7 / 4, 1e7 / 8), resolutionunit=3, **options, **orientation(code)
    )
    image = open_image(path)
    # Pillow turns what it decodes; of pixels stored as they are it mixes up rows and columns.
    tifffile.imwrite(tmp_path / "packed.tif", GREY, metadata=None, compression="zlib", **orientation(code))
    shown = np.asarray(PillowImage.open(tmp_path / "packed.tif"))
    np.testing.assert_array_equal(image.read()[0], shown)
    part = Box((0, 3, 5), (1, 17, 19))
    np.testing.assert_array_equal(image.read(part)[0], shown[3:17, 5:19])
    assert ("orientation" in image.details) == (code != 1)
    y, x = (4, 8) if ORIENTATIONS[code].transposed else (8, 4)
    assert f"y {y} nm, x {x} nm" in image.details["voxel size"]


def test_a_turned_stack_is_turned_whole(tmp_path: Path) -> None:
    stack = np.stack([GREY, 255 - GREY, GREY // 2, GREY])
    for once in (True, False):
        tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", **orientation(4, once=once))
        image = open_image(tmp_path / "a.tif")
        np.testing.assert_array_equal(image.read(), stack[:, ::-1])
        assert image.details["orientation"] == "4: stored upside down, last row first; read as it is shown"
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, metadata={"axes": "ZYX", "unit": "nm", "spacing": 50.0},
                     resolution=(1 / 4, 1 / 8), **orientation(6, once=True))  # fmt: skip
    image = open_image(tmp_path / "ij.tif")
    np.testing.assert_array_equal(image.read(), np.rot90(stack, -1, (1, 2)))
    assert image.voxel_size_nm == (50, 4, 8)


def test_pages_that_differ_in_orientation(tmp_path: Path) -> None:
    path = pages(tmp_path / "a.tif", (GREY, orientation(1)), (GREY, orientation(4)), (GREY, orientation(3)))
    image = open_image(path)
    np.testing.assert_array_equal(image.read(), np.stack([GREY, GREY[::-1], GREY[::-1, ::-1]]))
    assert "each is read as its own tag says" in image.details["note"]
    path = pages(tmp_path / "b.tif", (GREY, orientation(1)), (GREY, orientation(1)), (GREY, orientation(6)))
    with pytest.raises(FormatError, match=r"slice 2 \(from 0\) has 30 x 21"):
        open_image(path)


def test_slices_of_a_folder_are_turned_one_by_one(tmp_path: Path) -> None:
    for name, code in (("a", 1), ("b", 2), ("c", 4)):
        tifffile.imwrite(tmp_path / f"{name}.tif", GREY, metadata=None, **orientation(code))
    image = open_image(tmp_path)
    np.testing.assert_array_equal(image.read(), np.stack([GREY, GREY[:, ::-1], GREY[::-1]]))
    assert "(1 of 3 slices)" in image.details["orientation"]
    tifffile.imwrite(tmp_path / "d.tif", GREY, metadata=None, **orientation(8))
    with pytest.raises(FormatError, match=r"d\.tif has 30 x 21 pixels"):
        open_image(tmp_path)


@pytest.mark.parametrize("compression", [None, "packbits", "zlib"])
def test_masks_counted_from_white(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ~MASK, photometric="miniswhite", compression=compression)
    image = open_image(path)
    np.testing.assert_array_equal(image.read()[0], MASK)
    np.testing.assert_array_equal(image.read()[0] > 0, np.asarray(PillowImage.open(path)))
    assert image.details["bits"] == "1"
    assert "inverted" in image.details["photometric"]


def test_boolean_arrays_by_tifffile_are_read_as_others_show_them_and_it_is_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", MASK)
    image = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.read()[0] > 0, np.asarray(PillowImage.open(tmp_path / "a.tif")))
    assert "tifffile tags boolean arrays in this way" in image.details["note"]


@pytest.mark.parametrize(("dtype", "white"), [("u1", 255), ("u2", 65535), ("u4", 2**32 - 1)])
def test_grey_values_counted_from_white(tmp_path: Path, dtype: str, white: int) -> None:
    stored = (GREY.astype(np.uint64) * (white // 255)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    image = open_image(tmp_path / "a.tif")
    assert image.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.read()[0].astype(np.uint64), white - stored.astype(np.uint64))
    if dtype == "u1":
        np.testing.assert_array_equal(image.read()[0], np.asarray(PillowImage.open(tmp_path / "a.tif")))


@pytest.mark.parametrize("bits", [2, 4, 12])
def test_few_bits_counted_from_white(tmp_path: Path, bits: int) -> None:
    stored = (GREY.astype(np.uint16) * 257 % 2**bits).astype(np.uint16 if bits > 8 else np.uint8)
    data = b"".join(_packed(row, bits) for row in stored)
    for photometric, shown in ((1, stored), (0, 2**bits - 1 - stored)):
        (tmp_path / "a.tif").write_bytes(_tiff(data, bits, photometric))
        image = open_image(tmp_path / "a.tif")
        np.testing.assert_array_equal(image.read()[0], shown)
        assert image.details["bits"] == str(bits)


def _packed(row: np.ndarray, bits: int) -> bytes:
    every = "".join(f"{value:0{bits}b}" for value in row.tolist())
    every += "0" * (-len(every) % 8)
    return int(every, 2).to_bytes(len(every) // 8, "big")


def _tiff(data: bytes, bits: int, photometric: int, **more: int) -> bytes:
    """A page written by hand."""
    height, width = GREY.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data)}
    tags |= {int(key[1:]): value for key, value in more.items()}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    data += b"\0" * (len(data) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + b"\0" * 4


def test_bits_in_reverse_order(tmp_path: Path) -> None:
    packed = np.packbits(MASK, axis=1)
    reverse = np.packbits(np.unpackbits(packed).reshape(-1, 8)[:, ::-1]).tobytes()
    (tmp_path / "a.tif").write_bytes(_tiff(reverse, 1, 1, t266=2))
    image = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.read()[0], MASK)
    np.testing.assert_array_equal(image.read()[0] > 0, np.asarray(PillowImage.open(tmp_path / "a.tif")))
    assert image.details["fill order"].startswith("2")


def test_masks_by_imagej_keep_the_values_it_measures(tmp_path: Path) -> None:
    # ImageJ's own masks have an inverting look-up table: what is 255 is shown black, and is what it measures.
    stored = MASK.astype(np.uint8) * np.uint8(255)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="miniswhite", metadata=None, description="ImageJ=1.54f\nimages=1\n"
    )
    image = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.read()[0], stored)
    assert "ImageJ measures" in image.details["photometric"]


def test_pages_that_differ_in_which_end_is_white(tmp_path: Path) -> None:
    white, black = {"photometric": "miniswhite"}, {"photometric": "minisblack"}
    path = pages(tmp_path / "a.tif", *[(GREY, black)] * 6, (255 - GREY, white), *[(GREY, black)] * 3)
    image = open_image(path)
    np.testing.assert_array_equal(image.read(), np.stack([GREY] * 10))
    assert "(1 of 10 slices)" in image.details["photometric"]


@pytest.mark.parametrize("dtype", ["f4", "i2", "i1"])
def test_white_that_has_no_number(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype), photometric="miniswhite")
    with pytest.raises(FormatError, match=r"WhiteIsZero.*cannot be inverted"):
        open_image(tmp_path / "a.tif")


def test_every_slice_of_a_deep_page_is_counted_from_white(tmp_path: Path) -> None:
    stack = np.stack([GREY, GREY // 2, GREY // 3])
    tifffile.imwrite(tmp_path / "a.tif", stack, volumetric=True, photometric="miniswhite")
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").read(), 255 - stack)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_fax_masks(tmp_path: Path, compression: str, photometric: int) -> None:
    PillowImage.fromarray(MASK).save(tmp_path / "a.tif", compression=compression, tiffinfo={262: photometric})
    shown = np.asarray(PillowImage.open(tmp_path / "a.tif"))
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").read()[0], shown)


def test_pages_that_differ_in_how_they_are_packed(tmp_path: Path) -> None:
    path = pages(
        tmp_path / "a.tif",
        *[(GREY, {})] * 3,
        (GREY, {"compression": "zlib"}),
        (GREY, {"compression": "lzw", "predictor": 2, "rowsperstrip": 4}),
        (GREY, {"tile": (16, 16)}),
    )
    image = open_image(path)
    np.testing.assert_array_equal(image.read(), np.stack([GREY] * 6))
    assert "adobe_deflate (1 of 6 slices)" in image.details["compression"]


@pytest.mark.parametrize(
    ("odd", "options", "words"),
    [
        (GREY.astype(np.uint16), {}, "type.*slice 4 .*unsigned values of 16 bits"),
        (GREY.astype(np.int8), {}, "type.*slice 4 .*signed values of 8 bits"),
        (GREY > 9, {}, "type.*slice 4 .*1 bit"),
        (COLOR[..., :3], {"photometric": "rgb"}, "kind.*slice 4 .*red, green, blue"),
        (GREY, {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}, "kind.*slice 4 .*a palette"),
        (GREY[:5], {}, "size.*slice 4 .*5 x 30 pixels"),
    ],
)
def test_pages_that_are_no_stack_are_named(
    tmp_path: Path, odd: np.ndarray, options: dict[str, object], words: str
) -> None:
    path = pages(tmp_path / "a.tif", *[(GREY, {})] * 4, (odd, options), *[(GREY, {})] * 6)
    with pytest.raises(FormatError, match=words):
        open_image(path)


def colormap(*colors: tuple[int, int, int]) -> np.ndarray:
    table = np.zeros((3, 256), np.uint16)
    table[:, : len(colors)] = np.array(colors, np.uint16).T * 257
    return table


def test_palettes_of_pages(tmp_path: Path) -> None:
    red = {"photometric": "palette", "colormap": colormap((0, 0, 0), (255, 0, 0), (0, 0, 255))}
    blue = {"photometric": "palette", "colormap": colormap((0, 0, 0), (0, 0, 255), (255, 0, 0))}
    image = open_image(pages(tmp_path / "a.tif", (GREY, red), (GREY, red)))
    assert image.palette is not None
    assert image.palette[:3] == ("#000000", "#ff0000", "#0000ff")
    assert image.details["palette"] == "256 colours"
    with pytest.raises(FormatError, match=r"index 1 is #ff0000 in slice 0 .*#0000ff in slice 2") as raised:
        open_image(pages(tmp_path / "b.tif", (GREY, red), (GREY, red), (GREY, blue)))
    assert "palette -" not in str(raised.value)
    tifffile.imwrite(tmp_path / "c.tif", np.stack([GREY, GREY]), **red)
    assert open_image(tmp_path / "c.tif").palette == image.palette


def test_palettes_of_files(tmp_path: Path) -> None:
    for name, colors in (("a", [0, 0, 0, 255, 0, 0]), ("b", [0, 0, 0, 255, 0, 0, 0, 255, 0])):
        picture = PillowImage.fromarray(GREY % 2)
        picture.putpalette(colors)
        picture.save(tmp_path / f"{name}.png")
    assert open_image(tmp_path).palette == ("#000000", "#ff0000", "#00ff00")
    picture.putpalette([0, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "c.png")
    with pytest.raises(FormatError, match=r"index 1 is #0000ff in c\.png, but #ff0000 in b\.png"):
        open_image(tmp_path)
    PillowImage.fromarray(GREY).save(tmp_path / "c.png")
    with pytest.raises(FormatError, match=r"2 of 3 have a palette, but c\.png has no palette"):
        open_image(tmp_path)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("samples", ["rgb", "rgba", "la"])
def test_alpha(tmp_path: Path, planar: str, compression: str | None, samples: str) -> None:
    pixels = {"rgb": COLOR[..., :3], "rgba": COLOR, "la": COLOR[..., :2]}[samples]
    stored = np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="minisblack" if samples == "la" else "rgb", planarconfig=planar,
        compression=compression, metadata=None, extrasamples=[] if samples == "rgb" else ["unassalpha"],
    )  # fmt: skip
    image = open_image(tmp_path / "a.tif")
    assert image.colors == len(samples)
    np.testing.assert_array_equal(image.read()[0], pixels)
    assert ("alpha" in image.details) == (samples != "rgb")


def test_premultiplied_alpha_is_divided_out(tmp_path: Path) -> None:
    alpha = COLOR[..., 3:]
    stored = np.concatenate([COLOR[..., :3].astype(np.uint16) * alpha // 255, alpha], axis=-1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", metadata=None, extrasamples=["assocalpha"])
    image = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.read()[0], np.asarray(PillowImage.open(tmp_path / "a.tif").convert("RGBA")))
    assert "premultiplied, divided out" in image.details["alpha"]


def test_a_fourth_sample_of_no_meaning_is_left_out(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOR, photometric="rgb", metadata=None, extrasamples=["unspecified"])
    image = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.read()[0], COLOR[..., :3])
    assert "left out" in image.details["samples"]
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.tif::channel=3").read()[0], COLOR[..., 3])


@pytest.mark.parametrize(
    ("photometric", "samples", "name"), [(5, 4, "CMYK"), (8, 3, "CIELab"), (6, 3, "YCbCr"), (32803, 1, "Bayer mosaic")]
)
def test_other_colour_spaces_are_refused(tmp_path: Path, photometric: int, samples: int, name: str) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", COLOR[..., :samples].squeeze(), photometric="rgb" if samples > 1 else None, metadata=None
    )
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags["PhotometricInterpretation"].overwrite(photometric)
    with pytest.raises(FormatError, match=f"colours are {name}"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("photometric", "pixels"), [("rgb", COLOR[..., :3]), ("ycbcr", COLOR[..., :3]), ("minisblack", GREY)]
)
def test_jpeg_inside_tiff(tmp_path: Path, photometric: str, pixels: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, compression="jpeg", metadata=None)
    seen = open_image(tmp_path / "a.tif").read()[0].astype(int)
    shown = np.asarray(PillowImage.open(tmp_path / "a.tif").convert("L" if pixels.ndim == 2 else "RGB"))
    assert np.abs(seen - shown).max() <= 2


def test_values_that_are_no_grey_values(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.complex64))
    with pytest.raises(FormatError, match=r"a\.tif: holds complex values.*magnitude"):
        open_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", GREY, metadata=None, extratags=[(339, "H", 1, 4, True)])
    (tmp_path / "b.tif").write_bytes(_tiff(GREY.tobytes(), 8, 1, t339=4))
    with pytest.raises(FormatError, match="holds undefined values"):
        open_image(tmp_path / "b.tif")


def test_thumbnails_and_masks_among_the_pages(tmp_path: Path) -> None:
    path = pages(
        tmp_path / "a.tif", (GREY, {}), (GREY[::3, ::3], {"subfiletype": 1}), (GREY, {}), (MASK, {"subfiletype": 4})
    )
    image = open_image(path)
    np.testing.assert_array_equal(image.read(), np.stack([GREY, GREY]))
    assert image.details["left out"].startswith("2 of 4 pages")
    (tmp_path / "slice").mkdir()
    path = pages(tmp_path / "slice" / "0.tif", (GREY, {}), (GREY[::3, ::3], {"subfiletype": 1}))
    np.testing.assert_array_equal(open_image(path).read(), GREY[None])
    tifffile.imwrite(tmp_path / "slice" / "1.tif", GREY)
    np.testing.assert_array_equal(open_image(tmp_path / "slice").read(), np.stack([GREY, GREY]))


def test_pyramids_are_read_at_full_size(tmp_path: Path) -> None:
    for name in ("a.tif", "a.ome.tif"):
        with tifffile.TiffWriter(tmp_path / name) as file:
            file.write(np.stack([GREY] * 3), subifds=1, metadata={"axes": "ZYX"}, photometric="minisblack")
            file.write(np.stack([GREY[::2, ::2]] * 3), subfiletype=1, photometric="minisblack")
        np.testing.assert_array_equal(open_image(tmp_path / name).read(), np.stack([GREY] * 3))
