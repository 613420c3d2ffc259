"""What the page on comparing annotators says is run."""

import re
import shlex
from pathlib import Path

import numpy as np
import tifffile
from prediction_files import write_prediction
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.data.classes import Classes

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "compare-annotators.md"
CLASSES = Classes(names=("background", "cell", "mito", "alpha", "dense", "core"))
RECIPE = """\
name: platelets
data:
  classes: {names: [background, cell, mito, alpha, dense, core]}
  volumes: [{name: em, image: anna.tif, voxel_size_nm: [50, 10, 10], labels: {kind: ids, path: anna.tif}}]
model: {name: unet_bn}
loss: {name: cross_entropy_dice}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_the_commands_and_the_code_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    labels = np.random.default_rng(0).integers(0, 6, (3, 4, 12, 12)).astype(np.uint8)
    for name, array in (("anna", labels[0]), ("bert", labels[1])):
        tifffile.imwrite(f"{name}.tif", array, photometric="minisblack")
    write_prediction(tmp_path / "cell.zarr", labels[2:], CLASSES)
    Path("platelets.yaml").write_text(RECIPE)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 2
    for line in lines:
        done = CliRunner().invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, f"{line}\n{done.output}"
        assert "anna vs net" in done.stdout
    for name in ("agree.csv", "agree.json", "agree.confusions.csv", "agree-report.html"):
        assert Path(name).stat().st_size > 500
    (code,) = blocks("python")
    exec(code, {})
    said = capsys.readouterr().out
    assert "anna vs bert all mIoU 0." in said
    assert "[[" in said
