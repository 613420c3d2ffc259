"""Folds and instances trained as one study: what it holds, that members are independent, that it resumes exactly."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
import yaml
from scipy import ndimage, stats
from training_data import write_discs
from typer.testing import CliRunner

import cristae
from cristae.cli.main import app
from cristae.data.box import Box
from cristae.data.folds.config import FoldsConfig
from cristae.errors import OutputExistsError, RecipeError, RunError
from cristae.metrics.score import read_scores
from cristae.progress import Progress
from cristae.recipe.identity import run_id
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import open_run
from cristae.recipe.study import Study, open_study, plan_lines
from cristae.training.cache_folder import open_cache
from cristae.workflows import train_study as module
from cristae.workflows.plan_study import plan_study
from cristae.workflows.prepare_training import make_network, prepare_network_training
from cristae.workflows.recipes import check_recipe
from cristae.workflows.report import report
from cristae.workflows.train import train
from cristae.workflows.train_study import train_study
from cristae.workflows.training_data import begin_training

THREE = "folds={count: 3}"
SMALL = ("model.widths=[2, 4]", "sampling.per_epoch=8", "sampling.size=[16, 16]")


class Said(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)

    def say(self, message: str) -> None:
        self.said.append(message)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe beside its stack; slices 6 and 7 are for testing."""
    path = write_discs(tmp_path_factory.mktemp("study"), epochs=1)
    path.write_text(path.read_text().replace("model:", "  test: [{volume: stack, slices: '6:8'}]\nmodel:"))
    return path


@pytest.fixture(scope="module")
def folds(data: Path) -> Study:
    """Three folds, trained for an epoch each."""
    return train_study(load_recipe(data, [THREE, *SMALL]), out=data.parent / "folds")


@pytest.fixture(scope="module")
def instances(data: Path) -> Study:
    """Two folds of two instances each, of which the better one is taken."""
    changes = ["folds={count: 2}", "instances={count: 2, best: 1}", *SMALL]
    return train_study(load_recipe(data, changes), out=data.parent / "instances")


def test_a_study_holds_ordinary_runs_and_what_they_have_in_common(folds: Study, data: Path) -> None:
    assert folds.complete
    files = {"recipe.yaml", "study.json", "ensemble.yaml", "scores.csv", "report.html", "fold-1", "fold-2", "fold-3"}
    assert {path.name for path in folds.path.iterdir()} == files
    for number, run in enumerate(folds.runs, start=1):
        assert run.recipe.name == f"discs-fold-{number}"
        assert not run.recipe.is_study
        assert run.recipe.data.test == load_recipe(data).data.test
        assert run.build_network() is not None
    assert load_recipe(folds.path / "recipe.yaml").folds == load_recipe(data, [THREE]).folds


def test_the_ensemble_names_members_hashes_and_what_each_has_held_out(folds: Study, data: Path) -> None:
    content = yaml.safe_load(folds.ensemble_path.read_text())
    assert set(content) == {"members"}
    seen = np.zeros(10, int)
    for member in content["members"]:
        run = open_run(folds.path / member["run"])
        assert member["sha256"] == digest(run.weights_path)
        trained = [Box.parse(f"{one.slices},:,:", (10, 61, 70)) for one in run.recipe.data.train]
        for held in member["held_out"]:
            assert held["image"] == str(data.parent / "image")
            box = Box.parse(held["box"], (10, 61, 70))
            seen[box.start[0] : box.stop[0]] += 1
            assert not any(box.intersect(one).size for one in trained)
    assert seen.tolist() == [1] * 6 + [0, 0] + [1, 1], "each slice but those for testing is held out once"


def test_scores_are_those_of_the_members_and_their_mean_over_folds(folds: Study) -> None:
    scores = read_scores(folds.path / "scores.csv")
    values, sizes = [], []
    for number in (1, 2, 3):
        own = read_scores(folds.path / f"fold-{number}" / "scores.csv")
        mine = [replace(row, run="") for row in scores if row.run == f"fold-{number}"]
        assert len(mine) == len(own)
        assert repr(mine) == repr([replace(row, run="") for row in own])
        (value,) = [row.value for row in own if row.metric == "Jaccard"]
        values.append(value)
    (mean,) = [row for row in scores if (row.run, row.metric) == ("mean", "Jaccard")]
    (spread,) = [row for row in scores if (row.run, row.metric) == ("deviation", "Jaccard")]
    assert mean.value == pytest.approx(fmean(values))
    assert spread.value == pytest.approx(stdev(values))
    assert mean.n == 3
    for fold in folds.plan["folds"]:
        sizes.append((sum(fold["train_vox"].values()), sum(fold["validate_vox"].values())))
    ratio = sum(size[1] for size in sizes) / sum(size[0] for size in sizes)
    half = stats.t.ppf(0.975, 2) * stdev(values) * (1 / 3 + ratio) ** 0.5
    assert mean.low == pytest.approx(max(0, fmean(values) - half))
    assert mean.high == pytest.approx(min(1, fmean(values) + half))
    assert "Nadeau" in mean.rule


def test_the_page_shows_members_scores_and_folds(folds: Study) -> None:
    page = (folds.path / "report.html").read_text()
    for words in ("fold-2", "stack z 0-1", "95 % interval", "Learning", "the reach of the receptive field"):
        assert words in page
    before = page
    assert report(folds.path).read_text() == before


@pytest.mark.slow
def test_members_begin_with_weights_of_their_own(instances: Study) -> None:
    """A fold does not begin where the one before ended, as in the notebook of EM-stellar: trained alone, it is the
    same."""
    names = [member.run for member in instances.members]
    assert names == [f"fold-{fold}/instance-{instance}" for fold in (1, 2) for instance in (1, 2)]
    assert [member.seed for member in instances.members] == [0, 1, 0, 1]
    digests = {name: digest(instances.path / name / "weights.safetensors") for name in names}
    assert len(set(digests.values())) == 4
    run = open_run(instances.path / "fold-2/instance-1")
    alone = train(run.recipe, out=instances.path.parent / "alone")
    assert digest(alone.weights_path) == digests["fold-2/instance-1"]
    assert alone.id == run.id


def test_instances_differ_in_nothing_but_their_seeds(instances: Study) -> None:
    first, second = (open_run(instances.path / f"fold-1/instance-{number}").recipe for number in (1, 2))
    changed = cristae.diff_recipes(first, second)
    assert {one.path for one in changed} == {"name", "seed"}


def test_the_best_instance_of_each_fold_makes_up_the_ensemble(instances: Study) -> None:
    chosen = [one["run"] for one in yaml.safe_load(instances.ensemble_path.read_text())["members"]]
    assert len(chosen) == 2
    for fold, name in enumerate(chosen, start=1):
        members = [member for member in instances.members if member.fold == fold]
        assert name == max(members, key=lambda member: member.validation or 0).run
    scores = read_scores(instances.path / "scores.csv")
    own = {row.run: row.value for row in scores if row.metric == "Jaccard"}
    assert own["mean"] == pytest.approx(fmean(own[name] for name in chosen))
    (mean,) = [row for row in scores if (row.run, row.metric) == ("mean", "Jaccard")]
    assert (mean.low, mean.high) == (None, None), "two folds are too few for an interval"


def test_each_member_is_prepared_with_the_planned_gap(data: Path) -> None:
    """On the regions that training really caches, at another voxel size than that of the files: no training voxel lies
    within the reach of the network's receptive field of a validation voxel."""
    changes = ["folds={count: 2, by: boxes, axis: x}", *SMALL, "data.voxel_size_nm=[50, 12.5, 12.5]"]
    recipe = load_recipe(data, changes)
    plan = plan_study(recipe, Progress())
    assert _nearest(plan.members[0].recipe) > 0, "the volume has no voxel to spare between"
    for member in plan.members:
        assert _nearest(member.recipe) > _reach(member.recipe)
    bare = plan_study(load_recipe(data, [*changes, "folds.guard_vox=[0, 0, 0]"]), Progress())
    assert _nearest(bare.members[0].recipe) <= _reach(bare.members[0].recipe), "without the guard the law is broken"


def _reach(recipe: Recipe) -> int:
    classes = recipe.data.classes
    assert classes is not None
    return make_network(recipe, classes)[1].reach[2]


def _nearest(recipe: Recipe) -> int:
    """Steps along x from a validation voxel to the nearest training voxel in the same slice, on the working grid."""
    recipe, found = begin_training(recipe, Progress())
    _, locality = make_network(recipe, found.regions.classes)
    with open_cache() as cache:
        prepared = prepare_network_training(recipe, found, locality, cache, Progress())
        assert prepared is not None
        trained = [part.content.box for part in prepared.cached]
    shape = found.regions.train[0].volume.image.shape
    space = np.zeros(shape, bool)
    for box in trained:
        space[box.slices] = True
    distance = ndimage.distance_transform_cdt(~space[0], metric="chessboard")
    return int(min(distance[part.box.slices[1:]].min() for part in found.regions.validate))


def test_the_gap_follows_from_the_network(data: Path) -> None:
    def guard(*changes: str) -> tuple[list[int], str]:
        plan = plan_study(load_recipe(data, ["folds={count: 2}", *SMALL, *changes]), Progress())
        return plan.facts["guard_vox"]["stack"], plan.facts["guard_rule"]

    vox, rule = guard()
    assert (vox[0], rule) == (0, "the reach of the receptive field")
    assert vox[1] == vox[2] > 0
    assert guard("model.slices=3")[0] == [1, *vox[1:]], "neighbouring slices are seen"
    assert guard("data.voxel_size_nm=[50, 20, 20]")[0][1] > 2 * vox[1], "as wide in nm"
    patch = guard("normalize={name: min_max, scope: patch}")
    assert patch == ([0, 15, 15], "all but one voxel of the patch, since the network is not local")
    forest = guard("model={name: random_forest, features: {gaussian: [2.0], gradient: [], structure: [], hessian: []}}")
    assert forest[0][0] == 0
    assert forest[0][1] >= 6
    slices = guard("input_channels=[{area_px: 5, per: slice}]")
    assert slices[0][1] > 70
    boundaries = "data.volumes.0.labels={kind: instances, path: labels, to: boundary, class_name: disc, width_nm: 100}"
    assert guard(boundaries)[0] == [1, vox[1] + 5, vox[2] + 5], "what makes a boundary is not trained on either"
    assert guard("folds.guard_vox=[0, 3, 4]") == ([0, 3, 4], "what folds.guard_vox says")


def test_a_study_is_neither_overwritten_nor_trained_again(folds: Study, data: Path) -> None:
    recipe = load_recipe(data, [THREE, *SMALL])
    with pytest.raises(OutputExistsError, match="holds a study already; continue it with --resume"):
        train_study(recipe, out=folds.path)
    before = {path: path.stat().st_mtime_ns for path in folds.path.rglob("*") if path.name != "recipe.yaml"}
    said = Said()
    train_study(recipe, out=folds.path, resume=True, progress=said)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert sum("finished already" in line for line in said.said) == 3
    with pytest.raises(RunError, match=r"folds.count: 3 -> 4"):
        train_study(load_recipe(data, ["folds={count: 4}", *SMALL]), out=folds.path, resume=True)


def test_a_study_is_no_run_and_a_run_no_study(folds: Study, data: Path) -> None:
    with pytest.raises(RunError, match=r"is a study folder with several runs, not a run; name one .*fold-1"):
        open_run(folds.path)
    unfinished = data.parent / "unfinished"
    unfinished.mkdir()
    (unfinished / "recipe.yaml").write_text((folds.path / "recipe.yaml").read_text())
    (unfinished / "study.json").write_text((folds.path / "study.json").read_text().replace('"complete"', '"training"'))
    with pytest.raises(RunError, match=r"trainings are not finished; finish them with `cristae train .* --resume`"):
        open_run(unfinished)
    with pytest.raises(OutputExistsError, match="holds a single run, but the recipe asks for several"):
        train_study(load_recipe(data, [THREE, *SMALL]), out=folds.path / "fold-1", resume=True)
    with pytest.raises(RunError, match="is not a study folder"):
        open_study(folds.path / "fold-1")
    with pytest.raises(OutputExistsError):
        train(load_recipe(data, SMALL), out=folds.path)
    with pytest.raises(RecipeError, match=r"folds: ask for several trainings.* use cristae.train_study"):
        train(load_recipe(data, [THREE]))
    with pytest.raises(RecipeError, match="has neither folds nor instances"):
        train_study(load_recipe(data))
    assert open_study(folds.path).members == folds.members


def test_damage_is_told(folds: Study, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(folds.path / "recipe.yaml", copy)
    facts = json.loads((folds.path / "study.json").read_text())
    for change, message in [
        ({"format": 9}, "another version"),
        ({"members": []}, "names no members"),
        ({"members": [{"run": 3}]}, r"members\.run"),
    ]:
        (copy / "study.json").write_text(json.dumps(facts | change))
        with pytest.raises(RunError, match=message):
            open_study(copy)


def test_a_damaged_ensemble_file_is_told_where_the_page_is_made(folds: Study, tmp_path: Path) -> None:
    copy = tmp_path / "folds"
    shutil.copytree(folds.path, copy)
    for text, message in (("members: [", r"ensemble\.yaml:1"), ("fusion: average\n", "members")):
        (copy / "ensemble.yaml").write_text(text)
        with pytest.raises(RecipeError, match=message):
            report(copy)


def test_a_study_is_resumed_whatever_words_its_plan_has(folds: Study, data: Path, tmp_path: Path) -> None:
    """Another version may say the same in other words."""
    copy = tmp_path / "folds"
    shutil.copytree(folds.path, copy)
    facts = json.loads((copy / "study.json").read_text())
    facts["plan"] |= {"why": "in other words", "guard_rule": "in others, too"}
    (copy / "study.json").write_text(json.dumps(facts))
    assert train_study(load_recipe(data, [THREE, *SMALL]), out=copy, resume=True).complete


class Stopped(Exception):
    """In the place of a kill."""


def test_killed_between_members_it_resumes_to_the_same_bytes(
    folds: Study, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, place = load_recipe(data, [THREE, *SMALL]), data.parent / "killed"

    def die(*args: object, **kwargs: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        real: Callable[..., object] = module.train
        patch.setattr(module, "train", lambda one, **rest: die() if "fold-2" in one.name else real(one, **rest))
        with pytest.raises(Stopped):
            train_study(recipe, out=place)
    assert [member.state for member in open_study(place).members] == ["complete", "training", "waiting"]
    for name in ("ensemble.yaml", "scores.csv", "report.html"):
        assert not (place / name).exists(), "what is not finished does not look finished"
    assert "1 of 3" in report(place, out=data.parent / "unfinished.html").read_text()
    first = (place / "fold-1" / "weights.safetensors").stat().st_mtime_ns
    train_study(recipe, out=place, resume=True)
    assert (place / "fold-1" / "weights.safetensors").stat().st_mtime_ns == first
    for name in ("ensemble.yaml", "scores.csv", "study.json", *(f"fold-{n}/weights.safetensors" for n in (1, 2, 3))):
        assert digest(place / name) == digest(folds.path / name), name


def test_changed_data_are_noticed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(data.parent / "image", tmp_path / "image")
    shutil.copytree(data.parent / "labels", tmp_path / "labels")
    shutil.copy(data, tmp_path)
    recipe = load_recipe(tmp_path / "recipe.yaml", [THREE, *SMALL])
    monkeypatch.setattr(module, "train", lambda *args, **rest: (_ for _ in ()).throw(Stopped()))
    with pytest.raises(Stopped):
        train_study(recipe, out=tmp_path / "study")
    shutil.copy(tmp_path / "labels" / "00.png", tmp_path / "labels" / "03.png")
    with pytest.raises(RunError, match="the data have changed since this study began"):
        train_study(recipe, out=tmp_path / "study", resume=True)


@pytest.mark.slow
def test_killed_inside_a_member_it_resumes_to_the_same_bytes(data: Path, tmp_path: Path) -> None:
    changes = [THREE, *SMALL, "training.epochs=30", "training.checkpoint_minutes=0.0001"]
    arguments = [str(data), "--out", str(tmp_path / "killed"), *(f"--set={one}" for one in changes)]
    command = [sys.executable, "-m", "cristae", "train", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    second = tmp_path / "killed" / "fold-2" / "metrics.csv"
    while process.poll() is None and not (second.is_file() and len(list(csv.reader(second.open()))) > 3):
        time.sleep(0.02)
    assert process.poll() is None, "it was to be killed before it ended"
    process.send_signal(signal.SIGKILL)
    process.wait()
    states = [member.state for member in open_study(tmp_path / "killed").members]
    assert states == ["complete", "training", "waiting"]
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    train_study(load_recipe(data, changes), out=tmp_path / "whole")
    for name in ("ensemble.yaml", "scores.csv", *(f"fold-{number}/weights.safetensors" for number in (1, 2, 3))):
        assert digest(tmp_path / "killed" / name) == digest(tmp_path / "whole" / name), name


def test_other_post_processing_reaches_members_that_are_trained(folds: Study, data: Path, tmp_path: Path) -> None:
    """A resumed run takes it over without training, and so does a resumed study: its ensemble predicts with it."""
    copy = tmp_path / "folds"
    shutil.copytree(folds.path, copy)
    steps = "predict.postprocess=[{name: remove_small, min_size_vox: 9}]"
    train_study(load_recipe(data, [THREE, *SMALL, steps]), out=copy, resume=True)
    study = open_study(copy)
    asked = study.recipe.predict.postprocess
    assert [run.recipe.predict.postprocess for run in study.runs] == [asked] * 3
    assert digest(copy / "ensemble.yaml") == digest(folds.ensemble_path), "the weights are the same"


@pytest.mark.slow
def test_a_study_goes_on_for_more_epochs(folds: Study, data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "folds"
    shutil.copytree(folds.path, copy)
    longer = train_study(load_recipe(data, [THREE, *SMALL, "training.epochs=2"]), out=copy, resume=True)
    assert all(run.summary["epochs"] == 2 for run in longer.runs)
    content = yaml.safe_load(longer.ensemble_path.read_text())
    assert [one["sha256"] for one in content["members"]] == [digest(run.weights_path) for run in longer.runs]


def test_a_failed_beginning_leaves_nothing(data: Path, tmp_path: Path) -> None:
    changes = [THREE, *SMALL, "sampling.per_epoch=7"]
    with pytest.raises(RecipeError, match=r"fold-1: .*only 7 patches"):
        train_study(load_recipe(data, changes), out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_check_shows_the_folds(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = Said()
    check_recipe(data, ["folds={by: boxes, axis: x, count: 2}", *SMALL], progress=said)
    text = "\n".join(said.said)
    assert "2 of 2 folds by boxes: as folds.by says; the gap is the reach of the receptive field" in text
    assert "fold 1: validates stack x 0-34 (background" in text
    assert "leaves out in the gap: background" in text
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_voxels_of_overlapping_classes_are_listed_by_class() -> None:
    """A voxel of two classes is in both numbers, so that their sum would be more than there are."""
    fold = {"fold": 1, "validates": ["a z 0"], "train": [], "validate": [], "train_vox": {"er": 5}}
    fold |= {"validate_vox": {"er": 1}, "gap_vox": {"none": 30, "er": 20, "mito": 18}}
    assert "  leaves out in the gap: none 30, er 20, mito 18 voxels" in plan_lines({"folds": [fold]})


def test_warnings_about_a_split_say_of_which_fold_it_is(data: Path) -> None:
    """The regions that they name stand in no recipe that a person wrote; other warnings come once, as they are."""
    said = Said()
    check_recipe(data, [THREE, *SMALL, "data.volumes.0.voxel_size_nm=[50000, 10000, 10000]"], progress=said)
    touching = [line for line in said.warned if "touch in 'stack'" in line]
    assert len(touching) >= 2
    for line in touching:
        assert re.match(r"fold-[123]: data\.(train|validate) ", line)
        assert line.endswith(
            "; leave a gap with folds.guard_vox, such as [1, 0, 0], since neighbouring slices are alike"
        )
    assert sum("looks like a slip of the unit" in line for line in said.warned) == 1
    assert not [line for line in said.warned if line.startswith("fold-") and "slip" in line]


def test_the_command_dispatches_and_folds_stand_for_a_section(
    folds: Study, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Recipe] = []

    def instead(recipe: Recipe, **options: object) -> Study:
        asked.append(recipe)
        return folds

    monkeypatch.setattr(module, "train_study", instead)
    for arguments in (["--folds"], ["--folds", "--set", "folds.count=4"], ["--set", "instances={count: 2}"]):
        result = CliRunner().invoke(app, ["train", str(data), *arguments])
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[0] == str(folds.path)
    usual, four, several = asked
    assert usual.folds == FoldsConfig()
    assert four.folds == FoldsConfig(count=4)
    assert several.folds is None
    assert several.instances is not None


def test_the_command_ends_with_the_mean_scores_and_their_intervals(
    folds: Study, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train_study", lambda recipe, **options: folds)
    lines = CliRunner().invoke(app, ["train", str(data), "--folds"]).stdout.splitlines()
    assert lines[1].split() == ["mean", "of", "3", "validated", "folds", "disc", "all"]
    (mean,) = [row for row in read_scores(folds.path / "scores.csv") if (row.run, row.metric) == ("mean", "Jaccard")]
    (shown,) = [line for line in lines if "Jaccard" in line]
    assert shown.split() == ["Jaccard", f"{mean.value:.5f}", f"[{mean.low:.4f},", f"{mean.high:.4f}]"]


@pytest.mark.parametrize("verb", [["train"], ["recipe", "check"]])
def test_a_number_of_folds_is_explained(verb: list[str], data: Path) -> None:
    for arguments in ([str(data), "--folds", "5"], ["--folds", "5", str(data)]):
        result = CliRunner().invoke(app, [*verb, *arguments])
        assert result.exit_code == 2
        assert "--folds takes no number" in " ".join(result.output.split())
        assert "folds.count=5" in result.output


def test_check_takes_the_usual_folds_as_train_does(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    changes = ("--set", "folds.count=2", *(f"--set={one}" for one in SMALL))
    result = CliRunner().invoke(app, ["recipe", "check", str(data), "--folds", *changes])
    assert result.exit_code == 0, result.output
    assert result.stdout == "ok\n"
    assert "2 of 2 folds by slices" in result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("instances={}", "say how many"),
        ("instances={seeds: [1]}", "two or more"),
        ("instances={seeds: [1, 1]}", "each once"),
        ("instances={count: 3, seeds: [1, 2]}", "count is 3, but there are 2 seeds"),
        ("instances={count: 3, best: 4}", "best is 4, but there are 3 instances"),
    ],
)
def test_instances_that_make_no_sense_are_refused(data: Path, change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(data, [change])


def test_recipes_without_folds_keep_their_ids(data: Path) -> None:
    """The id is that of recipes from before there were folds, instances and samples."""
    recipe = load_recipe(data)
    assert run_id(recipe) == run_id(recipe.model_copy(update={"folds": None}))
    assert run_id(recipe) != run_id(load_recipe(data, [THREE]))
    text = cristae.recipe_to_yaml(load_recipe(data, [THREE]))
    assert "folds:\n  count: 3" in text


def test_a_forest_makes_a_study_too(data: Path) -> None:
    changes = ["model={name: random_forest, trees: 2, max_samples_per_class: 50}", "instances={seeds: [3, 5]}"]
    study = train_study(load_recipe(data, changes), out=data.parent / "forest")
    assert [member.run for member in study.members] == ["instance-1", "instance-2"]
    assert [run.recipe.seed for run in study.runs] == [3, 5]
    assert study.members[0].validation is not None
    (mean,) = [row for row in read_scores(study.path / "scores.csv") if (row.run, row.metric) == ("mean", "mIoU")]
    assert mean.value == pytest.approx(fmean(member.validation or 0 for member in study.members))
    held = yaml.safe_load(study.ensemble_path.read_text())["members"][0]["held_out"]
    assert [one["box"] for one in held] == ["8:10,0:61,0:70"]
