"""Regions chosen anew, by hand-made datasets of a few slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cristae.data.class_repairs import absent_classes, voxels_by_section, with_absent_classes
from cristae.data.description import DataConfig
from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.data.open import Dataset, open_data
from cristae.data.split_repairs import kept_apart, without_sections

RING = {2, 3, 6}
"""Slices of ten that hold the second class; all hold the first."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = np.zeros((10, 8, 8), np.uint8)
    labels[:, 4:] = 1
    for z in RING:
        labels[z, 0, : z + 1] = 2
    write_image(image_of_array(labels), tmp_path / "labels.tif")
    write_image(image_of_array(np.arange(640, dtype=np.uint16).reshape(10, 8, 8)), tmp_path / "image.tif")
    for name in ("a", "b", "c[1]"):
        write_image(image_of_array(labels[2:3]), tmp_path / "images" / f"{name}.tif")
    return tmp_path


def opened(folder: Path, **splits: str) -> Dataset:
    regions = {
        name: [{"volume": "stack", "slices": one} for one in text.split()] for name, text in splits.items() if text
    }
    return open_data(described(regions), folder)


def described(regions: dict[str, list[dict[str, object]]]) -> DataConfig:
    return DataConfig.model_validate(
        {
            "classes": {"names": ["background", "blob", "ring"]},
            "volumes": [
                {"name": "stack", "image": "image.tif", "labels": {"kind": "ids", "path": "labels.tif"}},
                {
                    "name": "tiles",
                    "kind": "images",
                    "image": "images",
                    "labels": {"kind": "ids", "path": "images"},
                },
            ][: 1 if all(one["volume"] == "stack" for some in regions.values() for one in some) else 2],
            **regions,
        }
    )


def repaired(dataset: Dataset, split: str) -> tuple[str, ...]:
    voxels = voxels_by_section(dataset)
    assert voxels is not None
    return with_absent_classes(dataset, voxels, split)


def test_voxels_of_sections(folder: Path) -> None:
    found = voxels_by_section(opened(folder, train="0:10"))
    assert found is not None
    assert found["stack", 6] == {1: 32, 2: 7}
    assert found["stack", 0] == {1: 32}
    assert len(found) == 10


def test_a_class_comes_from_a_section_that_nobody_uses(folder: Path) -> None:
    """Slice 6 has most of it, and is not beside a slice of another split."""
    dataset = opened(folder, train="0:1", validate="4:5 8:10")
    voxels = voxels_by_section(dataset)
    assert voxels is not None
    assert absent_classes(dataset, voxels, "train") == absent_classes(dataset, voxels, "validate") == (2,)
    assert repaired(dataset, "train") == (
        'data.train: [{volume: "stack", slices: "0:1"}, {volume: "stack", slices: "6:7"}]',
    )
    assert repaired(dataset, "validate") == (
        'data.validate: [{volume: "stack", slices: "4:5"}, {volume: "stack", slices: "8:10"}, '
        '{volume: "stack", slices: "6:7"}]',
    )


def test_training_gives_up_a_section_and_its_neighbours(folder: Path) -> None:
    """Only where others that it keeps hold the class: 6 has most, and 2 and 3 stay."""
    assert repaired(opened(folder, train="0:8", validate="9:10"), "validate") == (
        'data.train: [{volume: "stack", slices: "0:5"}]',
        'data.validate: [{volume: "stack", slices: "9:10"}, {volume: "stack", slices: "6:7"}]',
    )
    assert repaired(opened(folder, train="2:4", validate="6:8", test="9:10"), "test") == ()


def test_training_keeps_all_its_classes_whatever_is_given_up(folder: Path) -> None:
    """Ring lies in 6 and 2, dot in 2 and 10: validation gets 6 for the one, and 2 for the other would leave training
    without ring, so it gets 10. A class that only a slice beside has stays, too."""
    labels = np.zeros((14, 8, 8), np.uint8)
    labels[:, 4:] = 1
    labels[6, 0], labels[2, 0, :4], labels[2, 1], labels[10, 1, :2] = 2, 2, 3, 3
    write_image(image_of_array(labels), folder / "labels2.tif")
    write_image(image_of_array(np.zeros(labels.shape, np.uint16)), folder / "image2.tif")
    stack = {"name": "stack", "image": "image2.tif", "labels": {"kind": "ids", "path": "labels2.tif"}}
    text = {
        "classes": {"names": ["background", "blob", "ring", "dot"]},
        "volumes": [stack],
        "train": [{"volume": "stack", "slices": "0:12"}],
        "validate": [{"volume": "stack", "slices": "13:14"}],
    }
    found = repaired(open_data(DataConfig.model_validate(text), folder), "validate")
    assert '"6:7"' in found[1]
    assert '"10:11"' in found[1]
    labels[7, 2], labels[13, 2] = 3, 3  # now validation has dot, and training has it in slice 7 alone
    labels[2, 1], labels[10, 1] = 0, 0
    write_image(image_of_array(labels), folder / "labels3.tif")
    stack["labels"] = {"kind": "ids", "path": "labels3.tif"}
    assert '"2:3"' in repaired(open_data(DataConfig.model_validate(text), folder), "validate")[1]


def test_nothing_is_taken_from_held_out_regions(folder: Path) -> None:
    assert repaired(opened(folder, train="0:1", validate="2:7"), "train") == ()


def test_sections_are_left_out_of_all_splits_and_volumes(folder: Path) -> None:
    dataset = open_data(
        described(
            {
                "train": [{"volume": "stack", "slices": "0:5"}, {"volume": "tiles", "images": ["a", "c*"]}],
                "validate": [{"volume": "stack", "slices": "6:10"}],
            }
        ),
        folder,
    )
    splits = {"train": dataset.train, "validate": dataset.validate}
    lines = without_sections(splits, {"stack": [2, 8], "tiles/a": [0]})
    assert lines == (
        'data.train: [{volume: "stack", slices: "0:2"}, {volume: "stack", slices: "3:5"}, '
        '{volume: "tiles", images: ["c[[]1]"]}]',
        'data.validate: [{volume: "stack", slices: "6:8"}, {volume: "stack", slices: "9:10"}]',
    )
    assert without_sections({"train": dataset.train}, {"stack": range(10), "tiles/a": [0], "tiles/c[1]": [0]}) == ()


def test_a_gap_is_left_between_splits(folder: Path) -> None:
    dataset = opened(folder, train="0:5", validate="5:10")
    splits = {"train": dataset.train, "validate": dataset.validate}
    assert kept_apart(splits, "train", "validate") == ('data.validate: [{volume: "stack", slices: "6:10"}]',)
