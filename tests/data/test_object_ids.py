"""Ids of objects: which are none, which were not annotated, and which need a word first."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image as Picture

from cristae.data.classes import Classes
from cristae.data.description import InstanceLabels
from cristae.data.image import image_of_array
from cristae.data.labelling import Labelling, open_labelling, open_sources
from cristae.errors import LabelError

SHAPE = (2, 3, 4)


def labelling(tmp_path: Path, ids: np.ndarray, **fields: object) -> Labelling:
    path = tmp_path / "ids.h5"
    with h5py.File(path, "w") as file:
        file["ids"] = ids
    config = InstanceLabels.model_validate({"path": str(path), "to": "foreground", "class_name": "cell"} | fields)
    image = image_of_array(np.zeros(ids.shape, np.uint8))
    sources = open_sources(config, image, tmp_path, name="v")
    return open_labelling(config, Classes(names=("background", "cell")), image, sources, name="v")


def filled(values: list[int], dtype: type) -> np.ndarray:
    return np.resize(np.array(values, dtype), SHAPE)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([0, 7, 2**64 - 1], np.uint64), ([0, 7, -1], np.int16), ([0, 7, -1], np.int64), ([0, 7, 255], np.uint8)],
)
def test_listed_ids_were_not_annotated(tmp_path: Path, values: list[int], dtype: type) -> None:
    ids = filled(values, dtype)
    found = labelling(tmp_path, ids, unlabelled=[values[-1]])
    assert found.valid is not None
    assert np.array_equal(found.valid.read() == 1, ids != values[-1])
    assert np.array_equal(found.labels[0].read() == 1, ids == 7)


def test_not_annotated_and_zero_unlabelled_add_up(tmp_path: Path) -> None:
    ids = filled([0, 7, -1], np.int32)
    found = labelling(tmp_path, ids, unlabelled=["-9--1"], zero="unlabelled")
    assert found.valid is not None
    assert np.array_equal(found.valid.read() == 1, ids == 7)


def test_further_ids_are_background(tmp_path: Path) -> None:
    ids = filled([1, 7, 2**64 - 1], np.uint64)
    found = labelling(tmp_path, ids, background=[1, 2**64 - 1])
    assert found.valid is None
    assert np.array_equal(found.labels[0].read() == 1, ids == 7)


def test_no_boundary_lies_beside_what_was_not_annotated(tmp_path: Path) -> None:
    ids = np.array([[[5, 5, -1, 6, 8, 8]]], np.int32)
    found = labelling(tmp_path, ids, unlabelled=[-1], to="boundary")
    assert found.labels[0].read().ravel().tolist() == [0, 0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(-1, np.int8), (-(2**62), np.int64), (2**64 - 1, np.uint64), (2**64 - 3, np.uint64), (2**32 - 1, np.uint32)],
)
def test_ids_that_usually_mean_not_annotated_need_a_word(tmp_path: Path, value: int, dtype: type) -> None:
    ids = filled([0, 7, value], dtype)
    with pytest.raises(
        LabelError, match=rf"holds the id {value}.*\n.*data\.volumes\.v\.labels: `unlabelled: \[{value}\]`"
    ):
        labelling(tmp_path, ids).labels[0].read()
    found = labelling(tmp_path, ids, unlabelled=[])
    assert found.valid is None
    assert np.array_equal(found.labels[0].read() == 1, ids != 0)


def test_a_full_byte_is_an_id_like_any_other(tmp_path: Path) -> None:
    ids = filled([0, 254, 255], np.uint8)
    assert np.array_equal(labelling(tmp_path, ids).labels[0].read() == 1, ids != 0)


def test_colours_are_listed_as_colours(tmp_path: Path) -> None:
    colors = np.array([[[255, 255, 255], [255, 0, 0], [0, 0, 255], [0, 0, 0]]], np.uint8)
    Picture.fromarray(colors).save(tmp_path / "objects.png")
    config = InstanceLabels.model_validate(
        {
            "path": str(tmp_path / "objects.png"),
            "to": "foreground",
            "class_name": "cell",
            "background": ["#ffffff"],
            "unlabelled": ["#0000ff"],
        }
    )
    image = image_of_array(np.zeros((1, 1, 4), np.uint8))
    sources = open_sources(config, image, tmp_path, name="v")
    found = open_labelling(config, Classes(names=("background", "cell")), image, sources, name="v")
    assert found.valid is not None
    assert found.labels[0].read().ravel().tolist() == [0, 1, 0, 0]
    assert found.valid.read().ravel().tolist() == [1, 1, 0, 1]
    with pytest.raises(LabelError, match="mixes colours and numbers"):
        labelling(tmp_path, filled([0, 1], np.uint8), unlabelled=["#ffffff", 3])
