"""Image, labels, valid mask and weight of one volume lie at the same place, whatever wrote the files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile

from cristae.data.classes import Classes
from cristae.data.description import DataConfig
from cristae.data.formats import write_image
from cristae.data.image import VoxelSize, image_of_array
from cristae.data.open import Dataset, open_data, open_volume
from cristae.errors import LabelError, VoxelSizeError

SHAPE = (6, 20, 24)
SIZE: VoxelSize = (40.0, 4.0, 4.0)
IDS = np.random.default_rng(0).integers(0, 2, SHAPE, np.uint8)
TWO = Classes(names=("background", "mito"))
Write = Callable[[Path, np.ndarray, VoxelSize], Path]


def mrc(path: Path, voxels: np.ndarray, size: VoxelSize, origin: VoxelSize = (0, 0, 0)) -> Path:
    """As IMOD and others save it, in angstrom."""
    path = path.with_suffix(".mrc")
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(voxels.astype(np.int16))
        z, y, x = size
        file.voxel_size = (x * 10, y * 10, z * 10)
        file.header.origin = tuple(edge * 10 for edge in origin[::-1])
    return path


def imagej(path: Path, voxels: np.ndarray, size: VoxelSize) -> Path:
    """As Fiji saves it, in um."""
    path, (z, y, x) = path.with_suffix(".tif"), size
    about = {"spacing": z / 1000, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(path, voxels, imagej=True, resolution=(1000 / x, 1000 / y), metadata=about)
    return path


def ome_zarr(path: Path, voxels: np.ndarray, size: VoxelSize) -> Path:
    path = path.with_suffix(".zarr")
    write_image(image_of_array(voxels, voxel_size_nm=size), path)
    return path


def hdf5(path: Path, voxels: np.ndarray, size: VoxelSize, origin: VoxelSize | None = None) -> Path:
    """As CREMI saves it, in nm."""
    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        data = file.create_dataset("labels", data=voxels)
        data.attrs["resolution"] = size
        if origin is not None:
            data.attrs["offset"] = origin
    return path


WRITERS: dict[str, Write] = {"mrc": mrc, "imagej": imagej, "ome-zarr": ome_zarr, "hdf5": hdf5}


def opened(folder: Path, image: Path, **fields: Any) -> Dataset:
    volume = {"name": "v", "image": str(image)} | fields
    return open_data(DataConfig.model_validate({"classes": TWO.model_dump(), "volumes": [volume]}), folder)


def ids(path: Path) -> dict[str, Any]:
    return {"labels": {"kind": "ids", "path": str(path)}}


SLIPS = {
    "um for nm": ((0.04, 0.004, 0.004), "um and nm"),
    "nm for angstrom": ((400.0, 40.0, 40.0), "angstrom and nm"),
    "x, y, z": ((4.0, 4.0, 40.0), "x, y, z"),
    "one axis": ((0.04, 4.0, 4.0), "along z"),
    "another volume": ((40.0, 5.0, 5.0), "40 x 5 x 5"),
}


@pytest.mark.parametrize(
    ("writer", "slip"),
    # An MRC file counts a size that no microscope has as unknown.
    [(writer, slip) for writer in WRITERS for slip in SLIPS if (writer, slip) != ("mrc", "um for nm")],
)
def test_labels_of_another_voxel_size_are_refused(tmp_path: Path, writer: str, slip: str) -> None:
    size, word = SLIPS[slip]
    image, labels = imagej(tmp_path / "image", IDS, SIZE), WRITERS[writer](tmp_path / "labels", IDS, size)
    with pytest.raises(VoxelSizeError) as caught:
        opened(tmp_path, image, **ids(labels))
    message = str(caught.value)
    assert all(words in message for words in (word, str(image), str(labels), "labels of 'v'", "trust_voxel_size: true"))
    with pytest.raises(VoxelSizeError):
        open_volume(image, labels=labels, classes=TWO)
    said = opened(tmp_path, image, voxel_size_nm=SIZE, trust_voxel_size=True, **ids(labels))
    assert said.volumes[0].voxel_size_nm == SIZE
    assert not said.warnings


@pytest.mark.parametrize("writer", WRITERS)
def test_labels_of_the_same_voxel_size_are_taken_in_silence(tmp_path: Path, writer: str) -> None:
    image, labels = imagej(tmp_path / "image", IDS, SIZE), WRITERS[writer](tmp_path / "labels", IDS, (40.2, 4.01, 4.0))
    data = opened(tmp_path, image, **ids(labels))
    assert not data.warnings
    assert np.array_equal(data.volumes[0].labels[0].read(), IDS)


@pytest.mark.parametrize("what", ["valid", "weight", "masks"])
def test_masks_and_weights_are_compared_too(tmp_path: Path, what: str) -> None:
    image, wrong = imagej(tmp_path / "image", IDS, SIZE), hdf5(tmp_path / "wrong", IDS, (40.0, 8.0, 8.0))
    good = hdf5(tmp_path / "good", IDS, SIZE)
    fields: dict[str, Any] = {
        "valid": ids(good) | {"valid": {"path": str(wrong)}},
        "weight": ids(good) | {"weight": str(wrong)},
        "masks": {"labels": {"kind": "masks", "masks": {"mito": {"path": str(wrong)}}}},
    }[what]
    words = {"valid": "valid mask of 'v'", "weight": "weight of 'v'", "masks": "mask 'mito' of 'v'"}[what]
    with pytest.raises(VoxelSizeError, match=rf"{words} in .*wrong\.h5 says 40 x 8 x 8 nm"):
        opened(tmp_path, image, **fields)


def test_labels_are_compared_with_what_the_recipe_says(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", IDS, photometric="minisblack")
    labels = hdf5(tmp_path / "labels", IDS, SIZE)
    with pytest.raises(VoxelSizeError, match="40 x 4 x 4 nm"):
        opened(tmp_path, tmp_path / "image.tif", voxel_size_nm=(50, 4, 4), **ids(labels))
    assert opened(tmp_path, tmp_path / "image.tif", voxel_size_nm=SIZE, **ids(labels)).volumes[0].voxel_size_nm == SIZE


def test_a_crop_of_another_place_is_warned_of_once(tmp_path: Path) -> None:
    image = mrc(tmp_path / "image", IDS, SIZE, (400.0, 40.0, 40.0))
    labels = hdf5(tmp_path / "labels", IDS, SIZE, (480.0, 40.0, 40.0))
    (warning,) = opened(tmp_path, image, **ids(labels)).warnings
    assert "480 x 40 x 40 nm" in warning
    assert "400 x 40 x 40 nm" in warning
    assert "2, 0, 0 voxels away" in warning
    assert not opened(tmp_path, image, **ids(mrc(tmp_path / "same", IDS, SIZE, (410.0, 41.0, 40.0)))).warnings
    silent = imagej(tmp_path / "silent", IDS, SIZE)
    assert not opened(tmp_path, image, **ids(silent)).warnings


def test_labels_of_a_crop_say_which_part_they_cover(tmp_path: Path) -> None:
    image = mrc(tmp_path / "image", IDS, SIZE, (400.0, 40.0, 40.0))
    for part, box in ((IDS[1:5, 5:15, 4:], "1:5,5:15,4:24"), (IDS[:, 5:15, 4:], "0:6,5:15,4:24")):
        z, y, x = (int(edge.split(":")[0]) for edge in box.split(","))
        labels = hdf5(tmp_path / "labels", part, SIZE, (400.0 + 40 * z, 40.0 + 4 * y, 40.0 + 4 * x))
        with pytest.raises(LabelError, match=f"covers the box {box} .*of the image"):
            opened(tmp_path, image, **ids(labels))


def test_transposed_labels_are_told_their_order(tmp_path: Path) -> None:
    image, labels = imagej(tmp_path / "image", IDS, SIZE), hdf5(tmp_path / "labels", IDS.transpose(2, 1, 0), SIZE)
    with pytest.raises(LabelError, match="in the order x, y, z; save it as z, y, x"):
        opened(tmp_path, image, **ids(labels))


def test_every_fifth_slice_may_have_its_own_distance(tmp_path: Path) -> None:
    image, labels = imagej(tmp_path / "image", IDS, SIZE), hdf5(tmp_path / "labels", IDS[::5], (200.0, 4.0, 4.0))
    given = ids(labels)
    given["labels"]["slices"] = [0, 5]
    assert opened(tmp_path, image, **given).volumes[0].labelled_slices == (0, 5)


def test_a_likely_slip_of_an_image_is_warned_of(tmp_path: Path) -> None:
    image = hdf5(tmp_path / "image", IDS, (0.04, 0.004, 0.004))
    (warning,) = opened(tmp_path, image).warnings
    assert "it is 40 x 4 x 4 nm" in warning
    assert "trust_voxel_size" in warning
    assert opened(tmp_path, image, voxel_size_nm=SIZE, trust_voxel_size=True).warnings == ()


def test_a_working_size_far_from_the_volumes_is_refused(tmp_path: Path) -> None:
    image = imagej(tmp_path / "image", IDS, SIZE)
    for size, words in (((0.04, 0.004, 0.004), "um and nm"), ((40.0, 36.0, 36.0), "a factor of 8")):
        volumes = [{"name": "v", "image": str(image)}]
        data = {"classes": TWO.model_dump(), "volumes": volumes, "voxel_size_nm": size}
        with pytest.raises(VoxelSizeError, match=f"data.voxel_size_nm: .*40 x 4 x 4 nm of 'v', .*{words}"):
            open_data(DataConfig.model_validate(data), tmp_path)
