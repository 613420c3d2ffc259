"""Every format written by Cristae, read by the field's own reader, and read back by Cristae."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.files import write_bytes
from cristae.data.formats import open_image, write_image
from cristae.data.formats import write as writing
from cristae.data.image import Image, image_of_array
from cristae.errors import FormatError, OutputExistsError, StorageError
from cristae.progress import Progress, Task

SIZE = (40.0, 4.600000000000001, 5.9)
SUFFIXES = (".tif", ".mrc", ".h5", ".zarr")
HELD = {
    ".tif": ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"),
    ".mrc": ("uint8", "int8", "uint16", "int16", "float16", "float32"),
    ".h5": ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"),
    ".zarr": (
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float16",
        "float32",
        "float64",
    ),
}
CASES = [(suffix, dtype) for suffix, held in HELD.items() for dtype in held]


def voxels(dtype: str, shape: tuple[int, ...] = (5, 37, 41)) -> np.ndarray:
    rng = np.random.default_rng(3)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(size=shape).astype(kind)
    limits = np.iinfo(kind)
    values = rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    values.flat[:2] = limits.min, limits.max
    return values


def field_reader(path: Path) -> np.ndarray:
    """What tifffile, mrcfile, h5py and zarr-python see."""
    if path.suffix == ".tif":
        return tifffile.imread(path)
    if path.suffix == ".mrc":
        with mrcfile.open(path) as file:
            return np.array(file.data)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file["data"][:]
    return zarr.open_group(path, mode="r")["0"][:]


@pytest.mark.parametrize(("suffix", "dtype"), CASES)
def test_values_type_and_voxel_size_survive(tmp_path: Path, suffix: str, dtype: str) -> None:
    path, array = tmp_path / f"cell{suffix}", voxels(dtype)
    write_image(image_of_array(array, voxel_size_nm=SIZE), path)

    seen = field_reader(path)
    np.testing.assert_array_equal(seen, array)
    ours = open_image(path)
    assert ours.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(ours.read(), array)
    if suffix == ".mrc":
        assert ours.voxel_size_nm == pytest.approx(SIZE, rel=1e-6)
    else:
        assert ours.voxel_size_nm == SIZE


def test_mrcfile_finds_our_header_valid(tmp_path: Path) -> None:
    path, array = tmp_path / "cell.mrc", voxels("int16")
    write_image(image_of_array(array, voxel_size_nm=(8.0, 4.0, 2.0)), path)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as file:
        assert file.voxel_size.tolist() == pytest.approx((20.0, 40.0, 80.0))
        assert float(file.header.dmean) == pytest.approx(array.mean(), rel=1e-4)
        assert float(file.header.rms) == pytest.approx(array.std(), rel=1e-4)


def test_tifffile_finds_physical_sizes_in_our_ome_xml(tmp_path: Path) -> None:
    path = tmp_path / "cell.tif"
    write_image(image_of_array(voxels("uint16"), voxel_size_nm=SIZE), path)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert file.series[0].axes == "ZYX"
        # Programs that skip OME-XML see pixels per centimetre: 1e7 nm / 5.9 nm.
        across, unit = (file.pages[0].tags[tag].value for tag in ("XResolution", "ResolutionUnit"))
    assert (pixels["PhysicalSizeZ"], pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (40.0, 5.9, "nm")
    assert unit == 3
    assert across[0] / across[1] == pytest.approx(1e7 / 5.9, rel=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unknown_voxel_size_stays_unknown(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cell{suffix}"
    write_image(image_of_array(voxels("int16")), path)
    assert open_image(path).voxel_size_nm is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_angstrom_that_we_wrote_is_known(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cell{suffix}"
    write_image(image_of_array(voxels("int16"), voxel_size_nm=(0.1, 0.1, 0.1)), path)
    assert open_image(path).voxel_size_nm == pytest.approx((0.1, 0.1, 0.1))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_origin_survives(tmp_path: Path, suffix: str) -> None:
    image = image_of_array(voxels("int16", (6, 30, 40)), voxel_size_nm=(10.0, 4.0, 2.0))
    write_image(image.crop(Box((2, 10, 20), (6, 30, 40))), tmp_path / f"part{suffix}")
    assert open_image(tmp_path / f"part{suffix}").origin_nm == pytest.approx((20.0, 40.0, 40.0))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("colors", [2, 3, 4])
def test_colours_survive_or_are_refused(tmp_path: Path, suffix: str, colors: int) -> None:
    array = voxels("uint8", (3, 20, 30, colors))
    image = Image(Path("rgb"), "array", (3, 20, 30), array.dtype, lambda box: array[box.slices], colors=colors)
    path = tmp_path / f"rgb{suffix}"
    if suffix == ".mrc":
        with pytest.raises(FormatError, match="colours"):
            write_image(image, path)
        return
    write_image(image, path)
    back = open_image(path)
    assert back.colors == colors
    np.testing.assert_array_equal(back.read(Box((1, 2, 3), (3, 15, 30))), array[1:3, 2:15, 3:30])


@pytest.mark.parametrize(("suffix", "dtype"), [(".mrc", "uint32"), (".mrc", "float64"), (".tif", "int64")])
def test_types_that_a_format_lacks_are_refused_with_a_cure(tmp_path: Path, suffix: str, dtype: str) -> None:
    with pytest.raises(FormatError, match=rf"{dtype}.*\.h5"):
        write_image(image_of_array(voxels(dtype)), tmp_path / f"cell{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_existing_files_are_not_overwritten(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cell{suffix}"
    write_bytes(path, b"precious")
    with pytest.raises(OutputExistsError, match="exists already"):
        write_image(image_of_array(voxels("uint8")), path)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_left_when_reading_fails_half_way(tmp_path: Path, suffix: str) -> None:
    array = voxels("int16")

    def read(box: Box) -> np.ndarray:
        if box.stop[0] > 3:
            raise FormatError("cell.raw: is truncated")
        return array[box.slices]

    broken = Image(Path("cell.raw"), "raw", (5, 37, 41), array.dtype, read, chunks=(1, 37, 41))
    with pytest.raises(FormatError, match="truncated"):
        write_image(broken, tmp_path / f"cell{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk_is_a_storage_error(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(box: Box) -> np.ndarray:
        raise OSError(28, "No space left on device")

    broken = Image(Path("cell.raw"), "raw", (5, 37, 41), np.dtype("int16"), read, chunks=(1, 37, 41))
    with pytest.raises(StorageError, match="disk is full"):
        write_image(broken, tmp_path / f"cell{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_image_same_bytes(tmp_path: Path, suffix: str) -> None:
    image = image_of_array(voxels("int16"), voxel_size_nm=SIZE)
    for folder in ("one", "two"):
        write_image(image, tmp_path / folder / f"cell{suffix}")

    def content(folder: str) -> dict[str, bytes]:
        root = tmp_path / folder
        return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}

    assert content("one") == content("two")
    assert content("one")


def test_bands_smaller_than_a_slice_give_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = voxels("int16", (3, 200, 150))
    image = Image(Path("a"), "array", array.shape, array.dtype, lambda box: array[box.slices], chunks=(2, 16, 32))
    monkeypatch.setattr("cristae.data.formats.stream.BAND_BYTES", 20_000)
    monkeypatch.setattr(writing, "BAND_BYTES", 20_000)
    largest = 0

    def watched(box: Box) -> np.ndarray:
        nonlocal largest
        largest = max(largest, box.size * 2)
        return array[box.slices]

    for suffix in (".mrc", ".h5"):
        largest = 0
        write_image(
            Image(Path("a"), "a", array.shape, array.dtype, watched, chunks=(2, 16, 32)), tmp_path / f"a{suffix}"
        )
        assert largest <= 20_000
        np.testing.assert_array_equal(open_image(tmp_path / f"a{suffix}").read(), array)
    write_image(image, tmp_path / "a.zarr")
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").read(), array)


@pytest.mark.parametrize("suffix", [".tif", ".mrc", ".h5"])
def test_memory_does_not_grow_with_the_volume(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (512, 512)).astype(np.uint8)

    def peak(slices: int) -> int:
        image = Image(
            Path("a"), "a", (slices, 512, 512), noise.dtype,
            lambda box: np.stack([noise] * box.shape[0])[:, box.slices[1], box.slices[2]], chunks=(1, 512, 512),
        )  # fmt: skip
        tracemalloc.start()
        write_image(image, tmp_path / f"{slices}{suffix}")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)
    assert peak(80) < peak(20) * 1.2 + 2**20


def test_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"\.nii.*\.zarr"):
        write_image(image_of_array(voxels("uint8")), tmp_path / "cell.nii")


def test_progress_counts_every_slice(tmp_path: Path) -> None:
    class Counting(Progress):
        @contextmanager
        def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
            seen: list[int] = []

            class Counted(Task):
                def advance(self, steps: int = 1, *, note: str = "") -> None:
                    seen.append(steps)

            yield Counted()
            assert sum(seen) == total

    for suffix in SUFFIXES:
        write_image(image_of_array(voxels("uint8", (20, 30, 600))), tmp_path / f"cell{suffix}", progress=Counting())


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, int, int]) -> Box:
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    folder = tmp_path_factory.mktemp("boxes")
    array = voxels("int16", (7, 61, 53))
    for suffix in SUFFIXES:
        write_image(image_of_array(array), folder / f"a{suffix}")
    tifffile.imwrite(
        folder / "tiles.tif", array, tile=(16, 32), compression="zlib", predictor=True, photometric="minisblack"
    )
    tifffile.imwrite(folder / "strips.tif", array, rowsperstrip=9, compression="lzw", photometric="minisblack")
    tifffile.imwrite(folder / "big.tif", array, bigtiff=True, byteorder=">", photometric="minisblack")
    with h5py.File(folder / "xyz.h5", "w") as file:
        data = file.create_dataset("raw", data=array.T, chunks=(8, 8, 3))
        for dimension, label in zip(data.dims, "xyz", strict=True):
            dimension.label = label
    for z, pixels in enumerate(array):
        (folder / "slices").mkdir(exist_ok=True)
        tifffile.imwrite(folder / "slices" / f"s{z}.tif", pixels)
    return {path.name: open_image(path) for path in sorted(folder.iterdir())}


@settings(max_examples=60, deadline=None)
@given(box=boxes((7, 61, 53)))
def test_a_box_is_that_part_of_the_whole(written: dict[str, Image], box: Box) -> None:
    expected = voxels("int16", (7, 61, 53))[box.slices]
    for name, image in written.items():
        part = image.read(box)
        np.testing.assert_array_equal(part, expected, err_msg=name)
        assert part.flags.writeable, name
        assert part.flags.c_contiguous, name


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_read_may_be_changed(tmp_path: Path, suffix: str) -> None:
    array = voxels("int16")
    write_image(image_of_array(array), tmp_path / f"a{suffix}")
    image = open_image(tmp_path / f"a{suffix}")
    image.read()[:] = 0
    np.testing.assert_array_equal(image.read(), array)
