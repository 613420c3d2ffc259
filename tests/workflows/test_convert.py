"""Conversions between all formats keep voxels, types, sizes, origin and class names."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from prediction_files import write_prediction
from scipy import ndimage

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import open_image, write_image
from cristae.data.formats.ome_zarr import ZarrSpec, create_multiscale, read_label_classes
from cristae.data.image import image_of_array
from cristae.errors import FormatError, OutputExistsError, RunError, VolumeError, VoxelSizeError
from cristae.preprocess.grain import grain_filter
from cristae.preprocess.grain_image import grain_filtered
from cristae.progress import Progress
from cristae.workflows.convert import convert

STACK = np.random.default_rng(31).integers(0, 255, (5, 33, 47)).astype(np.uint8)
SIZE = (40.0, 4.6, 5.9)
FORMATS = (".tif", ".mrc", ".h5", ".zarr")


@pytest.mark.parametrize(("source", "destination"), list(product(FORMATS, FORMATS)))
def test_from_every_format_to_every_other(tmp_path: Path, source: str, destination: str) -> None:
    whole = image_of_array(STACK, voxel_size_nm=SIZE)
    write_image(whole.crop(Box((1, 3, 0), (5, 33, 47))), tmp_path / f"a{source}")
    image = convert(tmp_path / f"a{source}", tmp_path / f"b{destination}")
    np.testing.assert_array_equal(image.read(), STACK[1:, 3:])
    assert image.dtype == np.uint8
    assert image.voxel_size_nm == SIZE
    assert image.origin_nm == pytest.approx((40.0, 13.8, 0.0))


def test_a_folder_of_slices_gets_its_voxel_size(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for z, pixels in enumerate(STACK):
        PillowImage.fromarray(pixels).save(tmp_path / "in" / f"{z}.png")
    assert convert(tmp_path / "in", tmp_path / "unknown.mrc").voxel_size_nm is None
    image = convert(tmp_path / "in", tmp_path / "known.mrc", voxel_size_nm=SIZE)
    assert image.voxel_size_nm == SIZE
    np.testing.assert_array_equal(image.read(), STACK)


def test_a_contradicting_voxel_size_is_refused(tmp_path: Path) -> None:
    write_image(image_of_array(STACK, voxel_size_nm=SIZE), tmp_path / "a.tif")
    with pytest.raises(VoxelSizeError, match=r"40 x 4\.6 x 5\.9 nm.*400 x 46 x 59 nm"):
        convert(tmp_path / "a.tif", tmp_path / "b.zarr", voxel_size_nm=(400.0, 46.0, 59.0))
    with pytest.raises(VoxelSizeError, match="greater than 0"):
        convert(tmp_path / "a.tif", tmp_path / "b.zarr", voxel_size_nm=(0.0, 4.6, 5.9))
    assert not (tmp_path / "b.zarr").exists()
    assert convert(tmp_path / "a.tif", tmp_path / "b.zarr", voxel_size_nm=(40.001, 4.6, 5.9)).voxel_size_nm == SIZE


def test_names_and_colours_of_classes(tmp_path: Path) -> None:
    classes = ((0, "background", "#000000"), (1, "mitochondria", "#e6194b"), (4, "granule", "#4363d8"))
    spec = ZarrSpec((2, 300, 300), np.dtype("uint8"), (1, 64, 64), (2, 128, 128), SIZE)
    ids = np.random.default_rng(0).choice(np.array([0, 1, 4], np.uint8), spec.shape)
    writer = create_multiscale(tmp_path / "a.zarr", spec, name="labels", classes=classes)
    for box in Box.of_shape(spec.shape).blocks(spec.shards):
        writer.write(box, ids[box.slices])
    convert(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert read_label_classes(tmp_path / "b.zarr") == classes
    np.testing.assert_array_equal(open_image(tmp_path / "b.zarr" / "1").read(), ids[:, ::2, ::2])
    tiff = convert(tmp_path / "b.zarr", tmp_path / "c.tif")
    assert tiff.palette is not None
    assert (tiff.palette[1], tiff.palette[4]) == ("#e6194b", "#4363d8")
    np.testing.assert_array_equal(tiff.read(), ids)


def test_palette_slices_become_labels(tmp_path: Path) -> None:
    picture = PillowImage.fromarray(STACK[0] % 2)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.save(tmp_path / "a.png")
    convert(tmp_path / "a.png", tmp_path / "a.zarr")
    assert read_label_classes(tmp_path / "a.zarr")[:2] == ((0, "label 0", "#000000"), (1, "label 1", "#ff0000"))


def test_destinations_that_cannot_be(tmp_path: Path) -> None:
    write_image(image_of_array(STACK.astype(np.uint32)), tmp_path / "a.tif")
    with pytest.raises(FormatError, match="uint32"):
        convert(tmp_path / "a.tif", tmp_path / "b.mrc")
    with pytest.raises(OutputExistsError):
        convert(tmp_path / "a.tif", tmp_path / "a.tif")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.tif"]


@pytest.mark.parametrize("inner", ["", ":/labels/segmentation", "/labels/segmentation/0", ":/0"])
def test_only_finished_predictions_are_converted(tmp_path: Path, inner: str) -> None:
    ids, classes = STACK[None] % 2, Classes(names=("background", "mito"))
    write_prediction(tmp_path / "p.zarr", ids, classes, status="running")
    with pytest.raises(RunError, match=r"not finished.*repeat the `cristae predict` command"):
        convert(f"{tmp_path / 'p.zarr'}{inner}", tmp_path / "p.tif")
    assert not (tmp_path / "p.tif").exists()
    write_prediction(tmp_path / "done.zarr", ids, classes)
    assert convert(f"{tmp_path / 'done.zarr'}{inner}", tmp_path / "done.tif").shape[0] == len(STACK)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_slices_are_grain_filtered_and_keep_the_rest(tmp_path: Path, ending: str, dtype: type) -> None:
    stack = (STACK.astype(dtype) / 255 if dtype == np.float32 else STACK).astype(dtype)
    write_image(image_of_array(stack, voxel_size_nm=SIZE), tmp_path / f"a{ending}")
    image = convert(tmp_path / f"a{ending}", tmp_path / f"b{ending}", grain_filter=9)
    np.testing.assert_array_equal(image.read(), np.stack([grain_filter(plane, [9])[0] for plane in stack]))
    assert (image.voxel_size_nm, image.dtype, image.shape) == (SIZE, dtype, stack.shape)


def test_a_part_of_a_slice_is_that_of_the_filtered_slice() -> None:
    image = grain_filtered(image_of_array(STACK), 40)
    whole = image.read()
    box = Box((1, 4, 7), (3, 20, 44))
    np.testing.assert_array_equal(image.read(box), whole[box.slices])


@pytest.mark.parametrize(
    ("stack", "area", "message"),
    [
        (STACK, 0, r"a\.tif: a grain filter of 0 pixels: .*of 33 x 47 have 1 to 1551"),
        (STACK, 1, r"a\.tif: a grain filter of 1 pixel leaves the image as it is, .*; give the least area"),
        (STACK, 1552, r"a\.tif: a grain filter of 1552 pixels: .* have 1 to 1551"),
        (np.full((1, 4, 4), np.nan, np.float32), 2, r"a\.tif: slice 0 holds NaN"),
    ],
    ids=["no area", "nothing to leave out", "more than a slice", "NaN"],
)
def test_what_cannot_be_grain_filtered_is_refused(tmp_path: Path, stack: np.ndarray, area: int, message: str) -> None:
    write_image(image_of_array(stack), tmp_path / "a.tif")
    with pytest.raises(VolumeError, match=message):
        convert(tmp_path / "a.tif", tmp_path / "b.tif", grain_filter=area)
    assert not (tmp_path / "b.tif").exists()


def test_colours_and_palettes_are_not_grain_filtered(tmp_path: Path) -> None:
    colored = PillowImage.fromarray(np.zeros((4, 5, 3), np.uint8))
    colored.save(tmp_path / "rgb.png")
    colored.convert("P").save(tmp_path / "palette.png")
    for name, message in (("rgb.png", "3 colour channels"), ("palette.png", "indices of a palette")):
        with pytest.raises(VolumeError, match=message):
            convert(tmp_path / name, tmp_path / "b.tif", grain_filter=2)


class Warned(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, message: str) -> None:
        self.lines.append(message)


def test_label_images_with_names_are_not_grain_filtered(tmp_path: Path) -> None:
    ids = np.zeros((1, 4, 32, 32), np.uint8)
    ids[..., 4:20] = 1
    write_prediction(tmp_path / "p.zarr", ids, Classes(names=("background", "mito")))
    with pytest.raises(VolumeError, match=r"holds labels \(background, segmentation\), whose ids .* grey values"):
        convert(tmp_path / "p.zarr" / "labels" / "segmentation", tmp_path / "b.tif", grain_filter=9)
    assert not (tmp_path / "b.tif").exists()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_what_looks_like_labels_is_filtered_with_a_warning(tmp_path: Path, dtype: type) -> None:
    """Object ids, masks and class ids alike; not the noise of micrographs, nor a padded or a smooth one."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 9, (3, 5, 5)), np.ones((1, 8, 8), int)).astype(dtype)
    padded = rng.normal(120, 20, (3, 40, 40)).astype(dtype)
    padded[:, :, 15:] = 0
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (3, 40, 40)), (0, 2, 2))
    smooth = (128 + 300 * smooth).clip(0, 255).astype(dtype)
    seen = {"ids": blocks, "mask": (blocks > 4).astype(dtype), "padded": padded, "smooth": smooth}
    for name, stack in seen.items():
        write_image(image_of_array(stack), tmp_path / f"{name}.tif")
        said = Warned()
        convert(tmp_path / f"{name}.tif", tmp_path / f"{name}-out.tif", grain_filter=9, progress=said)
        labels = [line for line in said.lines if "looks like labels rather than grey values" in line]
        assert len(labels) == (name in ("ids", "mask")), name


def test_slices_that_are_too_large_are_refused_before_anything_is_read() -> None:
    image = replace(image_of_array(STACK), shape=(5, 2**14, 2**14), path=Path("large.zarr"))
    with pytest.raises(VolumeError, match=r"large\.zarr: a plane of 16384 x 16384 pixels is too large"):
        grain_filtered(image, 9)


@pytest.mark.parametrize("ending", FORMATS)
def test_transposed_mirrored_and_moved(tmp_path: Path, ending: str) -> None:
    write_image(image_of_array(STACK, voxel_size_nm=SIZE), tmp_path / f"a{ending}")
    image = convert(tmp_path / f"a{ending}", tmp_path / f"b{ending}", transpose="zxy", flip="y", shift=(0, 2, -1))
    turned = np.flip(STACK.transpose(0, 2, 1), 1)
    expected = np.pad(turned, ((0, 0), (2, 0), (0, 1)), mode="edge")[:, :-2, 1:]
    np.testing.assert_array_equal(image.read(), expected)
    assert image.voxel_size_nm == (40.0, 5.9, 4.6)
    back = convert(tmp_path / f"b{ending}", tmp_path / f"c{ending}", shift=(0, -2, 1)).read()[:, :-2, 1:]
    np.testing.assert_array_equal(back, turned[:, :-2, 1:])


@pytest.mark.parametrize("ending", FORMATS)
def test_dark_and_bright_are_exchanged(tmp_path: Path, ending: str) -> None:
    write_image(image_of_array(STACK, voxel_size_nm=SIZE), tmp_path / f"a{ending}")
    np.testing.assert_array_equal(convert(tmp_path / f"a{ending}", tmp_path / f"b{ending}", invert=True).read(), ~STACK)


def test_mirrored_labels_keep_names_and_colours(tmp_path: Path) -> None:
    picture = PillowImage.fromarray(STACK[0] % 2)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.save(tmp_path / "a.png")
    image = convert(tmp_path / "a.png", tmp_path / "a.tif", flip="x")
    assert image.palette is not None
    assert image.palette[:2] == ("#000000", "#ff0000")
    np.testing.assert_array_equal(image.read()[0], (STACK[0] % 2)[:, ::-1])
    with pytest.raises(VolumeError, match="only grey values can be inverted"):
        convert(tmp_path / "a.png", tmp_path / "b.tif", invert=True)


def test_turns_that_cannot_be(tmp_path: Path) -> None:
    write_image(image_of_array(STACK), tmp_path / "a.tif")
    for options, message in (({"flip": "yy"}, "--flip yy"), ({"transpose": "yx"}, "--transpose yx"),
                             ({"shift": (0, 33, 0)}, "leaves nothing of it")):  # fmt: skip
        with pytest.raises(VolumeError, match=message):
            convert(tmp_path / "a.tif", tmp_path / "b.tif", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "b.tif").exists()
