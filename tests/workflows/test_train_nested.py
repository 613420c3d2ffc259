"""Nested folds trained as a study: what is scored was neither trained on nor chosen by; studies that are widened."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy import ndimage, stats
from training_data import write_discs

import cristae
from cristae.data.box import Box
from cristae.errors import RunError
from cristae.metrics.score import read_scores
from cristae.progress import Progress
from cristae.recipe.ensemble_file import MemberRun, flat_members
from cristae.recipe.identity import run_id
from cristae.recipe.load import load_recipe
from cristae.recipe.postprocess import chosen_steps, steps_of
from cristae.recipe.run import open_run
from cristae.recipe.study import Study, open_study
from cristae.workflows import train_study as module
from cristae.workflows.recipes import check_recipe
from cristae.workflows.train import train
from cristae.workflows.train_study import train_study

NESTED = "folds={count: 3, nested: true}"
SMALL = ("model.widths=[4, 8]", "sampling.per_epoch=24", "sampling.size=[16, 16]", "training.epochs=2")
AUTO = "predict.postprocess=[{name: remove_small, min_size_vox: auto}]"
SHAPE = (10, 61, 70)


class Said(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


class Stopped(Exception):
    """In the place of a kill."""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe beside its stack; slices 6 and 7 are for testing."""
    path = write_discs(tmp_path_factory.mktemp("nested"), epochs=2)
    path.write_text(path.read_text().replace("model:", "  test: [{volume: stack, slices: '6:8'}]\nmodel:"))
    return path


@pytest.fixture(scope="module")
def nested(data: Path) -> Study:
    """Three nested folds with a value of post-processing to choose."""
    return train_study(load_recipe(data, [NESTED, AUTO, *SMALL]), out=data.parent / "study")


@pytest.fixture
def copy(nested: Study, tmp_path: Path) -> Path:
    shutil.copytree(nested.path, tmp_path / "study")
    return tmp_path / "study"


def slices(regions: Sequence[cristae.Region]) -> set[int]:
    boxes = [Box.parse(f"{one.slices},:,:", SHAPE) for one in regions]
    return {z for box in boxes for z in range(box.start[0], box.stop[0])}


def truth_of(data: Path, box: Box) -> np.ndarray:
    files = [data.parent / "labels" / f"{z:02d}.png" for z in range(box.start[0], box.stop[0])]
    return np.stack([np.asarray(Image.open(file)) > 0 for file in files])


def iou(tables: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Of pairs of truth and prediction together."""
    return sum((a & b).sum() for a, b in tables) / sum((a | b).sum() for a, b in tables)


def test_each_member_tests_validates_and_trains_on_parts_that_keep_apart(nested: Study, data: Path) -> None:
    tested: list[int] = []
    for run in nested.runs:
        parts = [slices(part) for part in (run.recipe.data.train, run.recipe.data.validate_, run.recipe.data.test)]
        assert all(parts)
        assert sum(map(len, parts)) == len(set().union(*parts)) == 8
        tested += parts[2]
    assert sorted(tested) == [0, 1, 2, 3, 4, 5, 8, 9], "each is tested once; the recipe's own test regions never"
    assert nested.recipe.data.test == load_recipe(data).data.test


def test_the_ensemble_predicts_out_of_fold_what_its_members_test(nested: Study) -> None:
    for member in yaml.safe_load(nested.ensemble_path.read_text())["members"]:
        boxes = [Box.parse(held["box"], SHAPE) for held in member["held_out"]]
        held = {z for box in boxes for z in range(box.start[0], box.stop[0])}
        assert held == slices(open_run(nested.path / member["run"]).recipe.data.test)


def test_the_scores_of_a_study_are_those_of_its_tested_parts(nested: Study) -> None:
    scores = read_scores(nested.path / "scores.csv")
    values = []
    for member in nested.members:
        own = read_scores(nested.path / member.run / "test-scores.csv")
        assert repr([replace(row, run="") for row in own]) == repr(
            [replace(row, run="") for row in scores if row.run == member.run]
        )
        (value,) = [row.value for row in own if row.metric == "Jaccard"]
        values.append(value)
        validated = read_scores(nested.path / member.run / "scores.csv")
        assert [row.value for row in validated if row.metric == "Jaccard"] != [value]
    (mean,) = [row for row in scores if (row.run, row.metric) == ("mean", "Jaccard")]
    assert mean.value == pytest.approx(fmean(values))
    assert "over the tested parts of 3 folds" in mean.rule
    train, test = (sum(sum(one[key].values()) for one in nested.plan["folds"]) for key in ("train_vox", "test_vox"))
    half = stats.t.ppf(0.975, 2) * stdev(values) * (1 / 3 + test / train) ** 0.5
    assert mean.low == pytest.approx(max(0, fmean(values) - half))


def test_a_tested_part_is_scored_as_the_run_predicts_it(nested: Study, data: Path, tmp_path: Path) -> None:
    """Against a prediction of these slices by the run, post-processing included."""
    run = nested.runs[0]
    assert chosen_steps(run) != run.recipe.predict.postprocess
    pairs = []
    for number, region in enumerate(run.recipe.data.test):
        box = Box.parse(f"{region.slices},:,:", SHAPE)
        found = cristae.predict([run], data.parent / "image", out=tmp_path / f"{number}.zarr", box=box,
                                voxel_size_nm=(50, 10, 10))  # fmt: skip
        pairs.append((truth_of(data, box), found.labels[0].read() == 1))
    (scored,) = [one.value for one in read_scores(run.path / "test-scores.csv") if one.metric == "Jaccard"]
    assert scored == pytest.approx(iou(pairs))


def test_nothing_of_a_member_depends_on_the_labels_that_it_tests(nested: Study, tmp_path: Path, data: Path) -> None:
    """Trained again with other labels in its tested slices, a member has the same weights and the same values of
    post-processing; with other labels in its validated slices it chooses others."""
    run = open_run(nested.path / "fold-1")

    def again(name: str, where: set[int]) -> cristae.Run:
        shutil.copytree(data.parent / "labels", tmp_path / name)
        for z in where:
            Image.fromarray(np.zeros(SHAPE[1:], np.uint8)).save(tmp_path / name / f"{z:02d}.png")
        (volume,) = run.recipe.data.volumes
        assert volume.labels is not None
        labels = volume.labels.model_copy(update={"path": str(tmp_path / name)})
        changed = run.recipe.data.model_copy(update={"volumes": (volume.model_copy(update={"labels": labels}),)})
        return train(run.recipe.model_copy(update={"data": changed}), out=tmp_path / f"{name}-run")

    other = again("tested", slices(run.recipe.data.test))
    assert digest(other.weights_path) == digest(run.weights_path)
    assert other.summary["postprocess"] == run.summary["postprocess"]
    assert other.summary["kept"] == run.summary["kept"]
    sabotaged = again("validated", slices(run.recipe.data.validate_))
    assert sabotaged.summary["kept"] != run.summary["kept"], "it looks at what it validates"


def test_values_of_the_ensemble_are_chosen_on_the_validated_voxels_of_all_members(
    nested: Study, data: Path, tmp_path: Path
) -> None:
    """Against the pooled mean IoU of every size, computed from what each member predicts of what it validates."""
    raw = []
    for run in nested.runs:
        bare = replace(run, recipe=run.recipe.model_copy(
            update={"predict": run.recipe.predict.model_copy(update={"postprocess": ()})}))  # fmt: skip
        for region in run.recipe.data.validate_:
            box, out = Box.parse(f"{region.slices},:,:", SHAPE), tmp_path / f"{len(raw)}.zarr"
            found = cristae.predict([bare], data.parent / "image", out=out, box=box, voxel_size_nm=(50, 10, 10))
            raw.append((truth_of(data, box), found.labels[0].read() == 1))

    def pooled(size: float) -> float:
        pairs = [(true, without_small(found, size)) for true, found in raw]
        return (iou(pairs) + iou([(~true, ~found) for true, found in pairs])) / 2

    (step,) = flat_members([nested.path])[0].postprocess or ()
    largest = max(found.size for _, found in raw)
    sizes = [1.0, *(4.0**power for power in range(1, 24) if 4**power < largest)]
    assert step.min_size_nm3 == max(sizes, key=pooled) * 50 * 10 * 10
    assert pooled(max(sizes, key=pooled)) > pooled(1)


def without_small(found: np.ndarray, size: float) -> np.ndarray:
    numbers, count = ndimage.label(found, np.ones((3, 3, 3)))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    sizes[0] = 0
    return (sizes >= size)[numbers] & found


def test_an_ensemble_file_states_its_post_processing(nested: Study) -> None:
    members = flat_members([nested.path])
    assert steps_of(members) == members[0].postprocess
    with pytest.raises(RunError, match=r"fold-1: cannot be fused with the members of .*ensemble.yaml, which states"):
        steps_of([*members, MemberRun(nested.runs[0])])


def test_the_page_and_the_check_tell_the_three_parts(
    nested: Study, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (nested.path / "report.html").read_text()
    for words in ("What each fold tests, validates and trains on", "Scored is the part that each fold tests",
                  "values of post-processing", "Test IoU disc"):  # fmt: skip
        assert words in page
    assert "which flatters" not in page
    monkeypatch.chdir(tmp_path)
    said = Said()
    check_recipe(data, [NESTED, *SMALL], progress=said)
    text = "\n".join(said.said)
    first = nested.plan["folds"][0]
    assert f"fold 1: tests {first['tests'][0]} (background" in text
    assert f"\n  validates {first['validates'][0]} (background" in text


def test_killed_before_a_member_is_scored_it_resumes_to_the_same_bytes(
    nested: Study, copy: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part whose scores are gone is scored again, and nothing is trained; until then the study is not complete."""
    recipe, before = (
        load_recipe(data, [NESTED, AUTO, *SMALL]),
        (copy / "fold-2" / "weights.safetensors").stat().st_mtime_ns,
    )
    (copy / "fold-2" / "test-scores.csv").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(module, "score_test", lambda *_: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            train_study(recipe, out=copy, resume=True)
    assert [one.state for one in open_study(copy).members] == ["complete", "training", "complete"]
    assert not (copy / "ensemble.yaml").exists()
    assert not (copy / "fold-2" / "test-scores.json").exists(), "scores of before do not look like scores of now"
    assert train_study(recipe, out=copy, resume=True).complete
    assert (copy / "fold-2" / "weights.safetensors").stat().st_mtime_ns == before
    for name in ("scores.csv", "study.json", "ensemble.yaml", "fold-2/test-scores.csv", "fold-2/test-scores.json"):
        assert digest(copy / name) == digest(nested.path / name), name


def test_other_post_processing_is_scored_anew(copy: Path, data: Path) -> None:
    steps = "predict.postprocess=[{name: remove_small, min_size_vox: 4000}]"
    train_study(load_recipe(data, [NESTED, steps, *SMALL]), out=copy, resume=True)
    rows = read_scores(copy / "scores.csv")
    assert [row.value for row in rows if (row.run, row.metric) == ("mean", "sensitivity")] == [0.0]
    assert flat_members([copy])[0].postprocess is None, "the recipes of the members say it"


@pytest.mark.slow
def test_folds_and_the_best_instances_can_be_widened(data: Path, tmp_path: Path) -> None:
    def recipe(only: str, best: str) -> cristae.Recipe:
        folds = f"folds={{count: 3, only: {only}}}"
        return load_recipe(data, [folds, f"instances={{count: 2, best: {best}}}", *SMALL, "training.epochs=1"])

    one, out = recipe("[2]", "1"), tmp_path / "study"
    first = train_study(one, out=out)
    names = ("fold-2/instance-1", "fold-2/instance-2")
    trained = {name: (out / name / "weights.safetensors").stat().st_mtime_ns for name in names}
    assert len(flat_members([out])) == 1
    both = train_study(recipe("[2]", "2"), out=out, resume=True)
    assert [str(member.run.path.relative_to(out)) for member in flat_members([out])] == list(trained)
    assert both.members == first.members
    wider = train_study(recipe("[1, 2]", "null"), out=out, resume=True)
    assert [member.fold for member in wider.members] == [1, 1, 2, 2]
    assert wider.id == first.id
    assert {name: (out / name / "weights.safetensors").stat().st_mtime_ns for name in names} == trained
    assert len(flat_members([out])) == 4
    assert {one["fold"] for one in json.loads((out / "study.json").read_text())["plan"]["folds"]} == {1, 2}
    before = {path: digest(path) for path in out.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"folds.only leaves out fold 1 of this study; .* more folds, not fewer"):
        train_study(recipe("[2]", "null"), out=out, resume=True)
    assert {path: digest(path) for path in before} == before


def test_studies_that_are_not_nested_keep_their_ids(data: Path) -> None:
    """`nested: false` is what there was before; which folds are trained is no other study."""
    ids = [run_id(load_recipe(data, [f"folds={{count: 3{more}}}"])) for more in ("", ", nested: false", ", only: [1]")]
    assert len(set(ids)) == 1
    assert run_id(load_recipe(data, [NESTED])) != ids[0]
    several = [run_id(load_recipe(data, [f"instances={{count: 3{more}}}"])) for more in ("", ", best: 2")]
    assert several[0] == several[1]


def test_a_forest_makes_a_nested_study(data: Path, tmp_path: Path) -> None:
    forest = "model={name: random_forest, trees: 2, max_samples_per_class: 50}"
    study = train_study(load_recipe(data, [NESTED, forest]), out=tmp_path / "forest")
    for run in study.runs:
        rows, other = (read_scores(run.path / name) for name in ("test-scores.csv", "scores.csv"))
        assert [row.metric for row in rows] == [row.metric for row in other]
        assert [row.value for row in rows] != [row.value for row in other]
