"""What a file lets one doubt is said by every verb, not only by `inspect`; guesses that could be wrong are not made."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from cristae.data import fingerprint
from cristae.data.description import VolumeConfig
from cristae.data.formats import open_image, open_images
from cristae.data.image import image_of_array, warnings_of
from cristae.data.open import open_volume
from cristae.data.values import Context, packed_colors
from cristae.errors import FormatError, LabelError, ScoreError
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.progress import Progress
from cristae.recipe.matching import sized_image
from cristae.workflows.convert import convert
from cristae.workflows.evaluate import evaluate


class Heard(Progress):
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    zarr.create_array(tmp_path / "empty.zarr", shape=(3, 20, 20), dtype="u1", chunks=(1, 20, 20))
    return tmp_path / "empty.zarr"


def test_an_array_without_chunks_is_said_by_every_verb(empty: Path, tmp_path: Path) -> None:
    assert "no chunk is stored" in open_volume(empty).warnings[0]
    converting, scoring, predicting = Heard(), Heard(), Heard()
    sized_image(open_volume(empty), (4.0, 4.0, 4.0), predicting)
    assert [warning for warning in predicting.warnings if "no chunk is stored" in warning]
    convert(empty, tmp_path / "out.tif", progress=converting)
    assert [warning for warning in converting.warnings if f"{empty}: no chunk is stored" in warning]
    truth = image_of_array(np.ones((3, 20, 20), np.uint8), voxel_size_nm=(4.0, 4.0, 4.0))
    evaluate(empty, truth, options=ScoreOptions(binarize=0.5), progress=scoring)
    assert [warning for warning in scoring.warnings if "no chunk is stored" in warning]


def test_what_may_be_colours_is_asked_in_zarr_as_in_hdf5(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=np.zeros((64, 64, 3), np.uint8))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.zeros((64, 64, 3), np.uint8)
    for name in ("a.zarr", "a.h5"):
        with pytest.raises(FormatError, match="a volume 3 voxels wide, or colours or channels"):
            open_image(tmp_path / name)
        assert open_image(f"{tmp_path / name}::axes=zyx").shape == (64, 64, 3)
        assert open_image(f"{tmp_path / name}::axes=yxc::channel=color").colors == 3


@pytest.mark.parametrize("value", [-1, 2])
def test_values_outside_a_palette_are_refused(value: int) -> None:
    image = replace(image_of_array(np.zeros((1, 2, 2), np.int32)), palette=("#000000", "#ff0000"))
    with pytest.raises(LabelError, match=f"holds the value {value}, but its palette has colours for 0 to 1"):
        packed_colors(np.array([[[0, value]]], np.int32), image, Context("labels", ""))


def test_signed_is_refused_where_it_does_not_apply(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.zeros((4, 20, 20), np.int8)
    with pytest.raises(FormatError, match="::signed is for 8-bit MRC files"):
        open_image(f"{tmp_path}/a.h5::signed=false")


def test_volumes_are_no_flat_images(tmp_path: Path) -> None:
    for name in ("a.mrc", "b.npy"):
        (tmp_path / name).write_bytes(b"x" * 2000)
        with pytest.raises(FormatError, match=f"files that are no slices .{name}"):
            open_images(tmp_path / name)


def test_a_file_that_libhdf5_stumbles_over_has_no_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros((4, 20, 20), np.int8)
    os.utime(path, (1, 1))

    def stumble(_: Path) -> bool:
        raise SystemError("error return without exception set")

    config = VolumeConfig(name="a", image=str(path))
    monkeypatch.setattr(fingerprint, "_SETTLED_S", -1.0)
    assert fingerprint._fingerprint(config, None, tmp_path) is not None
    monkeypatch.setattr(fingerprint, "_holds_its_voxels", stumble)
    assert fingerprint._fingerprint(config, None, tmp_path) is None


def test_one_doubt_about_many_files_is_said_once() -> None:
    images = [
        replace(image_of_array(np.zeros((1, 2, 2), np.uint8), name=f"{z}.tif"), details={"note": "odd"})
        for z in range(9)
    ]
    assert warnings_of(images) == ("0.tif and 8 more: odd",)


@pytest.mark.parametrize(
    ("values", "words"),
    [([0, 1, 255], "small numbers and 255 alone"), ([0, 1, 2], "class ids"), ([0, 2], "class ids")],
)
def test_class_ids_are_no_probabilities(values: list[int], words: str) -> None:
    image = image_of_array(np.resize(values, (2, 8, 8)).astype(np.uint8), voxel_size_nm=(4.0, 4.0, 4.0))
    with pytest.raises(ScoreError, match=words):
        evaluate(image, image, options=ScoreOptions(binarize=0.5))


@pytest.mark.parametrize("values", [[0, 1], [0, 255], [0, 3, 128], [0, 200]])
def test_masks_and_probabilities_are_scored(values: list[int]) -> None:
    image = image_of_array(np.resize(values, (2, 8, 8)).astype(np.uint8), voxel_size_nm=(4.0, 4.0, 4.0))
    scores = evaluate(image, image, options=ScoreOptions(binarize=0.1, scores=("overlap",)))
    assert {score.value for score in scores if score.metric == "F1"} == {1.0}


def test_a_star_takes_no_hidden_file(tmp_path: Path) -> None:
    from PIL import Image as PillowImage

    for z in range(2):
        PillowImage.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"s{z}.png")
    (tmp_path / "._s0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "preview.jpg").write_bytes(b"x")
    assert open_image(tmp_path / "*.png").shape == (2, 4, 4)
    with pytest.raises(FormatError, match=r"choose with .*\*\.png"):
        open_image(tmp_path)
