"""Successive halving: which cells go on, and what is said of the others."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_data import write_discs

from cristae.benchmark.halving import Standing, behind, best_until, epoch_at, mean_known, read_stopped, rungs
from cristae.benchmark.load import load_plan
from cristae.benchmark.plan import Halving, Plan
from cristae.benchmark.run import benchmark
from cristae.errors import RecipeError
from cristae.recipe.benchmark_tables import JobRow, read_rows
from cristae.recipe.folder import read_epochs
from cristae.recipe.load import load_recipe
from cristae.recipe.study import open_study
from cristae.workflows.train import train, train_until

PLAN = """\
name: rates
recipe: recipe.yaml
set: {sampling.per_epoch: 32, sampling.size: [16, 16], model.widths: [4, 8], training.batch_size: 4}
vary:
  training.learning_rate: {none: 1.0e-12, slow: 1.0e-11, usual: 1.0e-2}
budget: {epochs: 4}
halving: {after: 0.25, factor: 2}
"""


def standings(*values: float) -> list[Standing]:
    return [Standing(f"c{number}", 1, 4, value) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("after", "factor", "shares"),
    [(0.25, 2, [0.25, 0.5]), (0.1, 3, [0.1, 0.3, 0.9]), (0.5, 2, [0.5]), (0.9, 4, [0.9])],
)
def test_cells_are_compared_until_all_epochs_are_due(after: float, factor: int, shares: list[float]) -> None:
    assert rungs(Halving(after=after, factor=factor)) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("share", "epochs", "epoch"), [(0.25, 10, 3), (0.3, 10, 3), (0.1, 3, 1), (0.9, 1, 1), (0.5, 4, 2)]
)
def test_a_share_ends_with_a_whole_epoch(share: float, epochs: int, epoch: int) -> None:
    assert epoch_at(share, epochs) == epoch


def test_the_best_go_on() -> None:
    stopped = behind(standings(0.5, 0.9, math.nan, 0.5, 0.7), 2)
    assert [(one.cell, one.validation, one.place, one.compared) for one in stopped] == [
        ("c3", 0.5, 4, 5),
        ("c2", None, 5, 5),
    ]


def test_what_has_ended_is_not_stopped() -> None:
    cells = [Standing("done", 1, 4, 0.1, finished=True), *standings(0.2, 0.3)]
    assert [one.cell for one in behind(cells, 3)] == ["c0"]


@given(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1, max_size=12), st.integers(2, 5))
def test_one_in_so_many_goes_on_and_none_is_worse_than_what_is_stopped(values: list[float], factor: int) -> None:
    stopped = {one.cell for one in behind(standings(*values), factor)}
    kept = [value for number, value in enumerate(values) if f"c{number}" not in stopped]
    lost = [value for number, value in enumerate(values) if f"c{number}" in stopped and not math.isnan(value)]
    assert len(kept) == math.ceil(len(values) / factor)
    assert all(value >= max(lost, default=0) for value in kept if not math.isnan(value))
    assert not (lost and any(map(math.isnan, kept)))


def test_a_training_that_was_paused_ends_with_the_weights_of_one_in_one_go(tmp_path: Path) -> None:
    write_discs(tmp_path, epochs=3)
    recipe = load_recipe(tmp_path / "recipe.yaml", ["sampling.per_epoch=8", "model.widths=[2, 4]"])
    out = tmp_path / "parts"
    for epoch in (1, 1, 2):
        train_until(recipe, epoch, out=out)
        assert len(read_epochs(out)) == epoch
    assert json.loads((out / "summary.json").read_text())["status"] == "training"
    parts, whole = train(recipe, out=out, resume=True), train(recipe, out=tmp_path / "whole")
    assert parts.weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert len(read_epochs(out)) == 3


def test_validation_is_the_mean_over_trainings_that_have_one() -> None:
    assert mean_known([0.5, math.nan, 0.7]) == pytest.approx(0.6)
    assert math.isnan(mean_known([math.nan]))


def test_a_learning_curve_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="a learning curve is made of; leave halving or labels out"):
        Plan.model_validate({"name": "x", "recipe": "r.yaml", "labels": {}, "halving": {}})


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("halving")
    write_discs(folder, epochs=1)
    (folder / "plan.yaml").write_text(PLAN)
    return benchmark(load_plan(folder / "plan.yaml"), out=folder / "out")


def test_the_best_cell_is_trained_to_the_end_and_scored(halved: Path) -> None:
    jobs = read_rows(JobRow, halved / "results")
    assert [(job.cell, job.state, job.epochs) for job in jobs if job.cell == "usual"] == [("usual", "complete", 4)]
    assert all((job.cpu_seconds or 0) > 0 for job in jobs if job.cell == "usual"), "of both parts of the training"
    ranking = json.loads((halved / "results" / "ranking.json").read_text())
    assert {row["cell"] for row in ranking} == {"usual"}


def test_the_others_are_stopped_and_declared(halved: Path) -> None:
    stopped = read_stopped(halved)
    assert sorted((one.epoch, one.place, one.compared) for one in stopped.values()) == [(1, 3, 3), (2, 2, 2)]
    assert set(stopped) == {"none", "slow"}
    for name, one in stopped.items():
        study = open_study(halved / "cells" / name)
        folders = [study.path / member.run for member in study.members]
        assert [len(read_epochs(folder)) for folder in folders] == [one.epoch]
        assert one.validation == best_until(folders[0], one.epoch)
    jobs = [job for job in read_rows(JobRow, halved / "results") if job.state == "stopped"]
    assert {job.cell for job in jobs} == {"none", "slow"}
    assert all(job.message == str(stopped[job.cell]) for job in jobs)
    said = [row["text"] for row in json.loads((halved / "results" / "summary.json").read_text())]
    assert [text for text in said if "Halving stopped" in text and "place 3 of 3" in text]
    assert "2 stopped by halving" in (halved / "report.html").read_text()


@pytest.mark.slow
def test_without_halving_what_was_stopped_goes_on(halved: Path) -> None:
    plan = load_plan(halved / "plan.yaml").model_copy(update={"halving": None})
    before = {path: path.read_bytes() for path in halved.glob("cells/usual/fold-*/weights.safetensors")}
    benchmark(plan, out=halved, resume=True)
    assert {job.state for job in read_rows(JobRow, halved / "results")} == {"complete"}
    assert read_stopped(halved) == {}
    assert all(path.read_bytes() == content for path, content in before.items())


def test_halving_is_told_at_its_line(tmp_path: Path) -> None:
    write_discs(tmp_path, epochs=1)
    (tmp_path / "plan.yaml").write_text(PLAN.replace("factor: 2", "factor: 1"))
    with pytest.raises(RecipeError, match=r"plan.yaml:7: halving.factor: "):
        load_plan(tmp_path / "plan.yaml")
