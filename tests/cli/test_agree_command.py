"""The verb `agree`, from files to tables, and what it refuses."""

import json

import numpy as np
import pytest
import tifffile
from sklearn.metrics import cohen_kappa_score, jaccard_score
from typer.testing import CliRunner, Result

from cristae.cli.main import app

RECIPE = """\
name: platelets
data:
  classes: {names: [background, cell, granule, core]}
  volumes:
    - name: em
      image: anna.tif
      voxel_size_nm: [50, 10, 10]
      labels: {kind: values, path: anna.tif, values: {0: background, 1: cell, 2: granule, 3: core}}
model: {name: unet_bn}
loss: {name: cross_entropy_dice}
"""


def cristae(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["agree", *arguments])


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Maps of two annotators and a network, in the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    base = rng.integers(0, 4, (3, 20, 22))
    maps = {}
    for name in ("anna", "bert", "net"):
        maps[name] = np.where(rng.random(base.shape) < 0.8, base, rng.integers(0, 4, base.shape)).astype(np.uint8)
        tifffile.imwrite(f"{name}.tif", maps[name], photometric="minisblack")
    (tmp_path / "r.yaml").write_text(RECIPE)
    return maps


PARTICIPANTS = ("anna=anna.tif", "bert=bert.tif", "net=net.tif", "--recipe", "r.yaml")


def test_three_participants_from_files_to_tables(three, tmp_path):
    done = cristae(
        *PARTICIPANTS, "--merge", "granule=granule+core", "--over", "granule", "--out", "agree.csv", "--json"
    )
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert rows == json.loads((tmp_path / "agree.json").read_text())
    found = {(row["run"], row["metric"], row["class"]): row["value"] for row in rows}
    merged = {name: np.minimum(ids, 2).ravel() for name, ids in three.items()}
    for first, second in (("anna", "bert"), ("anna", "net"), ("bert", "net")):
        run = f"{first} vs {second}"
        jaccards = jaccard_score(merged[first], merged[second], average=None)
        assert found[run, "mIoU", "all"] == pytest.approx(jaccards.mean())
        assert found[run, "mIoU", "granule"] == pytest.approx(jaccards[2])
        assert found[run, "kappa", "all"] == pytest.approx(cohen_kappa_score(merged[first], merged[second]))
    fraction = (merged["net"] == 2).sum() / (merged["net"] > 0).sum()
    assert found["net", "volume_fraction", "granule"] == pytest.approx(fraction)
    assert {path.name for path in tmp_path.glob("agree*")} == {
        "agree.csv",
        "agree.json",
        "agree.confusions.csv",
        "agree-report.html",
    }


def test_the_text_shows_matrices_and_every_pair(three):
    done = cristae(*PARTICIPANTS, "--cell-from", "anna", "--margin-nm", "20")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    start = lines.index("mean IoU: foreground")
    assert lines[start + 1].split() == ["anna", "bert", "net"]
    matrix = [line.split() for line in lines[start + 2 : start + 5]]
    assert [row[0] for row in matrix] == ["anna", "bert", "net"]
    assert matrix[0][1] == matrix[1][1]
    assert matrix[1][2] == matrix[2][2]
    ids = {name: three[name].ravel() for name in ("bert", "net")}
    expected = jaccard_score(ids["bert"], ids["net"], average=None)[1:].mean()
    assert float(matrix[1][2]) == pytest.approx(expected, abs=1e-5)
    assert "anna vs net: em" in done.stdout
    assert sum(line.startswith("  kappa") for line in lines) == 3
    assert sum(line.startswith("  volume_fraction ") for line in lines) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["anna=anna.tif"], "at least two participants"),
        (["anna=anna.tif", "anna=bert.tif"], "two participants are called 'anna'"),
        (["anna=anna.tif", "bert.tif"], "NAME=PATH"),
        (["anna=anna.tif", "a/bert=1.tif"], "NAME=PATH"),
        (["anna=anna.tif", "bert="], "NAME=PATH"),
        (["anna=anna.tif", "=bert.tif"], "has no name"),
        (["anna=anna.tif", "bert=missing.tif"], "missing.tif"),
        (["anna=anna.tif", "bert=bert.tif"], "what the values mean"),
        (["anna=anna.tif", "bert=bert.tif", "--recipe", "r.yaml", "--over", "golgi"], "no class 'golgi'"),
        (["anna=anna.tif", "bert=bert.tif", "--recipe", "r.yaml", "--merge", "x=cell+golgi"], "golgi"),
        (["anna=anna.tif", "bert=bert.tif", "--recipe", "r.yaml", "--cell-from", "anna"], "--margin-nm"),
    ],
)
def test_wrong_input_is_told_without_a_traceback(three, arguments, message):
    done = cristae(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""
