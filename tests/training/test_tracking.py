"""What experiment trackers are told; MLflow's client where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_data import write_discs

from cristae.errors import RecipeError
from cristae.recipe.load import load_recipe
from cristae.recipe.run import read_metrics, run_id
from cristae.training import tracking
from cristae.training.tracking import Tracking
from cristae.workflows.train import train

SMALL = ("model.widths=[2, 4]", "sampling.per_epoch=8", "sampling.size=[16, 16]")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_gets_what_the_metrics_have(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    recipe = load_recipe(write_discs(tmp_path, epochs=2), [*SMALL, "training.track=[tensorboard]"])
    run = train(recipe, out=tmp_path / "run")
    rows = read_metrics(run)
    found = scalars(run.path / "tensorboard")
    assert found["val_miou"] == [(int(row["step"]), pytest.approx(float(row["val_miou"]))) for row in rows]
    assert set(found) == {name for name, value in rows[0].items() if value} - {"epoch", "step"}
    assert run_id(recipe) == run_id(load_recipe(tmp_path / "recipe.yaml", SMALL)), (
        "who watches is no part of the experiment"
    )


def test_what_was_logged_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for steps in ((10, 20, 30), (20, 40)):
        session = Tracking(["tensorboard"], tmp_path, experiment="a", run="b", facts={"model": "c"})
        for step in steps:
            session.log({"epoch": step // 10, "step": step, "loss": 1 / step, "undefined": float("nan")})
        session.close()
    assert [step for step, _ in scalars(tmp_path / "tensorboard")["loss"]] == [10, 20, 40]


def test_a_resumed_run_stays_one_run_in_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for step in (1, 2):
        session = Tracking(["mlflow"], tmp_path, experiment="a", run="b", facts={"model": "c"})
        session.log({"epoch": step, "step": step, "loss": 1 / step})
        session.close()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("a").experiment_id])
    assert run.data.params == {"model": "c"}
    assert [one.value for one in client.get_metric_history(run.info.run_id, "loss")] == [1.0, 0.5]


def test_a_tracker_that_is_not_installed_is_told_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    recipe = load_recipe(write_discs(tmp_path), ["training.track=[mlflow]"])
    with pytest.raises(RecipeError, match=r"training.track.0: mlflow is not installed; .*pip install cristae\[mlflow"):
        train(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
