"""Recipes are read, and every problem is told with its line, its path and what to do."""

import re
from pathlib import Path

import pytest

from cristae.errors import MissingFileError, RecipeError
from cristae.recipe.load import load_recipe, parse_recipe


def problems(text: str, *changes: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml", changes)
    return str(caught.value).splitlines()


def test_a_recipe_is_read(text: str) -> None:
    recipe = parse_recipe(text)
    assert recipe.training.learning_rate == 1e-4
    assert recipe.data.train[0].slices == "0:13"
    assert recipe.data.validate_[0].slices == (15, 17)
    assert recipe.data.volumes[0].labels is not None
    assert recipe.data.volumes[0].labels.values == {"0": "background", "64-191": "mito", "255": "unlabelled"}


def test_a_file_remembers_where_its_paths_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep" / "r.yaml"
    path.parent.mkdir()
    path.write_text("\ufeff" + text.replace("\n", "\r\n"), encoding="utf-8")
    recipe = load_recipe(path, ["training.epochs=7"])
    assert recipe.training.epochs == 7
    assert recipe.source == path
    assert recipe.folder == path.parent


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("unet_bn", "unet-bn", "r.yaml:19: model: unknown name 'unet-bn'; did you mean 'unet_bn'?"),
        ("  name: unet_bn\n", "", "r.yaml:18: model: `name:` is missing; it is one of: "),
        ("epochs: 3", "epoch: 3", "r.yaml:24: training.epoch: unknown field; did you mean 'epochs'?"),
        ("epochs: 3", "epochs: 0", "r.yaml:24: training.epochs: must be greater than 0, got 0"),
        ("epochs: 3", "epochs: 2.5", "r.yaml:24: training.epochs: must be a whole number, got 2.5"),
        ("[4, 8]", "[4, -1]", "r.yaml:20: model.widths.1: must be greater than 0, got -1"),
        ("0:13", "0-13", "r.yaml:14: data.train.0.slices: '0-13' is not in the expected form"),
        ("[15, 17]", "[15, x]", "r.yaml:17: data.validate.0.slices.1: must be a whole number, got 'x'"),
        ("name: tiny", "name: 2012", "r.yaml:1: name: must be text; put it in quotes: '2012'"),
        ("name: tiny\n", "", "r.yaml:1: name: is required"),
        (
            "kind: values",
            "kind: value",
            "r.yaml:10: data.volumes.0.labels: unknown kind 'value'; did you mean 'values'?",
        ),
        ("[background, mito]", "[mito, mito]", "r.yaml:3: data.classes: two classes have the same name"),
        ("      image: image.tif\n", "", "r.yaml:6: data.volumes.0.image: is required"),
        ("1e-4", ".inf", "r.yaml:25: training.learning_rate: must be a finite number, got inf"),
        ("1e-4", "fast", "r.yaml:25: training.learning_rate: must be a number, got 'fast'"),
        (
            "1e-4",
            "1e-4\n  optimizer: adan",
            "r.yaml:26: training.optimizer: unknown name 'adan'; did you mean 'adam'?",
        ),
        ("[40, 6, 6]", "40", "r.yaml:8: data.volumes.0.voxel_size_nm: must be a list, such as [1, 2], got 40"),
        ("64-191: mito", "64..191: mito", "r.yaml:12: data.volumes.0.labels.values.64..191: '64..191' is not"),
    ],
)
def test_a_problem_is_told_at_its_line(text: str, old: str, new: str, expected: str) -> None:
    lines = problems(text.replace(old, new, 1))
    assert len(lines) == 1
    assert lines[0].startswith(expected)


def test_all_problems_are_told_at_once(text: str) -> None:
    lines = problems(text.replace("epochs", "epoch").replace("0:13", "0-13").replace("unet_bn", "u"))
    assert [line.split(": ")[1] for line in lines] == ["data.train.0.slices", "model", "training.epoch"]


def test_only_the_chosen_member_of_a_union_is_talked_about(text: str) -> None:
    (line,) = problems(text.replace("widths: [4, 8]", "base: 4"))
    assert line.startswith("r.yaml:20: model.base: unknown field")
    assert "seget" not in line


def test_a_required_field_that_is_misspelt_is_told_once(text: str) -> None:
    change = "input_channels=[{name: grain_filter, area: 800}]"
    (line,) = problems(text, change)
    assert line == f"--set {change}: input_channels.0.area: unknown field; did you mean 'area_px'?"
    lines = problems(text, "input_channels=[{name: grain_filter, pixels: 800}]")
    assert [line.split("]: ")[1].split(":")[0] for line in lines] == [
        "input_channels.0.area_px",
        "input_channels.0.pixels",
    ]


def test_one_part_in_the_place_of_a_list_is_put_into_brackets(text: str) -> None:
    (line,) = problems(text, "input_channels={name: grain_filter, area_px: 800}")
    assert line.endswith("input_channels: must be a list; put the one part into brackets: [{...}]")


@pytest.mark.parametrize("content", ["- a\n- b\n", "just words\n", "5\n"])
def test_what_is_not_a_mapping_is_refused(content: str) -> None:
    (line,) = problems(content)
    assert line.startswith("r.yaml:1: must hold fields")


def test_options_of_the_network_before_are_told_when_only_the_name_is_set(text: str) -> None:
    changes = ["model={name: unet_bn, widths: [8, 16]}", "model.name=seget"]
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml", changes)
    assert str(caught.value) == (
        f"--set {changes[0]}: model.widths: belongs to the options of unet_bn, and seget has no such one; use --set "
        "'model={name: seget}', which leaves out the options from before"
    )
    assert parse_recipe(text, "r.yaml", [*changes, "model={name: seget}"]).model.name == "seget"
    with pytest.raises(RecipeError, match=r"model\.widths: unknown field"):
        parse_recipe(text, "r.yaml", [*changes, "model={name: seget, widths: [8]}"])


def test_what_a_part_lacks_is_blamed_on_the_change_of_its_name(text: str) -> None:
    assert [line.split(": ")[:2] for line in problems(text, "model.name=external")] == [
        ["--set model.name=external", "model.target"],
        ["r.yaml:20", "model.widths"],
    ]
    flips = text + "augment: [{name: flip, axes: [x]}]\n"
    (line,) = problems(flips, "augment.0.name=noise")
    assert line.endswith("use --set 'augment.0={name: noise}', which leaves out the options from before")


def test_a_list_is_asked_for_with_one_that_the_field_takes(text: str) -> None:
    with pytest.raises(RecipeError, match=r"must be a list, such as \[16, 32, 64, 128, 256\], got 8"):
        parse_recipe(text, "r.yaml", ["model={name: unet_bn, widths: 8}"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("training.schedule=cosine", "got 'cosine'; write {name: cosine}"),
        ("model=seget", "got 'seget'; write {name: seget}"),
        ("training.criteria=f1", "must be a list, such as [f1], got 'f1'"),
        ("loss={name: focal}", "'focal' is a term; write {name: sum, terms: [{name: focal}]}"),
    ],
)
def test_a_name_in_the_place_of_a_part_is_told_how_to_be_written(text: str, change: str, words: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(words)):
        parse_recipe(text, "r.yaml", [change])


def test_set_changes_fields_items_and_left_out_parts(text: str) -> None:
    recipe = parse_recipe(
        text,
        "r.yaml",
        ["model.widths=[8, 16]", "data.train.0.slices=2:5", "training.schedule.decay=1e-6", "sampling.size=[64, 64]"],
    )
    assert recipe.model.widths == (8, 16)  # type: ignore[union-attr]
    assert recipe.data.train[0].slices == "2:5"
    assert recipe.training.schedule.decay == 1e-6  # type: ignore[union-attr]
    assert tuple(recipe.sampling.size) == (64, 64)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("training.epochs=0", "--set training.epochs=0: training.epochs: must be greater than 0, got 0"),
        ("training.epoch=1", "--set training.epoch=1: training.epoch: unknown field; did you mean 'epochs'?"),
        ("epochs", "--set epochs: expected path=value"),
        ("=3", "--set =3: expected path=value"),
        ("data.train.3.volume=x", "--set data.train.3.volume=x: data.train is a list of 1; there is no item 3"),
        ("name.first=x", "--set name.first=x: name is a single value and has no field 'first'"),
        ("seed=[", "--set seed=[: "),
        (
            "data.test.0.slices=0:2",
            "--set data.test.0.slices=0:2: the recipe does not list data.test, so",
        ),
        ("augment.0.probability=1", "--set augment.0.probability=1: the recipe does not list augment, so"),
        ("loss.smooth=x", "--set loss.smooth=x: loss.smooth"),
        (
            "training.schedule={name: cosine, floor: 5}",
            "--set training.schedule={name: cosine, floor: 5}: training.schedule.floor: 5 is above learning_rate",
        ),
        (
            "data.classes.names=[mito, mito]",
            "r.yaml:3 (with --set data.classes.names=[mito, mito]): data.classes: two classes have the same name",
        ),
    ],
)
def test_a_wrong_change_is_told_as_such(text: str, change: str, expected: str) -> None:
    (line,) = problems(text, change)
    assert line.startswith(expected)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such recipe"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="is a folder"):
        load_recipe(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: x\ndescription: Zürich\n".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"latin\.yaml:2: is not UTF-8"):
        load_recipe(tmp_path / "latin.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * 2_000_000)
    with pytest.raises(RecipeError, match="not a recipe"):
        load_recipe(tmp_path / "big.yaml")
