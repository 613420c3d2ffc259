"""Folders of slices, globs, single flat images, and what cannot be one stack."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from skimage import io as skimage_io

from cristae.data.box import Box
from cristae.data.formats import UnequalSlicesError, open_image, open_images
from cristae.data.formats.cache import DecodedCache
from cristae.data.formats.paths import natural_key
from cristae.errors import FormatError, MissingFileError

RNG = np.random.default_rng(13)
STACK = RNG.integers(0, 255, (12, 20, 30)).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path, **options)
    return path


def test_natural_order_and_names(tmp_path: Path) -> None:
    for z, pixels in enumerate(STACK):
        save(tmp_path / f"cell {z}.png", pixels)
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("read me")
    image = open_image(tmp_path)
    assert image.slice_names is not None
    assert image.slice_names[9:11] == ("cell 9", "cell 10")
    np.testing.assert_array_equal(image.read(Box((3, 4, 5), (11, 19, 29))), STACK[3:11, 4:19, 5:29])
    some = open_image(f"{tmp_path}/cell ?.png")
    np.testing.assert_array_equal(some.read(), STACK[:10])
    chosen = open_image(tmp_path, files=[tmp_path / "cell 7.png", tmp_path / "cell 2.png"])
    np.testing.assert_array_equal(chosen.read(), STACK[[7, 2]])


@given(st.lists(st.integers(0, 10**6), min_size=2, unique=True))
def test_numbers_sort_by_value(numbers: list[int]) -> None:
    names = sorted((Path(f"a{n}b.png") for n in numbers), key=natural_key)
    assert names == [Path(f"a{n}b.png") for n in sorted(numbers)]


def test_digits_that_are_no_numbers_sort_as_text() -> None:
    names = ["1²3.png", "1²10.png", "²1.png", "٣.png", "1\u00bd.png"]
    ordered = sorted((Path(name) for name in names), key=natural_key)
    assert ordered.index(Path("1²3.png")) < ordered.index(Path("1²10.png"))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_png_modes_agree_with_another_reader(tmp_path: Path, mode: str) -> None:
    grey = STACK[0]
    picture = PillowImage.fromarray(grey)
    if mode == "I;16":
        picture = PillowImage.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "P":
        picture.putpalette([(3 * i) % 256 for i in range(768)])
        picture = PillowImage.fromarray(grey).quantize(16)
    elif mode != "L":
        picture = picture.convert(mode)
    picture.save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png")
    seen = np.asarray(PillowImage.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(image.read()[0], seen)
    assert image.colors == {"LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 1)
    assert image.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    if mode == "P":
        assert image.palette is not None
        shown = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in image.palette])[seen]
        np.testing.assert_array_equal(shown, np.asarray(picture.convert("RGB")))


def test_sixteen_bit_colour_is_not_cut_down(tmp_path: Path) -> None:
    colour = RNG.integers(0, 65535, (9, 8, 3)).astype(np.uint16)
    skimage_io.imsave(tmp_path / "a.tif", colour, check_contrast=False)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").read()[0], colour)
    import imagecodecs

    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(colour))
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").read()[0], colour)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_keep_their_values(tmp_path: Path, bits: int) -> None:
    values = RNG.integers(0, 2**bits, (5, 8)).astype(np.uint8)
    rows = [b"\0" + bytes(np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:])) for row in values]

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    head = (8).to_bytes(4, "big") + (5).to_bytes(4, "big") + bytes([bits, 0, 0, 0, 0])
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )
    (tmp_path / "a.png").write_bytes(png)
    image = open_image(tmp_path / "a.png")
    assert image.details["bits"] == str(bits)
    np.testing.assert_array_equal(image.read()[0], values)


def test_one_bit_masks_among_grey_ones(tmp_path: Path) -> None:
    mask = STACK[0] > 128
    save(tmp_path / "1.png", mask)
    save(tmp_path / "2.png", STACK[1])
    image = open_image(tmp_path)
    np.testing.assert_array_equal(image.read(), np.stack([mask * np.uint8(255), STACK[1]]))
    assert "0 and 255" in image.details["bits"]


def test_tiff_slices_with_pixel_sizes_have_no_thickness(tmp_path: Path) -> None:
    for z in range(3):
        tifffile.imwrite(
            tmp_path / f"{z}.tif", STACK[z], imagej=True, metadata={"unit": "nm"}, resolution=(1 / 4.6, 1 / 4.6)
        )
    image = open_image(tmp_path)
    np.testing.assert_array_equal(image.read(), STACK[:3])
    assert image.voxel_size_nm is None
    assert "4.6 nm" in image.details["voxel size"]


def test_slices_that_differ(tmp_path: Path) -> None:
    save(tmp_path / "size" / "1.png", STACK[0])
    save(tmp_path / "size" / "2.png", STACK[0])
    save(tmp_path / "size" / "3.png", STACK[0, :19])
    with pytest.raises(UnequalSlicesError, match=r"3\.png has 19 x 30 pixels.*`kind: images`"):
        open_image(tmp_path / "size")
    save(tmp_path / "type" / "1.png", STACK[0])
    save(tmp_path / "type" / "2.png", STACK[0].astype(np.uint16))
    with pytest.raises(FormatError, match="type"):
        open_image(tmp_path / "type")
    for name, colour in (("1.png", 10), ("2.png", 20)):
        picture = PillowImage.fromarray(STACK[0] % 2)
        picture.putpalette([colour] * 6)
        picture.save(save(tmp_path / "palette" / name, STACK[0]))
    with pytest.raises(FormatError, match="palette"):
        open_image(tmp_path / "palette")
    save(tmp_path / "mixed" / "1.png", STACK[0])
    save(tmp_path / "mixed" / "2.bmp", STACK[0])
    with pytest.raises(FormatError, match=r"1 \.bmp, 1 \.png.*choose with"):
        open_image(tmp_path / "mixed")
    tifffile.imwrite(tmp_path / "size" / "a.tif", STACK[:5])
    with pytest.raises(FormatError, match="holds 5 slices"):
        open_image(f"{tmp_path}/size/*.tif", files=[tmp_path / "size" / "a.tif"])


def test_unrelated_images(tmp_path: Path) -> None:
    save(tmp_path / "b10.png", STACK[0])
    save(tmp_path / "b9.png", STACK[1, :11])
    first, second = open_images(tmp_path)
    assert (first.slice_names, first.shape) == (("b9",), (1, 11, 30))
    np.testing.assert_array_equal(second.read()[0], STACK[0])
    assert len(open_images(tmp_path / "b9.png")) == 1


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "readme.md").write_text("x")
    (tmp_path / "a.xyz").write_bytes(b"x")
    for path, error, words in (
        ("none.tif", MissingFileError, "does not exist"),
        ("*.png", MissingFileError, "no file matches"),
        ("none.h5:/raw", MissingFileError, "none.h5"),
        ("empty", FormatError, "empty folder"),
        ("text", FormatError, "readme.md"),
        ("a.xyz", FormatError, "TIFF, MRC"),
        ("a.xyz:/raw", FormatError, "only HDF5, Zarr and N5"),
    ):
        with pytest.raises(error, match=words.replace("*", r"\*")):
            open_image(f"{tmp_path}/{path}")


def test_brackets_in_real_names_are_no_pattern(tmp_path: Path) -> None:
    save(tmp_path / "cell [1].png", STACK[0])
    np.testing.assert_array_equal(open_image(tmp_path / "cell [1].png").read()[0], STACK[0])


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    import os

    path = save(tmp_path / "a.png", STACK[0])
    assert open_image(path).read()[0, 0, 0] == STACK[0, 0, 0]
    save(path, 255 - STACK[0])
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(open_image(path).read()[0], 255 - STACK[0])


def test_files_that_vanish_after_opening(tmp_path: Path) -> None:
    save(tmp_path / "a.png", STACK[0])
    tifffile.imwrite(tmp_path / "raw.tif", STACK)
    tifffile.imwrite(tmp_path / "zip.tif", STACK, compression="zlib")
    images = [open_image(path) for path in sorted(tmp_path.iterdir())]
    for image in images:
        image.path.unlink()
        with pytest.raises(MissingFileError, match="vanished"):
            image.read()


def test_cache_is_bounded_and_decodes_once() -> None:
    cache, calls = DecodedCache(250), []

    def make(name: str, size: int) -> np.ndarray:
        calls.append(name)
        return np.zeros(size, np.uint8)

    for name in "abab":
        cache.get(name, lambda name=name: make(name, 100))  # type: ignore[misc]
    assert calls == ["a", "b"]
    cache.get("c", lambda: make("c", 100))
    cache.get("b", lambda: make("b", 100))
    cache.get("a", lambda: make("a", 100))
    cache.get("huge", lambda: make("huge", 251))
    cache.get("b", lambda: make("b", 100))
    assert calls == ["a", "b", "c", "a", "huge"]
    assert cache._bytes <= 250


def test_failed_decoding_is_not_remembered() -> None:
    cache = DecodedCache(1000)

    def fail() -> np.ndarray:
        raise FormatError("damaged")

    for _ in range(2):
        with pytest.raises(FormatError):
            cache.get("a", fail)
    assert cache.get("a", lambda: np.ones(3)).sum() == 3


def test_png_header_that_promises_too_much(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    PillowImage.fromarray(STACK[0]).save(buffer, "png")
    content = bytearray(buffer.getvalue())
    content[16:24] = (10**6).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(FormatError, match="1000000 x 1000000"):
        open_image(tmp_path / "bomb.png")
