"""Files cut, overwritten or misnamed: always an error of ours, or the true voxels, never anything else."""

import random
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from cristae.data.formats import open_image, write_image
from cristae.data.image import image_of_array
from cristae.errors import CristaeError, FormatError

ARRAY = np.random.default_rng(19).integers(0, 255, (6, 40, 37)).astype(np.uint8)


def imagej(path: Path) -> None:
    tifffile.imwrite(path, ARRAY, imagej=True, metadata={"axes": "ZYX", "unit": "nm", "spacing": 40})


def pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        for pixels in ARRAY:
            file.write(pixels, contiguous=False, metadata=None)


def mrc(path: Path) -> None:
    with mrcfile.new(path) as file:
        file.set_data(ARRAY.astype(np.int16))


def chunked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=ARRAY, chunks=(2, 16, 16), compression="gzip")


def ours(path: Path) -> None:
    write_image(image_of_array(ARRAY, voxel_size_nm=(40.0, 4.6, 4.6)), path)


def flat(path: Path) -> None:
    PillowImage.fromarray(ARRAY[0]).save(path)


def palette(path: Path) -> None:
    PillowImage.fromarray(ARRAY[0]).quantize(9).save(path)


WRITERS: dict[str, Callable[[Path], None]] = {
    "imagej.tif": imagej,
    "pages.tif": pages,
    "tiles.tif": lambda path: tifffile.imwrite(path, ARRAY, tile=(16, 16), compression="zlib"),
    "ome.ome.tif": lambda path: tifffile.imwrite(path, ARRAY, compression="lzw", metadata={"axes": "ZYX"}),
    "big.tif": lambda path: tifffile.imwrite(path, ARRAY, bigtiff=True),
    "field.mrc": mrc,
    "chunked.h5": chunked,
    "ours.tif": ours,
    "ours.mrc": ours,
    "ours.h5": ours,
    "grey.png": flat,
    "palette.png": palette,
    "grey.bmp": flat,
    "grey.jpg": flat,
}


@pytest.mark.parametrize("name", WRITERS)
def test_cut_anywhere(tmp_path: Path, name: str) -> None:
    """A file that lost its end is refused, or gives the very same voxels when only padding was lost."""
    path = tmp_path / name
    WRITERS[name](path)
    content, true = path.read_bytes(), open_image(path).read()
    rng = random.Random(name)
    lengths = {
        *range(0, 24, 3),
        *(rng.randrange(len(content)) for _ in range(25)),
        *(len(content) - i for i in range(1, 12)),
    }
    refused = 0
    for length in sorted(lengths):
        path.write_bytes(content[:length])
        try:
            seen = open_image(path).read()
        except CristaeError:
            refused += 1
        else:
            np.testing.assert_array_equal(seen, true, err_msg=f"{length} of {len(content)} bytes")
    assert refused >= 25


# libhdf5 can loop for ever over metadata with flipped bits, so its files are cut but not flipped here.
@pytest.mark.parametrize("name", [name for name in WRITERS if not name.endswith(".h5")])
def test_flipped_bits_never_escape_as_another_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    content = path.read_bytes()
    rng, refused = random.Random(name), 0
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[rng.randrange(min(len(content), 600))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            open_image(path).read()
        except CristaeError:
            refused += 1
    if name.endswith(".png"):
        assert refused == 60


@pytest.mark.parametrize("suffix", [".tif", ".mrc", ".h5", ".png", ".bmp", ".jpg"])
@pytest.mark.parametrize(
    "content", [b"", b"\0", b"not an image, but a letter to the editor" * 60], ids=["empty", "zero", "text"]
)
def test_files_that_are_not_what_their_name_says(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="a\\" + suffix) as raised:
        open_image(path)
    assert ("0 bytes" in str(raised.value)) == (content == b"")


@pytest.mark.parametrize(
    ("real", "said"), [("png", "tif"), ("tif", "png"), ("h5", "mrc"), ("png", "jpg"), ("bmp", "png")]
)
def test_wrong_suffix(tmp_path: Path, real: str, said: str) -> None:
    writer = {"png": flat, "bmp": flat, "tif": imagej, "h5": chunked}[real]
    writer(tmp_path / f"a.{real}")
    (tmp_path / f"a.{real}").rename(tmp_path / f"b.{said}")
    with pytest.raises(FormatError):
        open_image(tmp_path / f"b.{said}")


def test_tiff_header_that_promises_too_much(tmp_path: Path) -> None:
    for options in ({}, {"compression": "zlib"}, {"tile": (16, 16), "compression": "zlib"}):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, ARRAY[0], metadata=None, **options)
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[0].tags["ImageWidth"].overwrite(1_000_000)
            file.pages[0].tags["ImageLength"].overwrite(1_000_000)
        with pytest.raises(FormatError, match=r"truncated|damaged|too large"):
            open_image(path).read()


def test_tiff_directories_in_a_circle(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pages(path)
    content = bytearray(path.read_bytes())
    first = int.from_bytes(content[4:8], "little")
    link = first + 2 + int.from_bytes(content[first : first + 2], "little") * 12
    content[link : link + 4] = content[4:8]
    path.write_bytes(content)
    with pytest.raises(FormatError, match="circle"):
        open_image(path)


def test_libraries_stay_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    for name, writer in WRITERS.items():
        path = tmp_path / name
        writer(path)
        recwarn.clear()
        content = path.read_bytes()
        for part in (content, content[: len(content) // 2], content[:-40]):
            path.write_bytes(part)
            try:
                open_image(path).read()
            except CristaeError:
                continue
        assert not [w for w in recwarn if w.category is not ResourceWarning]
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def spoiled_tiff(path: Path, tag: str, value: int) -> None:
    """A single deflated slice in a BigTIFF, one number of whose directory is replaced."""
    tifffile.imwrite(path, ARRAY[0], bigtiff=True, compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as file:
        found = file.pages.first.tags[tag]
    layout = {3: "<H", 4: "<I", 16: "<Q"}[int(found.dtype)]
    content = bytearray(path.read_bytes())
    content[found.valueoffset : found.valueoffset + struct.calcsize(layout)] = struct.pack(layout, value)
    path.write_bytes(content)


@pytest.mark.parametrize("tag", ["ImageWidth", "ImageLength"])
def test_a_tiff_of_no_pixels_is_refused(tmp_path: Path, tag: str) -> None:
    spoiled_tiff(tmp_path / "a.tif", tag, 0)
    with pytest.raises(FormatError, match=r"a\.tif.* x .* pixels, which is no image; it is damaged"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize("tag", ["StripOffsets", "StripByteCounts"])
@pytest.mark.parametrize("value", [2**40, 2**62, 2**63 - 1, 2**63 + 5, 2**64 - 1])
def test_a_tiff_that_points_far_outside_is_damaged(tmp_path: Path, tag: str, value: int) -> None:
    spoiled_tiff(tmp_path / "a.tif", tag, value)
    with pytest.raises(FormatError, match=rf"a\.tif.*damaged.*{value}"):
        open_image(tmp_path / "a.tif").read()


@pytest.mark.parametrize("place", [2**63 - 1, 2**63 + 5])
def test_a_tiff_whose_directory_is_far_outside_is_damaged(tmp_path: Path, place: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ARRAY[0], bigtiff=True)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[8:16] = struct.pack("<Q", place)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(FormatError, match=f"damaged: image 1 is described at byte {place}"):
        open_image(tmp_path / "a.tif")
