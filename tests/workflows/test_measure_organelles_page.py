"""The commands and the code of the page on measuring are run."""

import json
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from prediction_files import write_prediction
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.data.classes import Classes

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "measure-organelles.md"
RECIPE = """\
name: mito
data:
  classes: {names: [background, cytoplasm, mito]}
  volumes:
    - {name: other, image: o.tif, labels: {kind: values, path: l.tif, values: {0: background, 9: cytoplasm, 200: mito}}}
model: {name: unet_bn}
loss: {name: cross_entropy_dice}
"""


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [body for _, body in found]


@pytest.mark.slow
def test_what_the_page_shows_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = np.zeros((48, 50, 60), np.uint8)
    labels[:, 3:47, 3:57] = 1
    labels[8:40, 15:35, 8:28] = labels[8:40, 15:35, 32:52] = labels[16:32, 24:27, 28:32] = 2
    write_prediction(Path("cell.zarr"), labels[None], Classes(names=("background", "cytoplasm", "mito")))
    tifffile.imwrite("cell-mask.tif", (labels > 0).astype(np.uint8))
    truth = np.where(np.random.default_rng(0).random(labels.shape) < 0.02, 2, labels).astype(np.uint8)
    tifffile.imwrite("some-slices.tif", truth)
    tifffile.imwrite("labels.tif", np.array([0, 9, 200], np.uint8)[labels])
    Path("mito.yaml").write_text(RECIPE)
    with h5py.File("prob.h5", "w") as file:
        array = file.create_dataset("exported_data", data=np.stack([labels != 2, labels == 2]).astype(np.float32))
        array.attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in "czyx"]})
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 6
    for line in lines:
        verb, *arguments = shlex.split(line)
        assert verb == "cristae"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
    first, foreign = (Path(folder, "objects.csv").read_text() for folder in ("sizes", "label-sizes"))
    assert first == foreign
    assert len(first.splitlines()) == 3
    assert len(Path("cut-sizes", "objects.csv").read_text().splitlines()) == 4
    names = sorted(path.name for path in Path("cut-sizes").iterdir())
    assert names == [
        "analysis.json",
        "cells.ply",
        "classes.csv",
        "meshes",
        "objects.csv",
        "objects.zarr",
        "report.html",
    ]
    assert sorted(path.name for path in Path("cut-sizes/meshes").iterdir()) == ["cytoplasm.ply", "mito.ply"]
    assert "<img" in Path("cut-sizes/report.html").read_text(encoding="utf-8")
    (code,) = blocks("python")
    exec(code, {})
    first, second = capsys.readouterr().out.splitlines()
    assert float(first.split()[0]) == pytest.approx((labels == 2).sum() / (labels > 0).sum())
    true = (truth[labels > 0] == 2).mean()
    assert float(second.split()[0]) == pytest.approx(true, abs=0.01)
    assert "as if" in second
