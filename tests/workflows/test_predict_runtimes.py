"""A prediction with another runtime: the same voxels, said to be of that runtime, under the same ceiling."""

from __future__ import annotations

import html
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from prediction_runs import cell, make_run, textured

from cristae.errors import OutputExistsError, RunError
from cristae.inference.config import PredictOptions
from cristae.inference.runtime_check import RuntimeCheck
from cristae.progress import Progress
from cristae.report.prediction_page import prediction_page
from cristae.workflows.predict import predict

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
    check = RuntimeCheck(**found.attributes["runtime"])
    assert check.agrees
    assert check.runtime == runtime
    assert check.largest_difference < 1e-4
    assert check.text() in progress.lines
    assert html.escape(check.text()[1:]) in prediction_page(found)
    assert predict([run], volume, out=tmp_path / "other.zarr", options=options).path == found.path
    with pytest.raises(OutputExistsError, match=rf"settings\.runtime: {runtime} before, torch now"):
        predict([run], volume, out=tmp_path / "other.zarr", options=KEEP)


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(RunError, match="runtime: expected torch, onnx, openvino, got 'tvm'"):
        PredictOptions(runtime="tvm")  # type: ignore[arg-type]
