"""Sets that people bring: where they come from is said once, and every way to ask for one says it."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.data.description import DataConfig
from cristae.data.open import complete_data
from cristae.data.public import PUBLIC_SETS
from cristae.data.public.brought import BROUGHT_SETS, BroughtSet, find_brought, origin_of
from cristae.errors import DownloadError
from cristae.recipe.complete import completed
from cristae.recipe.consistency import check_consistency
from cristae.recipe.load import load_recipe
from cristae.workflows.datasets import fetch_dataset, list_datasets

RECIPES = Path(__file__).parents[3] / "recipes"
NAMED = pytest.mark.parametrize("known", BROUGHT_SETS, ids=lambda known: known.name)


@NAMED
def test_each_says_what_it_is_and_where_it_is(known: BroughtSet) -> None:
    assert all((known.title, known.citation, known.homepage, known.available_from, known.files, known.layout))
    assert " nm" in known.layout
    assert known.name not in {one.name for one in PUBLIC_SETS}
    assert known in list_datasets()


@NAMED
def test_fetching_one_says_how_to_get_it_and_where_to_put_it(known: BroughtSet) -> None:
    with pytest.raises(DownloadError, match=f"the set '{known.name}' cannot be downloaded") as caught:
        fetch_dataset(known.name)
    said = str(caught.value)
    assert known.available_from in said
    assert all(file in said for file in known.files)
    result = CliRunner().invoke(app, ["data", "fetch", known.name])
    assert result.exit_code == 2
    assert said in result.stderr
    with pytest.raises(DownloadError, match=re.escape(said)):
        complete_data(DataConfig(set=known.name))


@NAMED
def test_its_recipes_name_it_and_look_for_its_files(known: BroughtSet) -> None:
    named = {path.stem for path in RECIPES.glob("*.yaml") if load_recipe(path).data.available_from == known.name}
    assert named == set(known.recipes)
    volumes = [volume for name in named for volume in load_recipe(RECIPES / f"{name}.yaml").data.volumes]
    read = {str(path) for volume in volumes for path in volume.paths}
    assert read == (set(known.files) if named else set())


@NAMED
def test_its_stand_in_trains_in_its_recipes(known: BroughtSet) -> None:
    """One structure stands for the others: SegET's recipes have one class each."""
    assert f"--set 'data={known.stand_in}'" in known.directions
    for name in known.recipes:
        check_consistency(completed(load_recipe(RECIPES / f"{name}.yaml", [f"data={known.stand_in}"])))


def test_the_list_says_which_to_bring() -> None:
    listed = CliRunner().invoke(app, ["data", "list"]).stdout
    rows = CliRunner().invoke(app, ["data", "list", "--json"]).stdout
    for known in BROUGHT_SETS:
        assert f"{known.name}  (yours to bring)" in listed
        assert f"  from: {known.available_from}" in listed
        assert f'"{known.name}"' in rows
    assert listed.count("yours to bring") == len(BROUGHT_SETS)


def test_where_data_come_from_may_be_said_in_words() -> None:
    assert origin_of("a drawer") == "a drawer"
    assert origin_of("p1694").startswith("Cell Image Library, project P1694")
    assert find_brought("a drawer") is None
