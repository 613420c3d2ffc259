"""Members chosen among runs that were validated on the same slices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from network_data import write_stack
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

import cristae
from cristae import EnsembleOptions
from cristae.cli.main import app
from cristae.errors import CristaeError, OutputExistsError, RunError, ScoreError
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import iou
from cristae.recipe.postprocess import chosen_steps
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, save_weights
from cristae.workflows import ensemble as workflow

CHANGES = (
    "model.widths=[4, 8]",
    "sampling.size=[32, 32]",
    "training.epochs=1",
    "data.test=[{volume: stack, slices: 8:9}]",
)
HELD_OUT = cristae.Box((9, 0, 0), (12, 48, 56))


def untrained(folder: Path, recipe: Recipe, trained: Run, seed: int) -> Run:
    """A finished run with other weights: those of a trained one and noise."""
    place = folder / f"run-{seed}"
    shutil.copytree(trained.path, place)
    run = cristae.open_run(place)
    network = run.build_network()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.15 * torch.randn(value.shape, generator=generator))
    save_weights(run, network)
    return cristae.open_run(place)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, list[Run]]:
    folder = tmp_path_factory.mktemp("runs")
    recipe = write_stack(folder, "several", *CHANGES)
    trained = cristae.train(recipe, out=folder / "trained")
    return recipe, [untrained(folder, recipe, trained, seed) for seed in range(3)]


def maps_of(run: Run, folder: Path) -> np.ndarray:
    """Probabilities (C, Z, Y, X) of the validation slices, p x 255."""
    volume = cristae.open_volume(folder / "stack.tif")
    options = cristae.PredictOptions(probabilities=True)
    found = cristae.predict([run], volume, out=folder / f"{run.path.name}-{id(run)}.zarr", options=options)
    return np.stack([image.read(HELD_OUT) for image in found.probabilities])


def test_greedy_choice_is_written_as_an_ensemble(made: tuple[Recipe, list[Run]], tmp_path: Path) -> None:
    """Its score is that of the weighted average of the runs' own maps, and the file says how often each was taken."""
    recipe, runs = made
    out = tmp_path / "choice" / "ensemble.yaml"
    options = EnsembleOptions(size=4, test=True)
    chosen = cristae.ensemble(runs, out=out, options=options)
    maps = [maps_of(run, recipe.folder) for run in runs]
    fused = sum(weight * one.astype(float) for weight, one in zip(chosen.weights, maps, strict=True))
    truth = cristae.open_image(recipe.folder / "both.tif").read(HELD_OUT)
    expected = np.nanmean(iou(Confusion.of(truth, np.asarray(fused).argmax(0), 3)))
    assert chosen.score == pytest.approx(expected)
    assert chosen.validation is not None
    assert chosen.score >= max(chosen.validation.scores) - 1e-12
    content = yaml.safe_load(out.read_text())
    taken = [(run, weight) for run, weight in zip(runs, chosen.weights, strict=True) if weight]
    assert content["fusion"] == "weighted"
    assert [(one["run"], one["weight"]) for one in content["members"]] == [(str(run.path), w) for run, w in taken]
    assert content["members"][0]["held_out"] == [{"image": str(recipe.folder / "stack.tif"), "box": "9:12,0:48,0:56"}]
    facts = json.loads(out.with_suffix(".json").read_text())
    assert facts["weights"] == list(chosen.weights)
    assert len(facts["test"]["top_k"]) == 3
    assert facts["validation"]["voxels"] == 3 * 48 * 56
    assert facts["test"]["voxels"] == 48 * 56
    assert "Errors in common" in out.with_suffix(".html").read_text()
    # again with another rule: nothing is predicted anew
    said: list[str] = []

    class Listening(cristae.Progress):
        def say(self, message: str) -> None:
            said.append(message)

    again = out.with_name("top.yaml")
    top = cristae.ensemble(runs, out=again, options=EnsembleOptions("top", test=True), progress=Listening())
    assert sum("was predicted before" in one for one in said) == 6
    assert top.validation is not None
    assert top.score == max(one.score for one in top.validation.top_k)
    assert yaml.safe_load(again.read_text())["fusion"] == "average"
    assert top.validation.scores == chosen.validation.scores


def test_a_killed_choice_predicts_nothing_twice(
    made: tuple[Recipe, list[Run]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while the second run predicts, it leaves no ensemble; the next call predicts the second and third run."""
    _, runs = made
    predicted: list[str] = []
    predict = workflow.predict

    def dying(some: list[Run], *args: Any, **options: Any) -> object:
        predicted.append(some[0].path.name)
        if predicted == ["run-0", "run-1"]:
            raise KeyboardInterrupt
        return predict(some, *args, **options)

    monkeypatch.setattr(workflow, "predict", dying)
    with pytest.raises(KeyboardInterrupt):
        cristae.ensemble(runs, out=tmp_path / "e.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["ensemble-maps"]
    killed = cristae.ensemble(runs, out=tmp_path / "e.yaml")
    assert predicted == ["run-0", "run-1", "run-1", "run-2"]
    undisturbed = cristae.ensemble(runs, out=tmp_path / "other" / "e.yaml")
    assert killed.to_dict() == undisturbed.to_dict()
    assert not list((tmp_path / "ensemble-maps").rglob("*.zarr"))


def test_what_cannot_be_chosen_among_is_refused(made: tuple[Recipe, list[Run]], tmp_path: Path) -> None:
    _, runs = made
    with pytest.raises(RunError, match="at least two runs"):
        cristae.ensemble(runs[:1], out=tmp_path / "e.yaml")
    with pytest.raises(RunError, match="the same weights"):
        cristae.ensemble([runs[0], runs[0]], out=tmp_path / "e.yaml")
    with pytest.raises(CristaeError, match=r"call it e\.yaml"):
        cristae.ensemble(runs, out=tmp_path / "e.txt")
    with pytest.raises(ScoreError, match="5 members cannot be taken of 3 runs"):
        cristae.ensemble(runs, out=tmp_path / "e.yaml", options=EnsembleOptions("top", size=5))
    (tmp_path / "there.yaml").write_text("")
    with pytest.raises(OutputExistsError):
        cristae.ensemble(runs, out=tmp_path / "there.yaml")
    other = runs[1].path / "recipe.yaml"
    text = other.read_text()
    try:
        other.write_text(text.replace("9:12", "10:12"))
        with pytest.raises(RunError, match=r"run-1: was validated on other voxels than .*run-0 .*10:12,0:48"):
            cristae.ensemble([str(run.path) for run in runs], out=tmp_path / "e.yaml")
    finally:
        other.write_text(text)
    assert not (tmp_path / "e.yaml").exists()


@pytest.mark.parametrize(
    ("change", "options", "problem"),
    [
        (("precision: fp32", "precision: bf16"), {}, "run-1: .*precision"),
        (("threshold: 0.5", "threshold: 0.4"), {}, "run-1: .*threshold"),
        (("postprocess: []", "postprocess: [{name: fill_holes}]"), {}, "run-1: .*post-?process"),
        (("0:8", "0:7"), {"rule": "soup"}, "run-1: was trained on other regions"),
    ],
)
def test_runs_that_cannot_predict_together_are_refused_before_they_predict(
    made: tuple[Recipe, list[Run]], tmp_path: Path, change: tuple[str, str], options: dict[str, Any], problem: str
) -> None:
    _, runs = made
    other = runs[1].path / "recipe.yaml"
    text = other.read_text()
    assert change[0] in text
    try:
        other.write_text(text.replace(*change))
        with pytest.raises(RunError, match=problem):
            cristae.ensemble(
                [str(run.path) for run in runs], out=tmp_path / "e.yaml", options=EnsembleOptions(**options)
            )
    finally:
        other.write_text(text)
    assert not list(tmp_path.iterdir())


def test_test_time_augmentation_of_an_ensemble_file_is_not_left_out_silently(
    made: tuple[Recipe, list[Run]], tmp_path: Path
) -> None:
    _, runs = made
    file = cristae.write_ensemble(tmp_path / "three.yaml", runs, test_time="flips")
    with pytest.raises(RunError, match=r"three\.yaml: states test_time: flips"):
        cristae.ensemble([file], out=tmp_path / "e.yaml")


@pytest.mark.parametrize("name", ["summary.json", "report.html"])
def test_what_stands_beside_is_not_overwritten(made: tuple[Recipe, list[Run]], tmp_path: Path, name: str) -> None:
    """An ensemble file called as a run's own files would take their place with what it keeps beside itself."""
    _, runs = made
    (tmp_path / name).write_text('{"status": "complete"}')
    with pytest.raises(OutputExistsError, match=name):
        cristae.ensemble(runs, out=(tmp_path / name).with_suffix(".yaml"))
    assert (tmp_path / name).read_text() == '{"status": "complete"}'


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"rule": "best"}, "rule: expected one of greedy, top"),
        ({"criterion": "loss"}, "criterion: expected one of miou"),
        ({"size": 0}, "at least one member"),
        ({"rule": "top", "begin_with": 2}, "belongs to the rule 'greedy'"),
        ({"rule": "soup", "size": 2}, "leave size out"),
        ({"rule": "soup", "test": True}, "leave out criterion and test"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ScoreError, match=problem):
        EnsembleOptions(**options)  # type: ignore[arg-type]


def test_a_soup_is_a_run_of_mean_weights(made: tuple[Recipe, list[Run]], tmp_path: Path) -> None:
    """Weights are the mean in float64; running statistics are estimated again, so they are not."""
    _, runs = made
    chosen = cristae.ensemble(runs, out=tmp_path / "soup", options=EnsembleOptions("soup"))
    run = cristae.open_run(tmp_path / "soup")
    tensors = [load_file(one.weights_path) for one in runs]
    norms = {
        f"{name}.{kind}"
        for name, module in run.build_network().named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for kind in ("running_mean", "running_var", "num_batches_tracked")
    }
    for name, value in load_file(run.weights_path).items():
        mean = np.mean([one[name].double().numpy() for one in tensors], axis=0)
        if name in norms:
            assert name.endswith("tracked") or not np.allclose(value.numpy(), mean)
        else:
            np.testing.assert_array_equal(value.numpy(), mean.astype(np.float32))
    assert [one["run"] for one in run.summary["soup"]] == [one.id for one in runs]
    assert run.id != runs[0].id
    assert (run.path / "report.html").exists()
    assert run.summary["best_val_miou"] == chosen.score
    assert chosen.weights == (1, 1, 1)


def test_a_soup_chooses_its_own_values_of_post_processing(made: tuple[Recipe, list[Run]], tmp_path: Path) -> None:
    _, runs = made
    for run in runs[:2]:
        shutil.copytree(run.path, tmp_path / run.path.name)
        recipe = tmp_path / run.path.name / "recipe.yaml"
        auto = "postprocess: [{name: remove_small, min_size_vox: auto}]"
        recipe.write_text(recipe.read_text().replace("postprocess: []", auto))
    copies = [tmp_path / run.path.name for run in runs[:2]]
    cristae.ensemble(copies, out=tmp_path / "soup", options=EnsembleOptions("soup"))
    soup = cristae.open_run(tmp_path / "soup")
    assert soup.summary["postprocess"]["val_miou"]["raw"] == pytest.approx(soup.summary["best_val_miou"])
    assert chosen_steps(soup) is not None


def test_a_greedy_soup_is_not_worse_than_any_first_choice(made: tuple[Recipe, list[Run]], tmp_path: Path) -> None:
    _, runs = made
    chosen = cristae.ensemble(runs, out=tmp_path / "soup", options=EnsembleOptions("greedy-soup"))
    kept = [one["path"] for one in cristae.open_run(tmp_path / "soup").summary["soup"]]
    assert set(kept) == {str(run.path) for run, weight in zip(runs, chosen.weights, strict=True) if weight}
    assert chosen.score > 0


def test_weights_of_other_networks_do_not_mix(made: tuple[Recipe, list[Run]], tmp_path: Path) -> None:
    _, runs = made
    other = runs[1].path / "recipe.yaml"
    text = other.read_text()
    try:
        other.write_text(text.replace("widths: [4, 8]", "widths: [4, 12]"))
        with pytest.raises(RunError, match=r"run-1: its weights cannot be averaged .* differs in model"):
            cristae.ensemble([str(run.path) for run in runs], out=tmp_path / "soup", options=EnsembleOptions("soup"))
    finally:
        other.write_text(text)
    assert not (tmp_path / "soup").exists()


def test_the_verb_prints_what_it_chose(made: tuple[Recipe, list[Run]], tmp_path: Path) -> None:
    _, runs = made
    arguments = ["ensemble", *(str(run.path) for run in runs), "--out", str(tmp_path / "e.yaml")]
    result = CliRunner().invoke(app, [*arguments, "--rule", "top", "--size", "2", "--json"])
    assert result.exit_code == 0, result.output
    assert sum(json.loads(result.stdout)["weights"]) == 2
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "e.yaml: exists already" in again.stderr
