"""The set that is computed: its files, its tasks, and that nobody has to ask for it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cristae.data.description import DataConfig
from cristae.data.open import Dataset, open_data
from cristae.data.public import find_set_folder, missing_set
from cristae.data.public.derive import compute, voxel_sha256
from cristae.data.public.synthetic import SET, fibsem_ids
from cristae.data.synthetic import PLATELET_CLASSES, SyntheticConfig, synthetic_volume
from cristae.errors import DownloadError, MissingFileError
from cristae.workflows import datasets
from cristae.workflows.datasets import fetch_dataset, list_datasets


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        found = tmp_path_factory.mktemp("sets")
        patch.setattr("cristae.data.public.cache_folder", lambda: found)
        patch.setattr(datasets, "cache_folder", lambda: found)
        patch.delenv("CRISTAE_DATA", raising=False)
        yield found


def open_task(task: str) -> Dataset:
    return open_data(DataConfig(set="synthetic", task=task), Path("recipe folder that is not used"))


def ids_of(task: str) -> np.ndarray:
    (volume,) = open_task(task).volumes
    return volume.labels[0].read()


def test_it_is_listed_and_never_missing() -> None:
    assert "synthetic" in {one.name for one in list_datasets()}
    assert missing_set("synthetic") is None


def test_it_comes_into_being_on_first_use_and_stays(place: Path) -> None:
    folder = find_set_folder("synthetic")
    assert folder == place / "synthetic"
    times = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert set(times) == {file.path for file in SET.files}
    assert find_set_folder("synthetic") == folder
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == times


def test_its_files_hold_the_listed_voxels_on_any_machine() -> None:
    folder = find_set_folder("synthetic")
    assert {file.path: file.sha256 for file in SET.files} == {
        file.path: voxel_sha256(folder / file.path) for file in SET.files
    }


def test_a_lost_file_is_computed_again() -> None:
    folder = find_set_folder("synthetic")
    (folder / "platelet.tif").unlink()
    assert (find_set_folder("synthetic") / "platelet.tif").is_file()


def test_fetch_needs_no_address_and_finds_damage(place: Path, tmp_path: Path) -> None:
    assert fetch_dataset("synthetic") == place / "synthetic"
    copied = fetch_dataset("synthetic", to=tmp_path, mirror=str(place))
    assert (copied / "image.tif").read_bytes() == (place / "synthetic/image.tif").read_bytes()
    (copied / "platelet.tif").write_bytes((copied / "fib-sem.tif").read_bytes())
    with pytest.raises(DownloadError, match=r"platelet.tif: is there already, but differs"):
        fetch_dataset("synthetic", to=tmp_path)


def test_a_folder_of_sets_that_has_it_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRISTAE_DATA", str(tmp_path))
    (tmp_path / "synthetic").mkdir()
    with pytest.raises(MissingFileError, match="incomplete, 3 of 3 files"):
        find_set_folder("synthetic")
    fetch_dataset("synthetic", to=tmp_path)
    assert find_set_folder("synthetic") == tmp_path / "synthetic"


@pytest.mark.parametrize("task", SET.tasks)
def test_every_task_has_its_classes_in_both_parts_and_a_gap_between(task: str) -> None:
    dataset = open_task(task)
    assert dataset.warnings == ()
    (train,), (validate,) = dataset.train, dataset.validate
    assert validate.box.start[0] - train.box.stop[0] == 2
    assert train.volume.voxel_size_nm == (40, 10, 10)
    for part in (train, validate):
        found = set(np.unique(part.volume.labels[0].read(part.box)).tolist())
        assert found == set(dataset.classes.ids)


def test_platelet_is_the_synthetic_volume() -> None:
    volume = synthetic_volume(SyntheticConfig(shape=(24, 512, 512), seed=5))
    (opened,) = open_task("platelet").volumes
    assert open_task("platelet").classes == PLATELET_CLASSES
    assert np.array_equal(opened.image.read(), volume.image.read())
    assert np.array_equal(opened.labels[0].read(), volume.labels[0].read())


def test_other_tasks_fold_its_classes() -> None:
    seven = ids_of("platelet")
    assert np.array_equal(ids_of("mitochondria"), seven == 2)
    assert np.array_equal(ids_of("organelles"), np.array([0, 0, 1, 2, 3, 4, 4])[seven])


def test_the_cell_membrane_is_the_cytoplasm_beside_background() -> None:
    plane = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 4], [0, 1, 1, 2, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]], np.uint8)
    expected = [[0, 0, 0, 0, 0], [0, 2, 2, 2, 3], [0, 2, 0, 1, 0], [0, 2, 0, 0, 0], [2, 0, 0, 0, 0]]
    assert fibsem_ids(plane[None]).tolist() == [expected]
    # Neighbouring slices do not matter, and granules are background.
    assert fibsem_ids(np.array([[[0, 0]], [[1, 3]]], np.uint8)).tolist() == [[[0, 0]], [[0, 0]]]
    membrane = (ids_of("fib-sem") == 2).mean()
    assert 0.005 < membrane < 0.05, "a line, as the paper's 0.3 to 3 percent"


def test_what_a_faster_process_computed_stays(tmp_path: Path) -> None:
    (tmp_path / "image.tif").write_bytes(b"of another process")
    (image,) = (file for file in SET.files if file.path == "image.tif")
    compute(SET, image, tmp_path / "image.tif")
    assert (tmp_path / "image.tif").read_bytes() == b"of another process"
