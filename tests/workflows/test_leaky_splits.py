"""A split that leaks is said at every training, kept in the summary and shown on the page, by networks and forests."""

from pathlib import Path

import pytest
from training_data import write_discs
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.evaluation.label_files import open_own_labels
from cristae.recipe.load import load_recipe, load_run_recipe
from cristae.recipe.run import open_run
from cristae.workflows.train import train

TILES = ("data.validate=[]", "data.split={name: tiles, size: [30, 35], validate_share: 0.25, leaky: true}")
FIFTH = ("data.train.0.slices=[1, 2, 3, 4, 6, 7, 8, 9]", "data.validate.0.slices=0:10:5")
FOREST = "model={name: random_forest, trees: 2, max_samples_per_class: 50}"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (TILES, "data.split: data.validate are tiles beside those of data.train (`leaky: true`), so scores on them"),
        (FIFTH, "data.validate is not kept apart from data.train in 'stack': 100 % of its voxels have a training"),
        ((*TILES, FOREST), "data.split: data.validate are tiles beside"),
    ],
)
def test_a_leak_is_said_kept_and_shown(
    overrides: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    flags = [word for override in overrides for word in ("--set", override)]
    result = CliRunner().invoke(app, ["train", str(path), "--out", "run", *flags])
    assert result.exit_code == 0, result.output
    assert " ".join(result.stderr.split()).count(said) == 1
    run = open_run("run")
    (kept,) = run.summary["leaky_split"]
    assert kept.startswith(said)
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert ">leaky<" in page
    assert "so their scores flatter" in page
    again = CliRunner().invoke(app, ["train", str(path), "--out", "run", "--resume", *flags])
    assert said in " ".join(again.stderr.split())


def test_the_recipe_of_a_run_repeats_the_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    first = train(load_recipe(path, TILES), out=tmp_path / "run")
    assert len(first.summary["data"]) == 18  # 24 tiles of 6 slices, a quarter held out
    again = train(load_run_recipe(first.path / "recipe.yaml"), out=tmp_path / "again")
    assert [row["box"] for row in again.summary["data"]] == [row["box"] for row in first.summary["data"]]
    assert again.weights_path.read_bytes() == first.weights_path.read_bytes()


def test_labels_are_read_by_a_recipe_whatever_its_split(tmp_path: Path) -> None:
    recipe = load_recipe(write_discs(tmp_path), TILES)
    found = open_own_labels("stack", recipe)
    assert found is not None
    assert [volume.name for volume in found.volumes] == ["stack"]


def test_an_honest_split_is_not_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.chdir(tmp_path)
    run = train(load_recipe(path), out=tmp_path / "run")
    assert "leaky_split" not in run.summary
    assert ">leaky<" not in (run.path / "report.html").read_text(encoding="utf-8")
