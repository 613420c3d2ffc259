"""Every public set: its table, its honest split, and, where the data are on this machine, its voxels."""

import os
from pathlib import Path

import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from cristae.data.box import Box
from cristae.data.description import DataConfig, MappedLabels
from cristae.data.open import Dataset, open_data
from cristae.data.public import PUBLIC_SETS, find_set, find_set_folder, missing_set
from cristae.data.public.base import PublicSet
from cristae.errors import MissingFileError, VolumeError

DOWNLOADED = [chosen for chosen in PUBLIC_SETS if chosen.compute is None]
TASKS = [(chosen.name, task) for chosen in DOWNLOADED for task in chosen.tasks]


@pytest.fixture
def data(request: pytest.FixtureRequest) -> None:
    folder = os.environ.get("CRISTAE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CRISTAE_DATA does not name a folder with the public data sets")


def open_task(name: str, task: str | None = None) -> Dataset:
    return open_data(DataConfig(set=name, task=task), Path("recipe folder that is not used"))


@pytest.mark.parametrize("chosen", PUBLIC_SETS, ids=lambda chosen: chosen.name)
def test_every_set_says_what_it_is(chosen: PublicSet) -> None:
    assert all((chosen.title, chosen.citation, chosen.licence, chosen.licence_note, chosen.homepage, chosen.notes))
    assert find_set(chosen.name) is chosen
    paths = [file.path for file in chosen.files]
    assert len(set(paths)) == len(paths) >= 3
    assert not any(Path(path).is_absolute() or ".." in path or "\\" in path for path in paths)
    assert all(len(file.sha256) == 64 and file.size_bytes > 0 for file in chosen.files)


@pytest.mark.parametrize("chosen", DOWNLOADED, ids=lambda chosen: chosen.name)
def test_every_downloaded_set_is_pinned(chosen: PublicSet) -> None:
    paths = [file.path for file in chosen.files]
    # A branch name instead of a commit would let the files change under us.
    assert all(any(len(part) == 40 for part in file.address.split("/")) for file in chosen.files)
    assert all(file.address.startswith("https://") and " " not in file.address for file in chosen.files)
    assert any("LICENSE" in path or "README" in path or "description" in path for path in paths)


@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        ("axondeepseg-sem", ("rat6", "rat7", "rat8")),
        ("cdeep3m-mito", tuple(f".{z:03d}." for z in range(50, 60))),
        ("drosophila-vnc", tuple(f"raw/{z}." for z in range(15, 20))),
        ("emnet-cardiac", ("0004.tif", "Test")),
        ("flyem-medulla-fibsem", tuple(f"iso.{z}.png" for z in range(2790, 2850))),
        ("isbi2012", tuple(f"images/{z}." for z in range(20, 30))),
    ],
)
def test_reserved_test_slices_are_in_no_set(name: str, reserved: tuple[str, ...]) -> None:
    assert not [file.path for file in find_set(name).files if any(part in file.path for part in reserved)]


def test_unknown_sets_and_tasks_name_what_exists() -> None:
    with pytest.raises(VolumeError, match="known are axondeepseg-sem, cdeep3m-mito"):
        find_set("liver")
    with pytest.raises(VolumeError, match="no task 'glia'; it has membrane, organelles"):
        find_set("isbi2012").find_task("glia")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("synthetic-tomogramm", "synthetic-tomogram"), ("P1694", "p1694"), ("platelet-volume", "platelet-volumes")],
)
def test_a_misspelt_set_is_guessed_be_it_public_or_to_be_brought(typed: str, meant: str) -> None:
    with pytest.raises(VolumeError, match=f"'{typed}'; did you mean '{meant}'.; known are .* bring .*p1694"):
        find_set(typed)


def test_a_set_has_an_origin_of_its_own() -> None:
    with pytest.raises(ValueError, match="a public set says where it comes from"):
        DataConfig(set="isbi2012", available_from="a drawer")


def test_a_set_that_is_not_here_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRISTAE_DATA", str(tmp_path))
    monkeypatch.setattr("cristae.data.public.base.cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(MissingFileError, match="cristae data fetch isbi2012`, or set CRISTAE_DATA"):
        find_set_folder("isbi2012")
    (tmp_path / "isbi2012/images").mkdir(parents=True)
    (tmp_path / "isbi2012/images/0.png").touch()
    with pytest.raises(MissingFileError, match=r"incomplete, 81 of 82 files.*--to"):
        find_set_folder("isbi2012")
    assert missing_set("isbi2012") is None, "a part of it is there"
    assert missing_set("emnet-cardiac") == (
        "fetch them with `cristae data fetch emnet-cardiac`, or set CRISTAE_DATA to the folder that holds them"
    )


@pytest.mark.data
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(("name", "task"), TASKS)
def test_every_task_opens_and_maps_every_value(name: str, task: str) -> None:
    dataset = open_task(name, task)
    assert bool(dataset.train) == bool(dataset.validate) == (name != "em-stellar-cardiac")
    assert not dataset.test
    for volume in dataset.volumes:
        depth = volume.image.shape[0]
        assert len(volume.labels) == (1 if dataset.classes.exclusive else len(dataset.classes.names))
        for z in {0, depth // 2, depth - 1}:
            box = Box((z, 0, 0), (z + 1, *volume.image.shape[1:]))
            assert volume.image.read(box).std() > 0
            for labels in volume.labels:
                assert labels.read(box).max() <= max(dataset.classes.ids)


@pytest.mark.data
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("name", "gap"), [("cdeep3m-mito", 2), ("flyem-medulla-fibsem", 10), ("drosophila-vnc", 0), ("isbi2012", 0)]
)
def test_stacks_are_split_as_their_authors_suggest(name: str, gap: int) -> None:
    dataset = open_task(name)
    (train,), (validate,) = dataset.train, dataset.validate
    assert train.box.start[0] == 0
    assert validate.box.start[0] - train.box.stop[0] == gap
    assert validate.box.stop[0] == validate.volume.image.shape[0]
    assert bool(dataset.warnings) == (gap == 0)


def shares(dataset: Dataset) -> dict[str, float]:
    """Share of every class in the labels of all volumes."""
    counts = np.zeros(256)
    for volume in dataset.volumes:
        counts += np.bincount(volume.labels[0].read().ravel(), minlength=256)
    return {name: counts[dataset.classes.id_of(name)] / counts.sum() for name in dataset.classes.names}


@pytest.mark.data
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("name", "task", "expected", "digit"),
    [
        ("cdeep3m-mito", None, {"mitochondria": 0.088}, 0.0005),
        ("emnet-cardiac", None, {"mitochondria": 0.38}, 0.005),
        ("isbi2012", "membrane", {"membrane": 0.229}, 0.0005),
        (
            "drosophila-vnc",
            "nine-class",
            {
                "membrane 0 deg": 0.025,
                "membrane 45 deg": 0.029,
                "membrane 90 deg": 0.035,
                "membrane 135 deg": 0.032,
                "membrane junction": 0.051,
                "glia": 0.031,
                "mitochondria": 0.053,
                "synapse": 0.0065,
                "intracellular": 0.738,
            },
            0.0005,
        ),
        (
            "drosophila-vnc",
            "five-class",
            {"membrane": 0.172, "glia": 0.031, "mitochondria": 0.053, "synapse": 0.0065, "intracellular": 0.738},
            0.0005,
        ),
        (
            "platelet-em",
            None,
            {
                "background": 0.296,
                "cell": 0.618,
                "mitochondria": 0.0069,
                "alpha granule": 0.040,
                "canalicular vessel": 0.038,
                "dense granule body": 0.0014,
                "dense granule core": 0.00018,
            },
            0.0005,
        ),
    ],
)
def test_class_shares_are_the_published_ones(
    name: str, task: str | None, expected: dict[str, float], digit: float
) -> None:
    found = shares(open_task(name, task))
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=digit)


@pytest.mark.data
@pytest.mark.usefixtures("data")
def test_axons_of_every_animal() -> None:
    # Rows: rat 1, 2, 3 (three images), 4, 5; columns: background, myelin, axon.
    expected = {
        "data1": (0.38, 0.34, 0.28), "data5": (0.31, 0.40, 0.29), "data9": (0.51, 0.27, 0.22),
        "data10": (0.47, 0.30, 0.24), "data11": (0.52, 0.28, 0.20), "data12": (0.40, 0.38, 0.23),
        "data14": (0.39, 0.35, 0.26),
    }  # fmt: skip
    dataset = open_task("axondeepseg-sem")
    for volume in dataset.volumes:
        counts = np.bincount(volume.labels[0].read().ravel(), minlength=3)
        sample = volume.name.split("_")[1].removeprefix("sample-")
        assert counts / counts.sum() == pytest.approx(expected.pop(sample), abs=0.0051)
    assert not expected
    assert {part.volume.name.split("/")[0] for part in dataset.train} == {"rat1", "rat2", "rat4", "rat5"}
    assert {part.volume.name.split("/")[0] for part in dataset.validate} == {"rat3"}


@pytest.mark.data
@pytest.mark.usefixtures("data")
def test_overlapping_organelles_of_the_isbi_stack() -> None:
    dataset = open_task("isbi2012", "organelles")
    (volume,) = dataset.volumes
    means = [labels.read().mean() for labels in volume.labels]
    assert means == pytest.approx([0.229, 0.047, 0.038], abs=0.0005)


@pytest.mark.data
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(("task", "class_name"), [("mitochondria", "mitochondria"), ("synapse", "synapse")])
def test_vnc_masks_agree_with_the_labels(task: str, class_name: str) -> None:
    # Stated: Dice above 0.99, although some files are 1-bit and others anti-aliased grey.
    masks, five = open_task("drosophila-vnc", task), open_task("drosophila-vnc", "five-class")
    mask = masks.volumes[0].labels[0].read() == 1
    truth = five.volumes[0].labels[0].read() == five.classes.id_of(class_name)
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.99


@pytest.mark.data
@pytest.mark.usefixtures("data")
def test_cardiac_pairs_label_the_dark_area() -> None:
    for volume in open_task("emnet-cardiac").volumes:
        grey, inside = volume.image.read(), volume.labels[0].read() == 1
        assert grey[inside].mean() < grey[~inside].mean()


@pytest.mark.data
@pytest.mark.usefixtures("data")
def test_fly_neurons_and_their_boundary() -> None:
    import tifffile

    ids = tifffile.imread(find_set_folder("flyem-medulla-fibsem") / "neurons_iso2600-2789.tif")
    (boundary,) = open_task("flyem-medulla-fibsem", "boundary").volumes
    box = Box((20, 10, 0), (60, 90, 250))
    around = box.grow((1, 1, 0))
    crop = ids[around.slices].astype(np.int64)
    expected = find_boundaries(crop + 1, mode="thick", connectivity=1)[1:-1, 1:-1]
    assert boundary.valid is not None
    known = boundary.valid.read(box) == 1
    assert np.array_equal(known, ids[box.slices] != 0)
    found = boundary.labels[0].read(box) == 1
    # Only faces to unlabelled voxels may differ, and there are next to none of these.
    assert (found != expected)[known].mean() < 1e-4
    assert not (found & ~expected).any()
    (neurons,) = open_task("flyem-medulla-fibsem", "neurons").volumes
    assert 1 - neurons.labels[0].read().mean() == pytest.approx(0.000016, abs=0.5e-6)
    assert neurons.voxel_size_nm == (10, 10, 10)


@pytest.mark.data
@pytest.mark.usefixtures("data")
def test_cardiac_truth_and_outputs_lie_on_each_other() -> None:
    dataset = open_task("em-stellar-cardiac")
    assert len(dataset.volumes) == 28
    for volume in dataset.volumes:
        score, inside = volume.image.read(), volume.labels[0].read() == 1
        overlap = ((score > 127) & inside).sum() / ((score > 127) | inside).sum()
        assert overlap > 0.5, volume.name


def test_a_recipe_may_replace_parts_of_a_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cristae.data.open import resolve_data

    monkeypatch.setattr("cristae.data.open.find_set_folder", lambda name: tmp_path / name)
    stated = DataConfig.model_validate({"set": "isbi2012", "validate": [{"volume": "stack", "slices": "16:20"}]})
    complete, folder = resolve_data(stated, Path())
    known = find_set("isbi2012").tasks["membrane"]
    assert folder == tmp_path / "isbi2012"
    assert complete.task == "membrane"
    assert complete.train == known.train
    assert complete.validate_ == stated.validate_
    assert complete.volumes == known.volumes
    assert isinstance(complete.volumes[0].labels, MappedLabels)
    assert resolve_data(complete, Path())[0] == complete


def test_a_split_into_tiles_takes_the_place_of_a_sets_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cristae.data.description import TileSplit
    from cristae.data.open import resolve_data

    monkeypatch.setattr("cristae.data.open.find_set_folder", lambda name: tmp_path / name)
    own, _ = resolve_data(DataConfig(set="drosophila-vnc"), Path())
    assert own.validate_
    tiles = TileSplit(size=(256, 256), leaky=True)
    cut, _ = resolve_data(DataConfig(set="drosophila-vnc", split=tiles), Path())
    assert (cut.train, cut.validate_, cut.test) == (own.train, (), own.test)
    tested = tiles.model_copy(update={"test_share": 0.1})
    assert resolve_data(DataConfig(set="drosophila-vnc", split=tested), Path())[0].test == ()
    assert resolve_data(cut, Path())[0] == cut
