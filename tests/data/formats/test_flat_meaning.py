"""PNG, JPEG and BMP as they are shown: turned by EXIF, with the transparency and the palettes that they state."""

import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageOps, PngImagePlugin

from cristae.data.box import Box
from cristae.data.formats import open_image, open_images
from cristae.errors import ChannelError, FormatError

RNG = np.random.default_rng(43)
GREY = RNG.integers(0, 255, (21, 30)).astype(np.uint8)
COLOR = RNG.integers(0, 255, (21, 30, 4)).astype(np.uint8)


def exif(code: int) -> PillowImage.Exif:
    tags = PillowImage.Exif()
    tags[274] = code
    return tags


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("pixels", [GREY, COLOR[..., :3]])
def test_turned_images_are_read_as_they_are_shown(tmp_path: Path, suffix: str, code: int, pixels: np.ndarray) -> None:
    path = tmp_path / f"a{suffix}"
    PillowImage.fromarray(pixels).save(path, exif=exif(code))
    image = open_image(path)
    with PillowImage.open(path) as picture:
        shown = np.asarray(ImageOps.exif_transpose(picture))
    assert image.shape[1:] == shown.shape[:2]
    np.testing.assert_array_equal(image.read()[0], shown)
    np.testing.assert_array_equal(image.read(Box((0, 2, 3), (1, 11, 17)))[0], shown[2:11, 3:17])
    assert ("orientation" in image.details) == (code != 1)


def test_sixteen_bits_and_palettes_are_turned_too(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 257
    PillowImage.fromarray(deep).save(tmp_path / "a.png", exif=exif(6))
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").read()[0], np.rot90(deep, -1))
    PillowImage.fromarray(COLOR[..., :3]).quantize(9).save(tmp_path / "b.png", exif=exif(4))
    stored = np.asarray(PillowImage.open(tmp_path / "b.png"))
    np.testing.assert_array_equal(open_image(tmp_path / "b.png").read()[0], stored[::-1])


def test_slices_that_differ_in_orientation(tmp_path: Path) -> None:
    for name, code in (("a", 1), ("b", 3), ("c", 1)):
        PillowImage.fromarray(GREY).save(tmp_path / f"{name}.png", exif=exif(code))
    image = open_image(tmp_path)
    np.testing.assert_array_equal(image.read(), np.stack([GREY, GREY[::-1, ::-1], GREY]))
    assert "(1 of 3 slices)" in image.details["orientation"]
    PillowImage.fromarray(GREY).save(tmp_path / "d.png", exif=exif(5))
    with pytest.raises(FormatError, match=r"d\.png has 30 x 21 pixels"):
        open_image(tmp_path)
    assert [image.shape for image in open_images(tmp_path)][-1] == (1, 30, 21)


def test_an_orientation_after_the_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PillowImage.fromarray(GREY).save(path)
    plain = path.read_bytes()
    PillowImage.fromarray(GREY).save(path, exif=exif(3))
    turned = path.read_bytes()
    at = turned.index(b"eXIf") - 4
    chunk = turned[at : at + 12 + int.from_bytes(turned[at : at + 4], "big")]
    path.write_bytes(plain[:-12] + chunk + plain[-12:])
    with pytest.raises(FormatError, match="turned only after its pixels"):
        open_image(path).read()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    for content in (b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b""):
        PillowImage.fromarray(GREY).save(tmp_path / "a.jpg", exif=content)
        assert open_image(tmp_path / "a.jpg").shape == (1, 21, 30)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_grey_value(tmp_path: Path, bits: int) -> None:
    stored = GREY if bits == 8 else GREY.astype(np.uint16) * 200
    value = int(stored[3, 4])
    PillowImage.fromarray(stored).save(tmp_path / "a.png", transparency=value)
    image = open_image(tmp_path / "a.png")
    full = 2**bits - 1
    assert (image.colors, image.dtype) == (2, stored.dtype)
    np.testing.assert_array_equal(image.read()[0, ..., 0], stored)
    np.testing.assert_array_equal(image.read()[0, ..., 1], np.where(stored == value, 0, full))
    assert image.details["alpha"] == f"alpha channel; the file says that the value {value} is transparent"
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.png::channel=0").read()[0], stored)


def test_a_transparent_colour(tmp_path: Path) -> None:
    rgb = COLOR[..., :3]
    PillowImage.fromarray(rgb).save(tmp_path / "a.png", transparency=tuple(int(value) for value in rgb[2, 2]))
    image = open_image(tmp_path / "a.png")
    shown = np.asarray(PillowImage.open(tmp_path / "a.png").convert("RGBA"))
    np.testing.assert_array_equal(image.read()[0], shown)
    assert shown[2, 2, 3] == 0


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def test_a_transparent_colour_of_sixteen_bits(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65535, (9, 8, 3)).astype(np.uint16)
    png = imagecodecs.png_encode(deep)
    at = png.index(b"IDAT") - 4
    clear = chunk(b"tRNS", b"".join(int(value).to_bytes(2, "big") for value in deep[2, 3]))
    (tmp_path / "a.png").write_bytes(png[:at] + clear + png[at:])
    seen = open_image(tmp_path / "a.png").read()[0]
    np.testing.assert_array_equal(seen[..., :3], deep)
    np.testing.assert_array_equal(np.argwhere(seen[..., 3] != 65535), [[2, 3]])


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("low", [True, False])
def test_a_transparent_value_of_few_bits(tmp_path: Path, bits: int, low: bool) -> None:
    values = RNG.integers(0, 2**bits, (5, 8)).astype(np.uint8)
    clear = 0 if low else 2**bits - 1
    rows = b"".join(b"\0" + bytes(np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:])) for row in values)
    head = (8).to_bytes(4, "big") + (5).to_bytes(4, "big") + bytes([bits, 0, 0, 0, 0])
    parts = chunk(b"IHDR", head) + chunk(b"tRNS", clear.to_bytes(2, "big")) + chunk(b"IDAT", zlib.compress(rows))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b""))
    seen = open_image(tmp_path / "a.png").read()[0]
    np.testing.assert_array_equal(seen[..., 0], values)
    np.testing.assert_array_equal(seen[..., 1], np.where(values == clear, 0, 255))


def test_transparent_indices_of_a_palette_stay_indices(tmp_path: Path) -> None:
    picture = PillowImage.fromarray(GREY % 3)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    for transparency, listed in ((0, "0"), (bytes([0, 255, 9]), "0, 2")):
        picture.save(tmp_path / "a.png", transparency=transparency)
        image = open_image(tmp_path / "a.png")
        assert (image.colors, image.details["transparent indices"]) == (1, listed)
        np.testing.assert_array_equal(image.read()[0], GREY % 3)
        assert image.palette == ("#000000", "#ff0000", "#00ff00")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_said(tmp_path: Path, mode: str) -> None:
    PillowImage.fromarray(COLOR).convert(mode).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png").details["alpha"].startswith("alpha channel")
    PillowImage.fromarray(COLOR[..., :3]).save(tmp_path / "b.png")
    assert "alpha" not in open_image(tmp_path / "b.png").details


def test_remarks_that_change_no_value(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    info.add(b"sBIT", b"\5")
    PillowImage.fromarray(GREY).save(tmp_path / "a.png", pnginfo=info)
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").read()[0], GREY)


def test_pixel_sizes_of_png(tmp_path: Path) -> None:
    PillowImage.fromarray(GREY).save(tmp_path / "a.png", dpi=(25.4e6 / 4, 25.4e6 / 8))
    image = open_image(tmp_path / "a.png")
    assert image.voxel_size_nm is None
    assert image.details["voxel size"].startswith("incomplete: the file only says y 8")
    PillowImage.fromarray(GREY).save(tmp_path / "b.png", dpi=(300, 300))
    assert "voxel size" not in open_image(tmp_path / "b.png").details


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [PillowImage.fromarray(GREY), PillowImage.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(FormatError, match="animation of several frames"):
        open_image(tmp_path / "a.png")


def test_printing_colours_are_refused(tmp_path: Path) -> None:
    PillowImage.fromarray(COLOR, "CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(FormatError, match="CMYK is not supported"):
        open_image(tmp_path / "a.jpg")
    ycck = imagecodecs.jpeg8_encode(COLOR, colorspace="CMYK", outcolorspace="YCCK")
    (tmp_path / "b.jpg").write_bytes(ycck)
    with pytest.raises(FormatError, match="CMYK is not supported"):
        open_image(tmp_path / "b.jpg")


def test_grey_jpeg_and_its_grey_colours_hold_the_same(tmp_path: Path) -> None:
    PillowImage.fromarray(GREY).save(tmp_path / "a.jpg", quality=100)
    PillowImage.fromarray(np.stack([GREY] * 3, axis=-1)).save(tmp_path / "b.jpg", quality=100, subsampling=0)
    grey, color = open_image(tmp_path / "a.jpg"), open_image(tmp_path / "b.jpg")
    assert (grey.colors, color.colors) == (1, 3)
    np.testing.assert_allclose(color.read()[0, ..., 1].astype(int), grey.read()[0].astype(int), atol=2)


def test_what_is_said_of_flat_images(tmp_path: Path) -> None:
    PillowImage.fromarray(COLOR).save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.png::channel=2").read()[0], COLOR[..., 2])
    np.testing.assert_array_equal(open_image(f"{tmp_path}/*.png::channel=color").read()[0], COLOR)
    with pytest.raises(ChannelError, match="no channel 9"):
        open_image(f"{tmp_path}/a.png::channel=9")
    with pytest.raises(FormatError, match="::axes is for HDF5, Zarr, N5, NIfTI, NPY and TIFF files"):
        open_image(f"{tmp_path}/a.png::axes=yx")


@pytest.mark.parametrize("depth", [1, 4, 8, 24, 32])
def test_bmp_agrees_with_pillow(tmp_path: Path, depth: int) -> None:
    picture = {
        1: PillowImage.fromarray(GREY > 99),
        4: PillowImage.fromarray(COLOR[..., :3]).quantize(12),
        8: PillowImage.fromarray(GREY),
        24: PillowImage.fromarray(COLOR[..., :3]),
        32: PillowImage.fromarray(COLOR),
    }[depth]
    picture.save(tmp_path / "a.bmp")
    with PillowImage.open(tmp_path / "a.bmp") as read:
        shown = np.asarray(read)
    np.testing.assert_array_equal(open_image(tmp_path / "a.bmp").read()[0], shown)
