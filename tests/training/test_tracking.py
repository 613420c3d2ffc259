"""What experiment trackers are told; MLflow's client where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from training_data import write_discs

from cristae.errors import RecipeError
from cristae.recipe.identity import run_id
from cristae.recipe.load import load_recipe
from cristae.recipe.run import read_metrics
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
        session = Tracking(["tensorboard"], tmp_path, experiment="a", run="b", facts={"model": "c"}, warn=pytest.fail)
        for step in steps:
            session.log({"epoch": step // 10, "step": step, "loss": 1 / step, "undefined": float("nan")})
        session.close()
    assert [step for step, _ in scalars(tmp_path / "tensorboard")["loss"]] == [10, 20, 40]


def test_a_resumed_run_stays_one_run_in_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for step in (1, 2):
        session = Tracking(["mlflow"], tmp_path, experiment="a", run="b", facts={"model": "c"}, warn=pytest.fail)
        session.log({"epoch": step, "step": step, "loss": 1 / step})
        session.close()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("a").experiment_id])
    assert run.data.params == {"model": "c"}
    assert [one.value for one in client.get_metric_history(run.info.run_id, "loss")] == [1.0, 0.5]


class Server:
    """What the tests need of MLflow: runs by their ids, as one server keeps them for all trainings."""

    def __init__(self) -> None:
        self.runs: dict[str, list[float]] = {}
        self.states: dict[str, str] = {}
        self.down = False

    def module(self) -> ModuleType:
        made = ModuleType("mlflow")
        made.exceptions = SimpleNamespace(MlflowException=KeyError)  # type: ignore[attr-defined]
        made.MlflowClient = lambda tracking_uri: self  # type: ignore[attr-defined]
        return made

    def get_experiment_by_name(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(experiment_id="1")

    def create_run(self, place: str, tags: dict[str, str], run_name: str) -> SimpleNamespace:
        known = f"id-{len(self.runs)}"
        self.runs[known] = []
        return SimpleNamespace(info=SimpleNamespace(run_id=known))

    def log_param(self, run: str, name: str, value: str) -> None:
        assert run in self.runs

    def log_metric(self, run: str, name: str, value: float, step: int) -> None:
        if self.down:
            raise ConnectionError("no route to host")
        self.runs[run].append(value)

    def set_terminated(self, run: str, status: str = "FINISHED") -> None:
        self.runs[run]  # raises for an unknown one
        self.states[run] = status


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setitem(sys.modules, "mlflow", made.module())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker")
    return made


def mlflow_session(folder: Path, values: list[float], warn: Callable[[str], None] = pytest.fail) -> None:
    session = Tracking(["mlflow"], folder, experiment="a", run="a-1234", facts={"model": "c"}, warn=warn)
    for step, value in enumerate(values, start=1):
        session.log({"epoch": step, "step": step, "loss": value})
    session.close()


def test_two_trainings_of_one_recipe_are_two_runs_on_a_server(tmp_path: Path, server: Server) -> None:
    for name, values in (("one", [1.0, 2.0]), ("two", [5.0]), ("one", [3.0])):
        (tmp_path / name).mkdir(exist_ok=True)
        mlflow_session(tmp_path / name, values)
    assert server.runs == {"id-0": [1.0, 2.0, 3.0], "id-1": [5.0]}
    assert set(server.states.values()) == {"FINISHED"}
    server.runs.clear()  # another server
    mlflow_session(tmp_path / "two", [6.0])
    assert server.runs == {"id-0": [6.0]}


def test_a_training_goes_on_when_a_tracker_fails(tmp_path: Path, server: Server) -> None:
    server.down, warned = True, list[str]()
    mlflow_session(tmp_path, [1.0, 2.0], warned.append)
    assert warned == [
        "training.track: mlflow is told no more in this session (ConnectionError: no route to host); the training goes "
        "on, and metrics.csv has all epochs"
    ]


def test_a_tracker_that_is_not_installed_is_told_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    recipe = load_recipe(write_discs(tmp_path), ["training.track=[mlflow]"])
    with pytest.raises(RecipeError, match=r"training.track.0: mlflow is not installed; .*pip install cristae\[mlflow"):
        train(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
