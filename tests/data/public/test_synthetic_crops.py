"""The computed sets of three crops: their voxels, their tasks, and that the crops lie apart."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from everyday import everyday

from cristae.data.box import Box
from cristae.data.description import DataConfig
from cristae.data.open import Dataset, open_data
from cristae.data.public import find_set_folder, synthetic_fibsem, synthetic_tomogram
from cristae.data.public.base import PublicSet
from cristae.data.public.crops import Crops
from cristae.data.public.derive import voxel_sha256
from cristae.data.synthetic import TOMOGRAM_CLASSES, synthetic_volume

SETS = {one.SET.name: (one.SET, one._CROPS) for one in (synthetic_fibsem, synthetic_tomogram)}
TASKS = [(name, task) for name, (chosen, _) in SETS.items() for task in chosen.tasks]


@pytest.fixture(scope="module", autouse=True)
def place(computed_sets: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cristae.data.public.cache_folder", lambda: computed_sets)
        patch.delenv("CRISTAE_DATA", raising=False)
        yield


def open_task(name: str, task: str | None = None) -> Dataset:
    return open_data(DataConfig(set=name, task=task), Path("recipe folder that is not used"))


@pytest.mark.parametrize("chosen", everyday({chosen.name: chosen for chosen, _ in SETS.values()}, "synthetic-fibsem"))
def test_its_files_hold_the_listed_voxels_on_any_machine(chosen: PublicSet) -> None:
    folder = find_set_folder(chosen.name)
    assert {file.path: file.sha256 for file in chosen.files} == {
        file.path: voxel_sha256(folder / file.path) for file in chosen.files
    }


@pytest.mark.parametrize("crops", [crops for _, crops in SETS.values()], ids=list(SETS))
def test_crops_lie_apart_within_the_tissue(crops: Crops) -> None:
    """By 300 nm at least, more than any filter or smear reaches and than neighbouring slices are alike."""
    boxes = [Box.of_shape(shape).shift(start) for start, shape in crops.places.values()]
    assert all(Box.of_shape(crops.tissue.shape).contains(box) for box in boxes)
    for first, second in combinations(boxes, 2):
        gaps = [
            max(b0 - a1, a0 - b1) * size
            for a0, a1, b0, b1, size in zip(
                first.start, first.stop, second.start, second.stop, crops.tissue.voxel_size_nm, strict=True
            )
        ]
        assert max(gaps) >= 300


@pytest.mark.parametrize(
    ("name", "task"), [pytest.param(*one, marks=[pytest.mark.slow] * ("tomogram" in one[0])) for one in TASKS]
)
def test_every_task_has_its_classes_in_all_parts(name: str, task: str) -> None:
    dataset = open_task(name, task)
    assert dataset.warnings == ()
    for parts, part_name in ((dataset.train, "train"), (dataset.validate, "validate"), (dataset.test, "test")):
        (part,) = parts
        assert part.volume.name == part_name
        found = set(np.unique(part.volume.labels[0].read(part.box)).tolist())
        assert found == set(dataset.classes.ids)


@pytest.mark.parametrize("name", everyday(SETS.keys(), "synthetic-fibsem"))
def test_files_are_parts_of_the_tissue(name: str) -> None:
    _, crops = SETS[name]
    volume = synthetic_volume(crops.tissue)
    box = Box((3, 40, 50), (7, 60, 90))
    for opened in open_task(name).volumes:
        start, _ = crops.places[opened.name]  # type: ignore[index]
        assert np.array_equal(opened.image.read(box), volume.image.read(box.shift(start)))
        assert np.array_equal(opened.labels[0].read(box), volume.labels[0].read(box.shift(start)))
        assert opened.voxel_size_nm == crops.tissue.voxel_size_nm


def test_tasks_of_one_structure_fold_all_others_into_the_background() -> None:
    whole = open_task("synthetic-tomogram").volumes[1].labels[0].read()
    for name in TOMOGRAM_CLASSES.foreground:
        alone = open_task("synthetic-tomogram", name).volumes[1].labels[0].read()
        assert np.array_equal(alone, whole == TOMOGRAM_CLASSES.id_of(name))


def test_the_rarest_structure_of_the_tomogram_is_rare() -> None:
    labels = open_task("synthetic-tomogram").volumes[0].labels[0].read()
    shares = np.bincount(labels.ravel(), minlength=6) / labels.size
    assert 1 / 500 < shares.min() < 1 / 250
