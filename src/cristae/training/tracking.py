"""Experiment trackers that are told what `metrics.csv` gets: TensorBoard and MLflow, both optional."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from cristae.data.files import write_text
from cristae.errors import RecipeError

TrackerName = Literal["tensorboard", "mlflow"]
Row = Mapping[str, float]
_STEP = "step"
_MLFLOW_RUN = "mlflow-run.txt"
_OF_NO_CURVE = ("epoch", "step")


class Tracker(Protocol):
    """Where the curves of a training are shown while it runs."""

    def log(self, row: Row) -> None:
        """The numbers of an epoch, with its `epoch` and `step`."""

    def close(self) -> None:
        """The session has ended."""


def require_trackers(names: Sequence[TrackerName]) -> None:
    """Make sure that the packages of trackers are installed.

    Raises:
        RecipeError: One is not.
    """
    for place, name in enumerate(names):
        if find_spec(name) is None:
            raise RecipeError(
                f"training.track.{place}: {name} is not installed; install it with `pip install cristae[{name}]`, or "
                "leave it out"
            )


class Tracking:
    """The trackers of a training, which are opened with the first epoch that is logged.

    One that fails, as when its server does not answer, is told no more in this session, and the training goes on.
    """

    def __init__(
        self,
        names: Sequence[TrackerName],
        folder: Path,
        *,
        experiment: str,
        run: str,
        facts: Mapping[str, str],
        warn: Callable[[str], None],
    ) -> None:
        """See the class.

        Args:
            names: Which.
            folder: The run folder, where they keep files by default.
            experiment: Name that the runs of one recipe share.
            run: Name of the run.
            facts: What is told of the run once: hyperparameters.
            warn: Told of a tracker that fails.
        """
        self._names, self._folder, self._experiment, self._run, self._facts = [*names], folder, experiment, run, facts
        self._warn = warn
        self._open: dict[TrackerName, Tracker] = {}

    def log(self, row: Row) -> None:
        """The numbers of an epoch."""
        for name in [*self._names]:
            with self._going_on(name):
                if name not in self._open:
                    self._open[name] = self._opened(name, row)
                self._open[name].log(row)

    def close(self) -> None:
        """The session has ended, whatever the reason."""
        for name in [*self._names]:
            if name in self._open:
                with self._going_on(name):
                    self._open[name].close()

    @contextmanager
    def _going_on(self, name: TrackerName) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever a server, a network or a full disk makes it raise
            self._names.remove(name)
            self._warn(
                f"training.track: {name} is told no more in this session ({type(error).__name__}: {error}); the "
                "training goes on, and metrics.csv has all epochs"
            )

    def _opened(self, name: TrackerName, first: Row) -> Tracker:
        if name == "mlflow":
            return _MLflow(self._folder, self._experiment, self._run, self._facts)
        return _TensorBoard(self._folder / "tensorboard", int(first[_STEP]), self._facts)


class _TensorBoard:
    def __init__(self, folder: Path, first: int, facts: Mapping[str, str]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        fresh = not folder.exists()
        self._writer = SummaryWriter(str(folder), purge_step=first)  # what a killed session logged later is forgotten
        if fresh:
            lines = "\n".join(f"    {name}: {value}" for name, value in facts.items())
            self._writer.add_text("recipe", lines)

    def log(self, row: Row) -> None:
        for name, value in _curves(row).items():
            self._writer.add_scalar(name, value, int(row[_STEP]))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """Into the server or folder that MLFLOW_TRACKING_URI names, else a database `mlflow.db` in the run folder. Which
    run it is there is kept in the run folder, so that another training of the same recipe is another one."""

    def __init__(self, folder: Path, experiment: str, run: str, facts: Mapping[str, str]) -> None:
        import mlflow

        address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        self._client = mlflow.MlflowClient(tracking_uri=address)
        kept = folder / _MLFLOW_RUN
        if kept.is_file():
            self._run = kept.read_text(encoding="utf-8").strip()
            with suppress(mlflow.exceptions.MlflowException):  # of another server
                self._client.set_terminated(self._run, "RUNNING")
                return
        known = self._client.get_experiment_by_name(experiment)
        place = self._client.create_experiment(experiment) if known is None else known.experiment_id
        self._run = self._client.create_run(place, tags={"cristae_run": run}, run_name=run).info.run_id
        write_text(kept, self._run + "\n")
        for name, value in facts.items():
            self._client.log_param(self._run, name, value[:500])

    def log(self, row: Row) -> None:
        for name, value in _curves(row).items():
            self._client.log_metric(self._run, name, value, step=int(row[_STEP]))

    def close(self) -> None:
        self._client.set_terminated(self._run)


def _curves(row: Row) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name not in _OF_NO_CURVE and _is_known(value)}


def _is_known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
