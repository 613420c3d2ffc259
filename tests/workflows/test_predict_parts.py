"""A prediction as a plain request: stored as JSON and carried out by several processes."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prediction_runs import cell, make_run, textured
from test_predict import KEEP, ORGANELLES, Killed, assert_same, stop_after

from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.data.open import open_volume
from cristae.errors import MissingFileError, OutputExistsError, RunError, VolumeError
from cristae.inference.journal import PATTERN
from cristae.inference.request import PredictionRequest
from cristae.workflows.predict import finish_prediction, plan_prediction, predict
from cristae.workflows.predict_parts import begin_prediction, predict_part

WORKER = """
import sys
from pathlib import Path
from cristae.inference.request import PredictionRequest
from cristae.workflows.predict_parts import predict_part
request = PredictionRequest.from_json(Path(sys.argv[1]).read_text())
predict_part(request, blocks=range(int(sys.argv[2]), request.block_count, 2))
"""


def start(request: Path, rank: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(request), str(rank)])


@pytest.fixture
def files(tmp_path: Path) -> tuple[list, Path, Path]:
    """Two runs, a volume and a mask on disk."""
    model = "{name: unet_bn, widths: [16, 32, 64]}"
    runs = [make_run(tmp_path / f"run{n}", classes=ORGANELLES, model=model, seed=n) for n in range(2)]
    grey = textured((6, 96, 144))
    write_image(cell(grey).image, tmp_path / "cell.tif")
    inside = np.ones(grey.shape, np.uint8)
    inside[:, :40, :50] = 0
    write_image(image_of_array(inside, voxel_size_nm=(40.0, 10.0, 10.0)), tmp_path / "mask.tif")
    return [run.path for run in runs], tmp_path / "cell.tif", tmp_path / "mask.tif"


def store(request: PredictionRequest, folder: Path) -> Path:
    begin_prediction(request)
    (folder / "request.json").write_text(request.to_json())
    return folder / "request.json"


@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one(tmp_path, files):
    runs, volume, mask = files
    predict(runs, volume, out=tmp_path / "whole.zarr", mask=mask, options=KEEP)
    request = plan_prediction(runs, volume, out=tmp_path / "out.zarr", mask=mask, options=KEEP).request
    stored = store(request, tmp_path)
    assert [worker.wait() for worker in [start(stored, rank) for rank in range(2)]] == [0, 0]
    assert len(list((tmp_path / "out.zarr").glob(PATTERN))) == 2
    found = finish_prediction(request)
    assert found.labels[0].read().any()
    assert_same(tmp_path / "whole.zarr", tmp_path / "out.zarr")
    whole = [path.relative_to(tmp_path / "whole.zarr") for path in (tmp_path / "whole.zarr").rglob("*")]
    assert {path.relative_to(tmp_path / "out.zarr") for path in (tmp_path / "out.zarr").rglob("*")} == set(whole)
    for file in whole:
        if (tmp_path / "whole.zarr" / file).is_file() and file != Path("zarr.json"):
            assert (tmp_path / "out.zarr" / file).read_bytes() == (tmp_path / "whole.zarr" / file).read_bytes(), file
    one, other = (json.loads((tmp_path / name / "zarr.json").read_text()) for name in ("whole.zarr", "out.zarr"))
    assert one["attributes"]["cristae"] == other["attributes"]["cristae"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9")
@pytest.mark.slow
def test_a_worker_that_was_killed_is_made_good_by_a_repeated_call(tmp_path, files):
    runs, volume, _ = files
    predict(runs, volume, out=tmp_path / "whole.zarr")
    out = tmp_path / "out.zarr"
    request = plan_prediction(runs, volume, out=out).request
    stored = store(request, tmp_path)
    victim = start(stored, 1)
    while not list(out.glob(PATTERN)):
        assert victim.poll() is None, "it finished before it could be killed"
        time.sleep(0.0005)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert start(stored, 0).wait() == 0
    with pytest.raises(RunError, match=r"out\.zarr: \d+ of 54 blocks are not predicted yet"):
        finish_prediction(request)
    predict(runs, volume, out=out)
    assert_same(tmp_path / "whole.zarr", out)
    assert not list(out.glob(PATTERN))


def test_parts_of_any_number_of_workers_add_up(tmp_path, files):
    """Of an opened volume, in one process; a part that is repeated has nothing to do."""
    runs = files[0]
    planned = plan_prediction(runs, open_volume(files[1]), out=tmp_path / "out.zarr")
    begin_prediction(planned.request)
    for rank in (2, 0, 1, 0):
        predict_part(planned.request, blocks=range(rank, planned.request.block_count, 3))
    predict(runs, files[1], out=tmp_path / "expected.zarr")
    finish_prediction(planned.request)
    assert_same(tmp_path / "expected.zarr", tmp_path / "out.zarr")


def test_the_page_shows_how(tmp_path, monkeypatch):
    """The code of the how-to page runs as it stands."""
    page = Path(__file__).parents[2] / "docs/how-to/predict-large-volumes.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    run = make_run(Path("runs/mito"))
    write_image(cell().image, Path("cell.mrc"))
    exec(code, {})
    predict([run], "cell.mrc", out="whole.zarr")
    assert_same(Path("whole.zarr"), Path("cell.zarr"))


def test_a_request_survives_json_and_pickle(tmp_path, files):
    runs, volume, mask = files
    request = plan_prediction(runs, volume, out=tmp_path / "out.zarr", mask=mask, box="1:5,:,3:90").request
    assert PredictionRequest.from_json(request.to_json()) == request
    assert pickle.loads(pickle.dumps(request)) == request
    assert not (tmp_path / "out.zarr").exists(), "planning writes nothing"


def test_a_volume_in_memory_stays_in_its_process(tmp_path, files):
    request = plan_prediction(files[0], cell(), out=tmp_path / "out.zarr").request
    with pytest.raises(VolumeError, match=r"'cell' exists in the memory of one process only.*write_image"):
        request.to_json()


def test_a_volume_that_was_changed_in_memory_is_noticed(tmp_path, files):
    """Its path names the file, which holds other grey values."""
    volume = open_volume(files[1])
    inverted = replace(volume, image=volume.image.map(lambda grey: 255 - grey, volume.image.dtype))
    request = plan_prediction(files[0], inverted, out=tmp_path / "out.zarr").request
    begin_prediction(request)
    with pytest.raises(VolumeError, match="holds another image"):
        predict_part(request, blocks=range(request.block_count))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda _: "{", "is not JSON"),
        (lambda facts: json.dumps(facts | {"more": 1}), r"request\.more: is unknown"),
        (lambda facts: json.dumps({key: facts[key] for key in facts if key != "plan"}), r"request\.plan"),
        (lambda facts: json.dumps(facts | {"backend": "tpu"}), r"request\.backend"),
    ],
)
def test_a_damaged_request_is_refused(tmp_path, files, change, word):
    request = plan_prediction(files[0], files[1], out=tmp_path / "out.zarr").request
    with pytest.raises(RunError, match=word):
        PredictionRequest.from_json(change(json.loads(request.to_json())))


def test_what_changed_since_the_planning_is_refused(tmp_path, files):
    runs, volume, _ = files
    request = plan_prediction(runs, volume, out=tmp_path / "out.zarr").request
    with pytest.raises(MissingFileError, match="has not been created"):
        predict_part(request, blocks=range(request.block_count))
    begin_prediction(request)
    with pytest.raises(RunError, match="block 54: there is none; the plan has 54, numbered from 0"):
        predict_part(request, blocks=[0, 54])
    strict = replace(request.provenance, settings=replace(request.provenance.settings, threshold=0.7))
    with pytest.raises(OutputExistsError, match=r"settings\.threshold: 0\.5 before, 0\.7 now"):
        predict_part(replace(request, provenance=strict), blocks=[0])
    kept = (runs[0] / "weights.safetensors").read_bytes()
    (runs[0] / "weights.safetensors").write_bytes((runs[1] / "weights.safetensors").read_bytes())
    with pytest.raises(RunError, match="weights have changed"):
        predict_part(request, blocks=range(request.block_count))
    (runs[0] / "weights.safetensors").write_bytes(kept)
    write_image(cell(textured((6, 96, 144), seed=1)).image, tmp_path / "other.tif")
    (tmp_path / "other.tif").replace(volume)
    with pytest.raises(VolumeError, match="holds another image"):
        predict_part(request, blocks=range(request.block_count))


def test_a_mask_that_changed_since_the_planning_is_refused(tmp_path, files):
    runs, volume, mask = files
    request = plan_prediction(runs, volume, out=tmp_path / "out.zarr", mask=mask).request
    begin_prediction(request)
    mask.unlink()
    write_image(image_of_array(np.ones((6, 96, 144), np.uint8), voxel_size_nm=(40.0, 10.0, 10.0)), mask)
    with pytest.raises(VolumeError, match=r"mask\.tif: the mask has changed"):
        predict_part(request, blocks=range(request.block_count))


def test_a_worker_that_starts_after_the_end_changes_nothing(tmp_path, files):
    runs, volume, _ = files
    request = plan_prediction(runs, volume, out=tmp_path / "out.zarr").request
    begin_prediction(request)
    predict_part(request, blocks=range(request.block_count))
    finish_prediction(request)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out.zarr").rglob("*")}
    predict_part(request, blocks=range(request.block_count))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out.zarr").rglob("*")} == before


def test_what_an_older_version_began_is_continued(tmp_path, files, monkeypatch):
    """Its manifest knows no fusion rule and other run ids, and its journal is a single file."""
    runs, volume, _ = files
    predict(runs, volume, out=tmp_path / "whole.zarr")
    out = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        with pytest.raises(Killed):
            predict(runs, volume, out=out)
    (journal,) = out.glob(PATTERN)
    journal.rename(out / "cristae-blocks.jsonl")
    group = json.loads((out / "zarr.json").read_text())
    del group["attributes"]["cristae"]["settings"]["fusion"]
    group["attributes"]["cristae"]["runs"][0]["run"] = "run0-0ddba11"
    group["attributes"]["cristae"]["runs"][0]["locality"]["reason"] = "in other words"
    (out / "zarr.json").write_text(json.dumps(group))
    predict(runs, volume, out=out)
    assert_same(tmp_path / "whole.zarr", out)
    assert not list(out.glob(PATTERN))
