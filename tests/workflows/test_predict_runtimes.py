"""A prediction with another runtime: the same voxels, said to be of that runtime, under the same ceiling."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from prediction_runs import SIZE_NM, cell, make_run, textured

from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.errors import OutputExistsError, RunError
from cristae.inference import forecast
from cristae.inference.config import PredictOptions
from cristae.inference.runtime_check import RuntimeCheck
from cristae.inference.runtimes import faster, installed
from cristae.inference.runtimes.faster import Way
from cristae.progress import Progress
from cristae.report.prediction_page import prediction_page
from cristae.workflows.predict import plan_prediction, predict
from cristae.workflows.predict_parts import begin_prediction

KEEP = PredictOptions(probabilities=True)


class Said(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.mark.parametrize(("runtime", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_prediction_is_that_of_pytorch_and_continues_with_its_own_runtime(
    tmp_path: Path, runtime: str, package: str
) -> None:
    for name in ("onnx", package):
        pytest.importorskip(name, reason=f"the extra '{runtime}' is not installed")
    run, volume = make_run(tmp_path / "run"), cell(textured((2, 45, 61)))
    options = PredictOptions(probabilities=True, runtime=runtime)  # type: ignore[arg-type]
    progress = Said()
    expected = predict([run], volume, out=tmp_path / "torch.zarr", options=KEEP)
    found = predict([run], volume, out=tmp_path / "other.zarr", options=options, progress=progress)
    difference = found.probabilities[0].read().astype(int) - expected.probabilities[0].read()
    assert np.abs(difference).max() <= 1  # of 255: a probability between two of them is rounded either way
    assert (difference != 0).mean() < 1e-3
    assert found.attributes["settings"]["runtime"] == runtime
    assert found.attributes["versions"][package] == metadata.version(package)
    assert found.attributes["plan"]["strip_vox"] == 0
    check = RuntimeCheck(**found.attributes["runtime"])
    assert check.agrees
    assert check.runtime == runtime
    assert check.largest_difference < 1e-4
    assert check.text() in progress.lines
    assert html.escape(check.text()[1:]) in prediction_page(found)
    assert predict([run], volume, out=tmp_path / "other.zarr", options=options).path == found.path
    with pytest.raises(OutputExistsError, match=rf"settings\.runtime: {runtime} before, torch now"):
        predict([run], volume, out=tmp_path / "other.zarr", options=KEEP)


def test_what_would_be_faster_is_said_before_a_long_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, volume, progress = make_run(tmp_path / "run"), cell(textured((2, 45, 61))), Said()
    monkeypatch.setattr(forecast, "_WORTH", 0)
    monkeypatch.setattr(faster, "_WORTH", 0)
    monkeypatch.setattr(faster, "ways_here", lambda: (Way("another", "torch", "fp32", "--another"),))
    predict([run], volume, out=tmp_path / "out.zarr", progress=progress)
    said = [line for line in progress.lines if "would take" in line]
    assert len(said) == 1
    assert re.fullmatch(r"another would take about \d+ s instead of \d+ s \(--another\)", said[0])


def test_a_runtime_that_is_gone_is_missed_when_a_prediction_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="the extra 'onnx' is not installed")
    run, volume, options = make_run(tmp_path / "run"), cell(textured((2, 45, 61))), PredictOptions(runtime="onnx")
    what = {"out": tmp_path / "out.zarr", "options": options}
    begin_prediction(plan_prediction([run], volume, **what).request)  # type: ignore[arg-type]
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"onnx needs onnx, which is not installed; `pip install 'cristae\[onnx\]'`"):
        predict([run], volume, **what)  # type: ignore[arg-type]


_IN_A_PROCESS = """
import json, sys
from pathlib import Path
import psutil, torch
from cristae.allocator import peak_memory_bytes
from cristae.inference.config import PredictOptions
from cristae.workflows.predict import plan_prediction, predict
from cristae.workflows.predict_parts import begin_prediction
run, volume, out, runtime = sys.argv[1:]
torch.set_num_threads(1)
box = {"box": "0:1,0:16,0:16", "options": PredictOptions(runtime=runtime)}
predict([run], volume, out=Path(out).with_suffix(".first.zarr"), **box)  # with all that is loaded once
ceiling = psutil.Process().memory_info().rss + 300 * 2**20
found = predict([run], volume, out=out, options=PredictOptions(runtime=runtime, max_ram=str(ceiling)))
print(json.dumps([ceiling, peak_memory_bytes(torch.device("cpu"))["ram"], found.attributes["plan"]["block"]]))
"""


@pytest.mark.parametrize(("runtime", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_the_ceiling_holds(tmp_path: Path, runtime: str, package: str) -> None:
    """Of a process; a whole slice at once would take more."""
    for name in ("onnx", package):
        pytest.importorskip(name, reason=f"the extra '{runtime}' is not installed")
    run = make_run(tmp_path / "run", model="{name: unet_bn, widths: [16, 32]}", predict="")
    volume = tmp_path / "cell.zarr"
    write_image(image_of_array(textured((1, 900, 1000)), voxel_size_nm=SIZE_NM), volume)
    given = str(run.path), str(volume), str(tmp_path / "out.zarr"), runtime
    child = subprocess.run([sys.executable, "-c", _IN_A_PROCESS, *given], capture_output=True, text=True, check=True)
    ceiling, peak, block = json.loads(child.stdout.splitlines()[-1])
    assert block[1] * block[2] < 900 * 1000
    assert peak < ceiling


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(RunError, match="runtime: expected torch, onnx, openvino, got 'tvm'"):
        PredictOptions(runtime="tvm")  # type: ignore[arg-type]
