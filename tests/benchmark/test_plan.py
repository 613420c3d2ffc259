"""Plans and their cells: what is read, what is refused and where that is told, what cells are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_data import write_discs

import cristae
from cristae.benchmark.cells import cells_of, labels_of
from cristae.benchmark.fair import plan_cells, voxels_of_epoch
from cristae.benchmark.label_numbers import SLICES
from cristae.benchmark.load import load_plan, presets
from cristae.benchmark.widths import scaled
from cristae.data.folds.thinning import labelled_slices, thinned
from cristae.data.open import open_data
from cristae.errors import MissingFileError, RecipeError, VolumeError
from cristae.models import network_config
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.workflows.train import train

SMALL = "set: {sampling.per_epoch: 8, sampling.size: [16, 16]}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_discs(tmp_path, epochs=1)
    return tmp_path


def plan(folder: Path, text: str, *, name: str = "plan.yaml") -> cristae.Plan:
    (folder / name).write_text(text if "name:" in text[:5] else f"name: p\nrecipe: recipe.yaml\n{text}")
    return load_plan(folder / name)


def test_there_is_a_cell_for_every_combination(folder: Path) -> None:
    text = "vary:\n  model.widths: {narrow: [2, 4], wide: [4, 8]}\n  training.batch_size: [4, 8]\n"
    cells = cells_of(plan(folder, SMALL + text))
    assert [cell.label for cell in cells] == ["narrow, 4", "narrow, 8", "wide, 4", "wide, 8"]
    assert [cell.name for cell in cells] == ["narrow-4", "narrow-8", "wide-4", "wide-8"]
    assert dict(cells[3].settings) == {"model.widths": "wide", "training.batch_size": "8"}
    assert cells[3].recipe.training.batch_size == 8
    assert cells[3].recipe.sampling.size == (16, 16)


def test_named_cells_change_several_things(folder: Path) -> None:
    text = "cells:\n  plain: {augment: []}\n  long: {training.epochs: 9, augment: [{name: flip}]}\n"
    cells = cells_of(plan(folder, text))
    assert [(cell.label, cell.recipe.training.epochs, len(cell.recipe.augment)) for cell in cells] == [
        ("plain", 1, 0),
        ("long", 9, 1),
    ]


def test_a_random_forest_is_varied_like_a_network(folder: Path) -> None:
    text = "set: {model: {name: random_forest}}\nvary: {model.trees: [10, 20]}\n"
    assert [cell.recipe.model.trees for cell in cells_of(plan(folder, text))] == [10, 20]  # type: ignore[union-attr]


def test_parts_are_called_by_their_name_and_what_differs() -> None:
    values = [
        {"name": "emnet", "variant": "v2", "base": 4},
        {"name": "emnet", "variant": "v1_2x", "base": 4},
        {"name": "seget", "base": 4},
    ]
    assert labels_of(values) == ["emnet v2", "emnet v1_2x", "seget"]
    assert labels_of([True, 0.5, "miou", None]) == ["true", "0.5", "miou", "none"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vary: {training.batch_size: []}\n", "vary"),
        ("description: nothing\n", "there is nothing to compare"),
        ("vary: {seed: [1]}\nbudget: {epochs: 3, minutes: 2}\n", "give one of epochs, voxels and minutes"),
        ("vary: {seed: [1]}\nfoldss: {count: 3}\n", r"plan.yaml:4: foldss"),
        ("preset: fast\n", "expected one of em-stellar, how-many-labels, quick, got 'fast'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(folder: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        cells_of(plan(folder, text))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "vary:\n  model.width: [1, 2]\n",
            ["plan.yaml:4: vary.model.width[0]: model.width: unknown field; did you mean 'widths'?"],
        ),
        (
            "vary:\n  model.widths: [[2, 4], [2, -4]]\n  loss:\n    Dice: {name: dics}\n    a: {name: seget}\n",
            [
                "plan.yaml:6: vary.loss.Dice: loss: unknown name 'dics' (name is one of: cross_entropy_dice, "
                "dense_cell, seget, sum)",
                "plan.yaml:4: vary.model.widths[1]: model.widths.1: must be greater than 0, got -4",
            ],
        ),
        (
            "set:\n  trainin.epochs: 3\nvary: {seed: [1, 2]}\n",
            ["plan.yaml:4: set.trainin.epochs: trainin: unknown field; did you mean 'training'?"],
        ),
        (
            "cells:\n  a:\n    seed: 1\n    modl: 4\n",
            ["plan.yaml:6: cells.a: modl: unknown field; did you mean 'model'?"],
        ),
        (
            "vary:\n  data.classes.names: [[mito, mito]]\n",
            ["plan.yaml:4: vary.data.classes.names[0]: recipe.yaml:3: data.classes: two classes have the same name"],
        ),
        (
            "vary:\n  model.name: [unet_bn, seget]\n",
            [
                "plan.yaml:4: vary.model.name[1]: cell 'seget': recipe.yaml:11: model.widths: belongs to the options "
                "of unet_bn, and seget has no such one; use `model: {name: seget}`, which leaves out the options from "
                "before"
            ],
        ),
        (
            "vary:\n  training.batch_size:\n    - 4\n    - 8\n    - 4\n",
            [
                "plan.yaml:7: vary.training.batch_size[2]: '4' is there twice, first at "
                "plan.yaml:5: vary.training.batch_size[0]; leave one out, or give both a name: `{name: value}` in "
                "place of a list"
            ],
        ),
        (
            "vary:\n  seed:\n    a: 1\n    b: 1\n  training.epochs: [1, 2]\n",
            ["plan.yaml:6: vary.seed.b: cell 'b, 1' has the same recipe as 'a, 1'; leave one out"],
        ),
        (
            "cells:\n  a b: {seed: 1}\n  a-b: {seed: 2}\n",
            [
                "plan.yaml:5: cells.a-b: cell 'a-b' would have the same folder as 'a b', a-b; give them other names "
                "(`vary: {path: {name: value}}`)"
            ],
        ),
        (
            "cells: {a: {seed: 1}}\nvary:\n  seed: [2]\n",
            ["plan.yaml:5: vary.seed[0]: seed is set by a cell, too; leave out one of them"],
        ),
        (
            "vary:\n  model:\n    - {name: efficient_unet}\nwidth: 0.5\n",
            [
                "plan.yaml:5: vary.model[0]: width: 'efficient_unet' has no field for its width; leave `width` out, or "
                "this network"
            ],
        ),
    ],
)
def test_what_is_wrong_with_a_cell_is_told_at_its_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, lines: list[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "plan.yaml").write_text(f"name: p\nrecipe: recipe.yaml\n{text}")
    with pytest.raises(RecipeError) as caught:
        cells_of(load_plan("plan.yaml"))
    assert str(caught.value).replace(f"{folder}/", "").splitlines() == lines


def test_a_base_recipe_that_is_wrong_alone_is_told_alone(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("batch_size: 8", "batch_size: 0"))
    with pytest.raises(RecipeError) as caught:
        cells_of(plan(folder, "vary: {seed: [1, 2]}\n"))
    assert str(caught.value) == f"{recipe}:15: training.batch_size: must be greater than 0, got 0"


def test_what_the_data_say_against_a_cell_is_told_at_its_line(folder: Path) -> None:
    read = plan(folder, "vary:\n  data.train.0.slices: ['0:6', '0:99']\n")
    with pytest.raises(
        VolumeError, match=r"^\S*plan.yaml:4: vary.data.train.0.slices\[1\]: \S*recipe.yaml:9: data.train.0"
    ):
        plan_cells(read, cells_of(read), Progress())


def test_missing_files_are_told(folder: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no such plan"):
        load_plan(folder / "none.yaml")
    with pytest.raises(MissingFileError, match=r"plan.yaml:2: \S*none.yaml: there is no such recipe"):
        cells_of(plan(folder, "name: p\nrecipe: none.yaml\nvary: {seed: [1, 2]}\n"))
    with pytest.raises(RecipeError, match="is a preset and needs a base recipe: --recipe"):
        load_plan("quick")


@pytest.mark.parametrize("name", presets())
def test_presets_make_cells_of_any_recipe(folder: Path, name: str) -> None:
    read = load_plan(name, recipe=folder / "recipe.yaml")
    cells = cells_of(read)
    assert len(cells) == {"em-stellar": 14, "quick": 5, "how-many-labels": 1}[name]
    narrow = load_plan(_preset(folder, name))
    assert narrow.name == "narrow"
    if name == "em-stellar":
        counts = [cell.recipe.network.model_dump().get("base") for cell in cells_of(narrow)]
        full = [cell.recipe.network.model_dump().get("base") for cell in cells]
        assert [4 * one for one in counts] == full


def _preset(folder: Path, name: str) -> Path:
    path = folder / "narrow.yaml"
    path.write_text(f"preset: {name}\nname: narrow\nrecipe: recipe.yaml\nwidth: 0.25\n")
    return path


def test_widths_are_rounded_to_what_a_network_can_be() -> None:
    assert scaled(network_config("unet_bn", {"widths": [16, 32]}), 0.25).model_dump()["widths"] == (4, 8)
    assert scaled(network_config("seget", {}), 0.4).model_dump()["base"] in (4, 8)
    with pytest.raises(RecipeError, match="'efficient_unet' has no field for its width"):
        scaled(network_config("efficient_unet", {}), 0.5)


def test_all_cells_have_the_same_folds_and_the_widest_gap(folder: Path) -> None:
    text = "vary: {model.widths: {shallow: [2, 4], deep: [2, 4, 8]}}\nfolds: {by: boxes, count: 2, axis: x}\n"
    read = plan(folder, SMALL + text)
    planned, notes = plan_cells(read, cells_of(read), Progress())
    plans = [one.study.facts["folds"] for one in planned]
    assert plans[0] == plans[1]
    gaps = [tuple(one.study.facts["guard_vox"]["stack"]) for one in planned]
    assert gaps[0] == gaps[1]
    alone = plan(folder, SMALL + "vary: {model.widths: {shallow: [2, 4]}}\nfolds: {by: boxes, count: 2, axis: x}\n")
    (one,), _ = plan_cells(alone, cells_of(alone), Progress())
    assert one.study.facts["guard_vox"]["stack"][2] < gaps[0][2], "a shallow network alone would need less"
    assert any("All folds have a gap of" in note for note in notes)
    assert "2 folds are a first look: they rank cells, but to decide that one is better takes at least 6." in notes


def test_folds_may_be_varied_and_be_none(folder: Path) -> None:
    (folder / "folds.yaml").write_text("name: f\nrecipe: recipe.yaml\nvary: {folds: [null, {count: 2, by: slices}]}\n")
    plan = load_plan(folder / "folds.yaml")
    planned, notes = plan_cells(plan, cells_of(plan), Progress())
    assert [len(one.study.members) for one in planned] == [1, 2]
    assert any("do not have the same folds, because the plan varies these" in note for note in notes)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n"])
def test_a_plan_that_is_no_mapping_is_refused_with_another_recipe_too(folder: Path, text: str) -> None:
    (folder / "list.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"list\.yaml"):
        load_plan(folder / "list.yaml", recipe=folder / "recipe.yaml")


def test_a_budget_of_voxels_is_the_same_for_patches_of_any_size(folder: Path) -> None:
    text = "vary: {sampling.size: [[16, 16], [32, 32]]}\nset: {sampling.per_epoch: 8}\nbudget: {voxels: 16384}\n"
    read = plan(folder, text)
    planned, _ = plan_cells(read, cells_of(read), Progress())
    assert [one.study.recipe.training.epochs for one in planned] == [8, 2]
    assert [voxels_of_epoch(one.study.recipe) for one in planned] == [8 * 256, 8 * 1024]


def test_a_budget_of_minutes_is_measured_once(folder: Path) -> None:
    read = plan(folder, SMALL + "vary: {model.widths: {a: [2, 4]}}\nbudget: {minutes: 0.05}\n")
    (one,), _ = plan_cells(read, cells_of(read), Progress())
    assert one.study.recipe.training.epochs >= 1
    (again,), _ = plan_cells(read, cells_of(read), Progress(), epochs={"a": 77})
    assert again.study.recipe.training.epochs == 77


def test_a_learning_curve_has_nested_slices_of_each_fold(folder: Path) -> None:
    text = "labels: {slices: [1, 2, 4]}\nfolds: {by: slices, count: 2}\ninstances: 2\n"
    read = plan(folder, SMALL + text)
    planned, _ = plan_cells(read, cells_of(read), Progress())
    assert [one.cell.settings[SLICES] for one in planned] == ["1", "2", "4"]
    assert [one.cell.name for one in planned] == ["p-1-slices", "p-2-slices", "p-4-slices"]
    chosen: dict[str, list[set[int]]] = {}
    for one in planned:
        for member in one.study.members:
            found = _slices(member.recipe)
            assert len(found) == int(one.cell.settings[SLICES])
            chosen.setdefault(member.name, []).append(found)
    assert all(few < more < most for few, more, most in chosen.values()), "fewer slices are among the more"
    assert chosen["fold-1/instance-1"][0] != chosen["fold-1/instance-2"][0], "instances begin elsewhere"
    bad = plan(folder, SMALL + text.replace("[1, 2, 4]", "[1, 9]"))
    with pytest.raises(RecipeError, match="9 labelled slices are asked for, but a fold of discs trains on"):
        plan_cells(bad, cells_of(bad), Progress())


def _slices(recipe: cristae.Recipe) -> set[int]:
    train = open_data(recipe.data, recipe.folder).train
    return {part.box.start[0] for part in labelled_slices(train)}


def test_slices_are_spread_and_joined_where_they_follow_each_other(folder: Path) -> None:
    recipe = load_recipe(folder / "recipe.yaml")
    parts = open_data(recipe.data, recipe.folder).train
    assert [part.box.start[0] for part in thinned(parts, 2)] == [0, 4]
    (whole,) = thinned(parts, 6)
    assert (whole.box.start[0], whole.box.stop[0]) == (0, 6)
    with pytest.raises(ValueError, match="7 labelled slices are asked for, but there are 6"):
        thinned(parts, 7)


def test_slabs_of_slices_stay_together_for_deep_patches(folder: Path) -> None:
    recipe = load_recipe(folder / "recipe.yaml", ["data.train=[{volume: stack, slices: 0:7}]"])
    parts = open_data(recipe.data, recipe.folder).train
    found = [[(part.box.start[0], part.box.stop[0]) for part in thinned(parts, count, depth=2)] for count in (2, 4, 6)]
    assert found == [[(0, 2)], [(0, 2), (4, 6)], [(0, 6)]], "the seventh slice makes no slab"
    assert [part.box.start[0] for part in thinned(parts, 2, turn=1, depth=2)] == [2]
    with pytest.raises(ValueError, match="3 labelled slices are no slabs of 2"):
        thinned(parts, 3, depth=2)


def test_a_learning_curve_of_a_3d_network_keeps_slabs_as_deep_as_its_patches(folder: Path) -> None:
    deep = "model: {name: unet_3d, base: 2, padded: true}, sampling.size: [2, 16, 16]"
    text = f"set: {{sampling.per_epoch: 8}}\ncells:\n  flat: {{sampling.size: [16, 16]}}\n  deep: {{{deep}}}\n"
    read = plan(folder, text + "labels: {slices: auto}\n")
    planned, notes = plan_cells(read, cells_of(read), Progress())
    assert [one.cell.name for one in planned] == [f"{name}-{n}-slices" for name in ("flat", "deep") for n in (2, 4, 6)]
    assert "All cells have labelled slices in slabs of 2, which the deepest patches need." in notes
    kept = [_slices(one.study.members[0].recipe) for one in planned]
    assert kept == [{0, 1}, {0, 1, 4, 5}, set(range(6))] * 2, "cells are trained on the same slices"
    run = train(planned[3].study.members[0].recipe, out=folder / "run")
    assert run.summary["epochs"] == 1, "patches fit"
    odd = plan(folder, text + "labels:\n  slices: [1, 2, 4]\n")
    with pytest.raises(RecipeError) as caught:
        plan_cells(odd, cells_of(odd), Progress())
    assert str(caught.value).endswith(
        "plan.yaml:8: labels.slices: patches need 2 labelled slices in a row, so slices are kept in slabs of 2; give "
        "multiples of 2 in place of 1"
    )
