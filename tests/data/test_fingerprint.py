"""Files are recognised only where it is certain that their voxels are the same."""

import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from cristae.data import fingerprint
from cristae.data.classes import Classes
from cristae.data.description import DataConfig, MappedLabels, VolumeConfig
from cristae.data.fingerprint import Fingerprints
from cristae.data.formats import write_image
from cristae.data.image import image_of_array

VALUES = {"0": "background", "255": "thing"}


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_SETTLED_S", -1)


def described(values: dict[str, str] = VALUES, image: str = "image") -> DataConfig:
    volume = VolumeConfig(name="v", image=image, labels=MappedLabels(path="labels", values=values))
    return DataConfig(classes=Classes(names=("background", "thing")), volumes=(volume,))


def write_slices(folder: Path) -> None:
    for kind in ("image", "labels"):
        (folder / kind).mkdir()
        for z in range(2):
            Image.fromarray(np.full((5, 6), z, np.uint8)).save(folder / kind / f"{z}.png")


def taken(folder: Path, data: DataConfig | None = None) -> str | None:
    return Fingerprints.take(data or described(), folder).of("v")


def test_untouched_files_keep_their_fingerprint(tmp_path: Path) -> None:
    write_slices(tmp_path)
    found = Fingerprints.take(described(), tmp_path)
    assert found.of("v") == taken(tmp_path) is not None
    assert found.unchanged("v")
    assert found.of("v/of an image") == found.of("v")
    assert found.of("w") is None
    assert not found.unchanged("w")


def test_a_file_changed_at_equal_size_and_time_is_noticed(tmp_path: Path) -> None:
    write_slices(tmp_path)
    before = Fingerprints.take(described(), tmp_path)
    file = tmp_path / "labels" / "1.png"
    status, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    time.sleep(0.02)
    file.write_bytes(bytes(content))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_mtime_ns == status.st_mtime_ns
    assert not before.unchanged("v")
    assert taken(tmp_path) not in (None, before.of("v"))


def test_another_slice_and_another_meaning_of_values_are_noticed(tmp_path: Path) -> None:
    write_slices(tmp_path)
    before = taken(tmp_path)
    assert taken(tmp_path, described(values={"0": "thing", "255": "background"})) != before
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / "image" / "2.png")
    assert taken(tmp_path) != before


def test_fresh_future_and_missing_files_are_not_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slices(tmp_path)
    monkeypatch.setattr(fingerprint, "_SETTLED_S", 2.5)
    assert taken(tmp_path) is None
    late = time.time() + 10
    monkeypatch.setattr(fingerprint.time, "time", lambda: late)
    assert taken(tmp_path) is not None
    os.utime(tmp_path / "image" / "0.png", (late + 5, late + 5))
    assert taken(tmp_path) is None
    (tmp_path / "image" / "0.png").unlink()
    (tmp_path / "image" / "1.png").unlink()
    assert taken(tmp_path) is None


def test_zarr_folders_are_recognised_by_their_chunks(tmp_path: Path) -> None:
    write_slices(tmp_path)
    write_image(image_of_array(np.arange(60, dtype=np.uint8).reshape(2, 5, 6)), tmp_path / "image.zarr")
    data = described(image="image.zarr")
    before = taken(tmp_path, data)
    assert before is not None
    chunk = max(
        (file for file in (tmp_path / "image.zarr").rglob("*") if file.is_file()), key=lambda f: f.stat().st_size
    )
    time.sleep(0.02)
    chunk.write_bytes(chunk.read_bytes())
    assert taken(tmp_path, data) != before


def test_hdf5_files_that_refer_to_others_are_not_recognised(tmp_path: Path) -> None:
    write_slices(tmp_path)
    voxels = np.zeros((2, 5, 6), np.uint8)
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["group/data"] = voxels
        file["same"] = h5py.SoftLink("/group/data")
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["group/data"] = h5py.ExternalLink("plain.h5", "/group/data")
    layout = h5py.VirtualLayout(voxels.shape, np.uint8)
    layout[:] = h5py.VirtualSource(tmp_path / "plain.h5", "group/data", voxels.shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert taken(tmp_path, described(image="plain.h5:/group/data")) is not None
    assert taken(tmp_path, described(image="linked.h5:/group/data")) is None
    assert taken(tmp_path, described(image="virtual.h5")) is None


def test_the_file_beside_an_hdf5_file_that_gives_its_voxel_size_is_noticed(tmp_path: Path) -> None:
    write_slices(tmp_path)
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        file["t00000/s00/0/cells"] = np.zeros((2, 5, 6), np.int16)
    data = described(image="cell.h5")
    before = taken(tmp_path, data)
    (tmp_path / "cell.xml").write_text("<SpimData/>", encoding="utf-8")
    assert taken(tmp_path, data) not in (None, before)
