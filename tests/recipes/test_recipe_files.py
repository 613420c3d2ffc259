"""Every recipe file is valid, round-trips, and says what its experiment needs."""

import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cristae.classical.config import RandomForestConfig
from cristae.cli.main import app
from cristae.data.public import find_set
from cristae.data.public.brought import find_brought
from cristae.losses import SegETLoss, SumLoss
from cristae.recipe.consistency import check_consistency
from cristae.recipe.load import load_recipe, parse_recipe
from cristae.recipe.text import recipe_to_yaml
from cristae.workflows.demo import recipe_text
from cristae.workflows.recipes import check_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
FILES = sorted(FOLDER.glob("*.yaml"))
PUBLIC = [path for path in FILES if load_recipe(path).data.set is not None]


def test_the_files_are_there() -> None:
    names = {path.stem for path in FILES}
    assert {"cdeep3m-mito-seget", "emnet-cardiac-unet", "isbi2012-unet", "synthetic-unet"} <= names
    assert len([name for name in names if name.startswith("seget-")]) == 5
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(path.stem.removeprefix("seget") in table for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_file_is_valid_and_round_trips(path: Path) -> None:
    recipe = load_recipe(path)
    check_consistency(recipe)
    assert recipe.name == path.stem
    assert recipe.model_dump() == parse_recipe(recipe_to_yaml(recipe)).model_dump()
    if isinstance(recipe.model, RandomForestConfig):
        return
    with torch.device("meta"):  # shapes without values
        network = recipe.model.build(1, 1)
    assert sum(parameter.numel() for parameter in network.parameters()) > 10_000


@pytest.mark.parametrize(
    ("name", "rate", "decay", "epochs", "stop", "patience", "cap", "copies"),
    [
        ("synapse", 1e-4, 1e-6, 38, 8, 3, None, 1),
        ("microtubules", 1e-3, 1e-5, 300, 8, 3, 2000, 1),
        ("centriole", 2e-3, 1e-6, 300, 10, 3, 2000, 4),
        ("granules", 2e-3, 1e-5, 60, 5, 2, None, 1),
        ("golgi", 2e-3, 1e-5, 124, 5, 2, 1000, 2),
    ],
)
def test_segets_recipes_hold_the_published_settings(
    name: str, rate: float, decay: float, epochs: int, stop: int, patience: int, cap: float | None, copies: int
) -> None:
    """Zhang et al. (2018), section 4 and the table of training settings."""
    recipe = load_recipe(FOLDER / f"seget-{name}.yaml")
    training, schedule = recipe.training, recipe.training.schedule
    assert (training.learning_rate, training.epochs, training.early_stop_patience) == (rate, epochs, stop)
    assert training.batch_size == 12
    assert (schedule.decay, schedule.plateau_factor, schedule.plateau_patience) == (decay, 0.5, patience)  # type: ignore[union-attr]
    assert getattr(recipe.targets, "cap", None) == cap
    assert (recipe.sampling.size, recipe.sampling.stride) == ((512, 512), (256, 256))  # type: ignore[union-attr]
    assert recipe.sampling.positive_copies == copies  # type: ignore[union-attr]
    assert isinstance(recipe.loss, SegETLoss)
    train = recipe.data.train[0].slices
    assert recipe.data.validate_[0].slices == "0:76:5"
    assert isinstance(train, tuple)
    assert len(train) == 60
    assert not set(train) & set(range(0, 76, 5))
    windows = ((2048 - 512) // 256 + 1) ** 2
    assert (len(train) * windows, len(range(0, 76, 5)) * windows) == (2940, 784)
    assert len(train) * windows // training.batch_size == 245, "updates of an epoch without copies"


def test_the_sum_of_terms_in_the_readme_is_valid() -> None:
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    (change,) = re.findall(r"--set '(loss=.*)'", table)
    recipe = load_recipe(FOLDER / "synthetic-unet.yaml", [change])
    check_consistency(recipe)
    assert isinstance(recipe.loss, SumLoss)


def test_the_demos_recipe_is_the_synthetic_one() -> None:
    """But for its paths, and for the line that says who makes what lies there."""
    ours = (FOLDER / "synthetic-unet.yaml").read_text(encoding="utf-8").replace("../cristae-demo/", "").splitlines()[1:]
    (origin,) = [line for line in ours if "available_from" in line]
    assert [line for line in ours if line != origin] == recipe_text().splitlines()[1:]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_without_its_data_a_recipe_is_checked_in_one_line(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line about the data, after one about networks that are predicted in windows."""
    monkeypatch.delenv("CRISTAE_DATA", raising=False)
    monkeypatch.setattr("cristae.data.public.base.cache_folder", lambda: tmp_path / "sets")
    monkeypatch.chdir(tmp_path)
    # Large networks are built at the sizes of the recipe, but their weights need no values here.
    with torch.device("meta"):
        result = CliRunner().invoke(app, ["recipe", "check", shutil.copy(path, tmp_path)])
    assert (result.exit_code, result.stdout) == (0, "")
    *windows, line = result.stderr.splitlines()
    assert all(one.startswith("Predictions will be made in windows of ") for one in windows)
    assert len(windows) <= 1
    assert line.startswith("warning: the form of the recipe is valid, only its data are missing: ")
    data = load_recipe(path).data
    known = find_brought(data.available_from)
    origin = data.available_from if known is None else known.available_from
    origin = origin if data.set is None else f"`cristae data fetch {data.set}`"
    assert str(origin) in line
    assert known is None or f"`cristae data fetch {known.name}`" in line


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.stem)
def test_public_recipes_name_volumes_of_their_set(path: Path) -> None:
    data = load_recipe(path).data
    _, task = find_set(str(data.set)).find_task(data.task)
    assert {region.volume for region in (*data.train, *data.validate_)} <= {volume.name for volume in task.volumes}


@pytest.mark.data
@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.stem)
def test_public_recipes_fit_their_data(path: Path) -> None:
    if not os.environ.get("CRISTAE_DATA"):
        pytest.skip("CRISTAE_DATA does not name a folder with the public data sets")
    assert check_recipe(path).data.volumes
