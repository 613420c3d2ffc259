"""Predictions from and to an object store: what is in the store afterwards is what would lie in a folder."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from object_store import ObjectStore, store_without_keys
from prediction_runs import make_run, textured
from test_predict import ORGANELLES, Listening, assert_same

from cristae import convert, evaluate, inspect
from cristae.data.formats import open_image, write_image
from cristae.data.image import image_of_array
from cristae.errors import CristaeError, OutputExistsError, RunError, StorageError
from cristae.inference.config import PredictOptions
from cristae.inference.journal import OBJECTS
from cristae.inference.prediction import Prediction, open_prediction
from cristae.progress import Progress
from cristae.workflows.predict import predict
from cristae.workflows.report import report

KEEP = PredictOptions(probabilities=True)
BLOCKS = 8
OUT = "s3://lab/out.zarr"
SCRIPT = """
import sys
from cristae.inference.config import PredictOptions
from cristae.workflows.predict import predict
from cristae.workflows.report import report
predict([sys.argv[1]], sys.argv[2], out=sys.argv[3], options=PredictOptions(probabilities=True))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a volume, a run whose blocks are one slice and 32 x 48 voxels, and their prediction on disk."""
    folder = tmp_path_factory.mktemp("made")
    write_image(image_of_array(textured((2, 40, 60)), voxel_size_nm=(40.0, 10.0, 10.0)), folder / "cell.zarr")
    run = make_run(folder / "run", classes=ORGANELLES)
    predict([run], str(folder / "cell.zarr"), out=folder / "local.zarr", options=KEEP)
    return folder


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: Path) -> Iterator[ObjectStore]:
    """Holds the volume `s3://lab/cell.zarr`."""
    with store_without_keys(monkeypatch, tmp_path) as found:
        found.put_folder(made / "cell.zarr", "lab", "cell.zarr")
        yield found


def predicted(made: Path, source: str, progress: Progress = Progress()) -> Prediction:
    """The prediction in the store."""
    return predict([made / "run"], source, out=OUT, options=KEEP, progress=progress)


def assert_like_local(store: ObjectStore, made: Path, tmp_path: Path) -> None:
    """What lies in the store is what the same command wrote into a folder, to the byte of each chunk."""
    copy, local = tmp_path / "copy.zarr", made / "local.zarr"
    store.get_folder("lab", "out.zarr", copy)
    assert_same(copy, local)
    files = {file.relative_to(copy) for file in copy.rglob("*") if file.is_file()}
    assert files == {file.relative_to(local) for file in local.rglob("*") if file.is_file()}
    for file in files:
        if file.name != "zarr.json":
            assert (copy / file).read_bytes() == (local / file).read_bytes(), file
    stored, expected = open_prediction(OUT), open_prediction(local)
    assert stored.attributes == expected.attributes
    assert_same_images(stored, expected)


def assert_same_images(stored: Prediction, expected: Prediction) -> None:
    """Both open and read alike."""
    for one, other in zip(
        (*stored.labels, *stored.probabilities), (*expected.labels, *expected.probabilities), strict=True
    ):
        np.testing.assert_array_equal(one.read(), other.read())


def after_entries(count: int, act: Callable[[], None]) -> Callable[[str, str], None]:
    """Let so many entries of the journal pass, then act and answer no more."""
    passed = 0

    def before(method: str, path: str) -> None:
        nonlocal passed
        if method == "PUT" and f"/{OBJECTS}/" in path:
            passed += 1
        if passed > count:
            act()
            raise ConnectionError

    return before


def test_from_and_to_a_store_is_as_from_and_to_a_folder(store: ObjectStore, made: Path, tmp_path: Path) -> None:
    first = []
    store.before = lambda method, path: first.append(path) if method == "PUT" and "out.zarr" in path else None
    predicted(made, "s3://lab/cell.zarr")
    assert first[-1] == "/lab/out.zarr/zarr.json"
    metadata = [path for path in first if path.endswith("zarr.json")]
    assert metadata.index("/lab/out.zarr/zarr.json") > metadata.index("/lab/out.zarr/labels/segmentation/zarr.json")
    assert not store.keys("lab", f"out.zarr/{OBJECTS}")
    store.before = lambda method, path: None
    assert_like_local(store, made, tmp_path)


@pytest.mark.slow
def test_killed_and_resumed(store: ObjectStore, made: Path, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(made / "run"), "s3://lab/cell.zarr", OUT])
    store.before = after_entries(3, process.kill)
    process.wait()
    store.before = lambda method, path: None
    assert json.loads(store.objects["lab"]["out.zarr/zarr.json"])["attributes"]["cristae"]["status"] == "running"
    with pytest.raises(RunError, match="not finished"):
        open_prediction(OUT)
    heard = Listening()
    predicted(made, "s3://lab/cell.zarr", heard)
    assert f"{OUT}: 3 of {BLOCKS} blocks are there already" in heard.said
    assert_like_local(store, made, tmp_path)


def test_a_server_that_is_gone_in_the_middle(store: ObjectStore, made: Path, tmp_path: Path) -> None:
    store.before = after_entries(2, lambda: None)
    with pytest.raises(StorageError, match=r"out\.zarr.*cannot write: the server does not answer .*run the same"):
        predicted(made, str(made / "cell.zarr"))
    store.before = lambda method, path: None
    heard = Listening()
    predicted(made, str(made / "cell.zarr"), heard)
    assert f"{OUT}: 2 of {BLOCKS} blocks are there already" in heard.said
    assert_like_local(store, made, tmp_path)


@pytest.mark.slow
def test_a_damaged_block_is_predicted_again(store: ObjectStore, made: Path, tmp_path: Path) -> None:
    store.before = after_entries(4, lambda: None)
    with pytest.raises(StorageError):
        predicted(made, str(made / "cell.zarr"))
    store.before = lambda method, path: None
    entry = next(iter(store.keys("lab", f"out.zarr/{OBJECTS}/")))
    shard = store.keys("lab", "out.zarr/labels/segmentation/0/c/")[0]
    del store.objects["lab"][shard]
    heard = Listening()
    predicted(made, str(made / "cell.zarr"), heard)
    assert entry.endswith("/0.json")
    assert heard.warned == ["1 finished blocks are damaged on disk and are predicted again"]
    assert_like_local(store, made, tmp_path)


def test_killed_while_the_arrays_are_made(store: ObjectStore, made: Path, tmp_path: Path) -> None:
    def before(method: str, path: str) -> None:
        if method == "PUT" and path.endswith("/out.zarr/zarr.json"):
            raise ConnectionError

    store.before = before
    with pytest.raises(StorageError):
        predicted(made, str(made / "cell.zarr"))
    assert store.keys("lab", "out.zarr/")
    store.before = lambda method, path: None
    predicted(made, str(made / "cell.zarr"))
    assert_like_local(store, made, tmp_path)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ("s3://lib/out.zarr", CristaeError, "there is no such bucket"),
        ("s3://lab/cell.zarr", OutputExistsError, "s3://lab/cell.zarr: exists already"),
        ("https://example.org/out.zarr", StorageError, "web servers are only read"),
        ("s3://lab/out.tif", CristaeError, "a prediction is an OME-Zarr; name it out.zarr"),
    ],
)
def test_places_that_cannot_be_written(
    store: ObjectStore, made: Path, tmp_path: Path, out: str, error: type[Exception], message: str
) -> None:
    before = dict(store.objects["lab"])
    with pytest.raises(error, match=message):
        predict([made / "run"], str(made / "cell.zarr"), out=out)
    assert store.objects["lab"] == before


def test_steps_are_refused_before_anything_is_predicted(store: ObjectStore, made: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", predict="postprocess: [{name: remove_small, min_size_vox: 9}]")
    with pytest.raises(RunError, match="changes labels where they lie, which a store cannot"):
        predict([run], str(made / "cell.zarr"), out=OUT)
    assert not store.keys("lab", "out.zarr")


def test_what_reads_predictions_reads_those_in_a_store(
    store: ObjectStore, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted(made, str(made / "cell.zarr"))
    truth = (textured((2, 40, 60), seed=1) > 128).astype(np.uint8)
    write_image(image_of_array(truth, voxel_size_nm=(40.0, 10.0, 10.0)), tmp_path / "truth.tif")
    stored, expected = (
        evaluate(prediction, tmp_path / "truth.tif", classes=ORGANELLES) for prediction in (OUT, made / "local.zarr")
    )
    assert stored
    assert [repr((row.metric, row.value)) for row in stored] == [repr((row.metric, row.value)) for row in expected]
    monkeypatch.chdir(tmp_path)
    page = report(OUT)
    assert page == Path("out-report.html")
    assert "Prediction out.zarr" in page.read_text()
    assert [one.path for one in inspect(OUT)][-1] == f"{OUT}:/labels/segmentation"
    convert(f"{OUT}:/labels/segmentation", tmp_path / "labels.tif")
    np.testing.assert_array_equal(
        open_image(tmp_path / "labels.tif").read(), open_image(made / "local.zarr" / "labels" / "segmentation").read()
    )


def test_convert_to_a_store_is_as_into_a_folder(store: ObjectStore, made: Path, tmp_path: Path) -> None:
    convert("s3://lab/cell.zarr", "s3://lab/copies/cell.zarr")
    store.get_folder("lab", "copies/cell.zarr", tmp_path / "copy.zarr")
    convert(made / "cell.zarr", tmp_path / "local.zarr")
    assert_same(tmp_path / "copy.zarr", tmp_path / "local.zarr")
    with pytest.raises(OutputExistsError, match="exists already"):
        convert("s3://lab/cell.zarr", "s3://lab/copies/cell.zarr")


def test_a_copy_that_is_cut_short_is_no_image(store: ObjectStore, made: Path) -> None:
    def before(method: str, path: str) -> None:
        if method == "PUT" and "/c/" in path:
            raise ConnectionError

    store.before = before
    with pytest.raises(StorageError, match="cannot write: the server does not answer"):
        convert(made / "cell.zarr", "s3://lab/copy.zarr")
    assert not store.keys("lab", "copy.zarr")
