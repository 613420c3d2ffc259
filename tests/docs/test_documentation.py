"""What the documentation says is run: commands, code, YAML, links, public names."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

import cristae
from cristae.augment import PRESETS, Augmentation, Augmentations, GeometricAugmentation
from cristae.benchmark.plan import Plan
from cristae.cli.main import app
from cristae.cluster.queue_file import QueueConfig
from cristae.data.classes import Classes
from cristae.data.description import DataConfig, Labels
from cristae.data.values import table_of_values
from cristae.evaluation.scoring.settings import FAMILIES, ScoreOptions
from cristae.recipe.complete import completed
from cristae.recipe.consistency import check_consistency
from cristae.recipe.document import read_document
from cristae.recipe.ensemble_file import EnsembleFile
from cristae.recipe.load import parse_recipe
from cristae.recipe.recipe import Recipe
from cristae.recipe.text import plain
from cristae.workflows.evaluate import evaluate

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "recipes").glob("*.md")])
SHORT = ("training.epochs=1", "training.batch_size=4", "sampling.per_epoch=8", "sampling.size=[64, 64]")
QUICK = [word for change in SHORT for word in ("--set", change)]


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


def run_line(line: str) -> str:
    """Run one documented command in this process; training is cut short, and not measured before."""
    verb, *arguments = shlex.split(line, comments=True)
    assert verb == "cristae"
    arguments += QUICK if arguments[0] == "train" else ["--no-measure"] if arguments[:2] == ["recipe", "new"] else []
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
    return result.stdout


def shrink(recipe: Path) -> None:
    text = re.sub(r"^  widths: .*\n", "", recipe.read_text(), flags=re.MULTILINE)
    assert "  name: unet_bn" in text
    recipe.write_text(text.replace("  name: unet_bn", "  widths: [4, 8]\n  name: unet_bn"))


@pytest.mark.slow
@pytest.mark.slow
def test_the_commands_of_comparing_with_a_truth_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a stack of 40 nm sections with a map that is mostly right; the prediction is one of a network."""
    monkeypatch.chdir(tmp_path)
    volume = cristae.synthetic_volume(cristae.SyntheticConfig(shape=(90, 48, 48), seed=3))
    cell = volume.labels[0].map(lambda ids: (ids == 1).astype(np.uint8), np.dtype(np.uint8))
    rng = np.random.default_rng(0)
    score = cell.map(lambda m: np.clip(90 * m + rng.integers(0, 160, m.shape), 0, 255).astype(np.uint8), np.uint8)
    for name in ("labels", "val-labels", "test-labels"):
        cristae.write_image(cell, Path(f"{name}.tif"))
    for name in ("val-map", "test-map", "cell-map"):
        cristae.write_image(score, Path(f"{name}.tif"))
    page = ROOT / "docs" / "how-to" / "compare-with-truth.md"
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    assert len(lines) == 6
    as_map = "--prediction cell-map.tif --binarize 0.5"
    lines = [line.replace("--prediction cell.zarr", as_map).replace("membrane", "foreground") for line in lines]
    said = [run_line(line) for line in lines]
    for name in ("scores", "cells", "val", "test", "sure"):
        for end in ("csv", "json", "slices.csv", "curves.csv"):
            assert Path(f"{name}.{end}").is_file()
    assert "F1_validated" in said[3]
    assert "[0." in said[4]
    assert "F1" in said[5]


@pytest.mark.slow
def test_the_page_of_scores_names_every_score(tmp_path: Path) -> None:
    """Whatever stands in the column `metric` is defined on the page, and families are those of the command."""
    text = (ROOT / "docs" / "explanation" / "scores.md").read_text(encoding="utf-8")
    labels = np.zeros((3, 20, 20), np.uint8)
    labels[:, 4:9, 5:15] = 1
    grey = cristae.image_of_array(labels * np.uint8(200))
    truth = cristae.image_of_array(labels * np.uint8(255))
    for name, image in (("t", truth), ("p", grey)):
        cristae.write_image(image, tmp_path / f"{name}.tif")
    options = ScoreOptions(voxel_size_nm=(40, 5, 5))
    scores = evaluate(tmp_path / "p.tif", tmp_path / "t.tif", options=replace(options, binarize=0.5))
    suffixes = ("_slice_mean", "_split", "_merge", "_fixed", "_raw", "_fiji", "_3d", "_percent")
    for score in scores:
        name = score.metric
        while name.endswith(suffixes):
            name = name[: name.rindex("_3d")] if name.endswith("_3d") else name.rpartition("_")[0]
            name = name.removesuffix("_slice")
        assert name in text or name.replace("components_", "_") in text, score.metric
    for group in FAMILIES:
        assert f"`{group}`" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_page_is_in_the_navigation_and_every_how_to_on_the_first_page() -> None:
    docs = ROOT / "docs"
    navigation, first = ((docs / name).read_text(encoding="utf-8") for name in ("../mkdocs.yml", "index.md"))
    pages = [page.relative_to(docs).as_posix() for page in docs.rglob("*.md")]
    assert not [page for page in pages if f": {page}" not in navigation]
    assert not [page for page in pages if page.startswith("how-to/") and f"({page})" not in first]


def test_every_verb_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in (
        "demo",
        "inspect",
        "convert",
        "data list",
        "doctor",
        "models list",
        "recipe new",
        "train",
        "predict",
        "evaluate",
        "agree",
        "compare",
        "analyze",
        "report",
    ):
        assert f"`cristae {verb}" in text


def test_the_readme_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell lines write the recipe and the run; then the Python lines do the same by themselves."""
    monkeypatch.chdir(tmp_path)
    volume = cristae.synthetic_volume(cristae.SyntheticConfig(shape=(12, 96, 96), seed=3))
    cell = volume.labels[0].map(lambda ids: (ids == 1).astype(np.uint8), np.dtype(np.uint8))
    cristae.write_image(volume.image, Path("stack.tif"))
    cristae.write_image(cell, Path("labels.tif"))
    cristae.write_image(volume.image, Path("cell.mrc"))
    cristae.write_image(cell, Path("cell-labels.tif"))
    (shell,) = blocks(ROOT / "README.md", "sh")
    for line in shell.splitlines():
        run_line(line)
        if "recipe new" in line:
            shrink(Path("mito.yaml"))
    assert Path("runs/mito/report.html").stat().st_size > 10_000
    Path("cell.zarr").rename("shell.zarr")
    recipe = Path("mito.yaml").read_text()
    for field, value in (("epochs", 1), ("per_epoch", 8), ("batch_size", 4)):
        recipe = re.sub(rf"^  {field}: \d+$", f"  {field}: {value}", recipe, flags=re.MULTILINE)
    Path("mito.yaml").write_text(recipe.replace("name: l", "name: m"))
    (code,) = blocks(ROOT / "README.md", "python")
    names: dict[str, Any] = {}
    exec(code.replace("cristae.train(recipe)", 'cristae.train(recipe, out="runs/python")'), names)
    assert names["prediction"].labels[0].shape == (12, 96, 96)
    assert {score.metric for score in names["scores"]} >= {"Jaccard", "F1", "mIoU"}


@pytest.mark.slow
def test_the_tutorial_on_sparse_labels_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "tutorial" / "sparse-labels.md"
    (code,) = blocks(page, "python")
    exec(code, {})
    assert len(list(Path("stack").iterdir())) == 60
    assert len(list(Path("labels").iterdir())) == 5
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    assert len(lines) == 9
    for line in lines:
        said = run_line(line)
        if "recipe new" in line:
            recipe = Path("mito.yaml").read_text()
            assert "5 of 60 slices have labels" in recipe
            assert "slices: [5, 17, 29, 41]" in recipe
            shrink(Path("mito.yaml"))
        if "recipe check" in line:
            assert said == "ok\n"
        if "inspect" in line:
            assert "voxel size is unknown" in said
    assert {"report.html", "scores.csv", "weights.safetensors"} <= {path.name for path in Path("runs/mito").iterdir()}
    assert cristae.open_image("stack-segmented.tif").shape == (60, 256, 256)
    assert set(np.unique(cristae.open_image("stack-segmented.tif").read())) <= {0, 1}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_on_the_pages_is_valid(page: Path) -> None:
    for block in blocks(page, "yaml"):
        value = read_document(block, page.name).value
        if "members" in value:
            EnsembleFile.model_validate(value)
            continue
        if "system" in value:
            QueueConfig.model_validate(value)
            continue
        if "recipe" in value:
            Plan.model_validate(value)
            continue
        assert set(value) <= {"labels", *Recipe.model_fields}
        for part in set(value) - {"labels", "data"}:
            TypeAdapter(Recipe.model_fields[part].annotation).validate_python(value[part])
        if "labels" in value:
            labels = TypeAdapter(Labels).validate_python(value["labels"])
            if labels.kind == "values":
                names = tuple(dict.fromkeys(name for name in labels.values.values() if name != "unlabelled"))
                assert table_of_values(labels.values, Classes(names=names), where=page.name).kind in (
                    "numbers",
                    "colors",
                )
        if "data" in value:
            DataConfig.model_validate(value["data"])


@pytest.mark.slow
def test_the_commands_of_training_as_a_paper_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they would train is checked, which is all that training does before its first step."""
    monkeypatch.setattr("cristae.data.public.cache_folder", lambda: tmp_path / "sets")
    monkeypatch.delenv("CRISTAE_DATA", raising=False)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "how-to" / "train-as-a-paper.md"
    (block,) = blocks(page, "sh")
    without, synthetic = block.splitlines()
    assert run_line(without) == ""
    assert run_line(synthetic.replace("cristae train", "cristae recipe check")) == "ok\n"


def test_the_page_about_papers_names_recipes_and_tasks_that_suit_each_other() -> None:
    text = (ROOT / "docs" / "how-to" / "train-as-a-paper.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z].*) \| .* \| .* \| `(synthetic[a-z-]*)`, (.*) \|$", text, flags=re.MULTILINE)
    assert len(rows) == 5
    for names, chosen, task in rows:
        first, *others = re.findall(r"`([^`]+)`", names)
        family = first.split("-")[0]
        for name in (first, *(f"{family}{other}" if other.startswith("-") else other for other in others)):
            suits = name.split("-")[-1] if task == "the structure" else task.strip("`")
            change = f"data={{set: {chosen}, task: {suits}}}"
            check_consistency(completed(cristae.load_recipe(ROOT / "recipes" / f"{name}.yaml", [change])))


def holds(found: Any, value: Any) -> bool:
    """Whether what a recipe holds is what was written, and defaults beside it."""
    if isinstance(value, dict):
        return all(holds(found[key], item) for key, item in value.items())
    if isinstance(value, list):
        return len(found) == len(value) and all(map(holds, found, value))
    return bool(found == value)


@pytest.mark.parametrize("page", ["change-a-recipe.md", "choose-patches.md"])
def test_the_table_of_changes_is_valid(page: str) -> None:
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    changes = re.findall(r"^\| .* \| `([^`]+)` \|$", text, flags=re.MULTILINE)
    assert len(changes) >= 8
    for change in changes:
        ((section, fields),) = read_document(change, "table").value.items()
        if isinstance(fields, list):
            overrides = [change.replace(":", "=", 1)]
        else:
            overrides = [f"{section}={{name: {fields['name']}}}"] if "name" in fields else []
            overrides += [f"{section}.{key}={value}" for key, value in fields.items()]
        recipe = parse_recipe("{name: x, data: {}, model: {name: unet_bn}, loss: {name: seget}}", "r", overrides)
        assert holds(plain(recipe)[section], fields), change


def test_the_page_of_grey_values_tells_parts_presets_and_defaults() -> None:
    """Each row names a part and options that it has; options with a value have it as their default."""
    text = (ROOT / "docs" / "how-to" / "augment-grey-values.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \| [^|]*\|$", text, flags=re.MULTILINE) == sorted(
        PRESETS, key=["strong", "sections", "dense-cell", "em-stellar", "fib-sem", "seget"].index
    )
    rows = re.findall(r"^\| `([a-z_]+)` \| [^|]* \| ([^|]*) \|$", text, flags=re.MULTILINE)
    told = {name for name, _ in rows}
    grey = {one for one in get_args(get_args(Augmentation)[0]) if not issubclass(one, GeometricAugmentation)}
    assert told == {one.model_fields["name"].default for one in grey}
    for name, options in rows:
        (part,) = TypeAdapter(Augmentations).validate_python([{"name": name}])
        for option in re.findall(r"`([^`]+)`", options):
            key, _, value = option.partition(": ")
            if key in type(part).model_fields and value:
                default = getattr(part, key)
                assert (list(default) if isinstance(default, tuple) else default) == read_document(value, name).value
            else:
                assert key in {*type(part).model_fields, "mean"}, option


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_brackets_are_quoted_for_the_shell(page: Path) -> None:
    assert not re.findall(r"--set\s+[^'\"\s`]*\[", page.read_text(encoding="utf-8"))


def test_public_names_change_only_on_purpose() -> None:
    listed = (Path(__file__).parent / "public_names.txt").read_text().split()
    assert sorted(cristae.__all__) == listed
    for name in listed:
        assert getattr(cristae, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cristae.nothing  # type: ignore[attr-defined]
