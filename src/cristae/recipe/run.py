"""The run folder: what training leaves behind and everything later starts from.

`recipe.yaml` (complete), `weights.safetensors` (best), `weights.<criterion>.safetensors` (best by a further criterion),
`last.ckpt` (for resuming), `metrics.csv` (a row per epoch), `summary.json`, `provenance.json`, and what scoring and
reporting add.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.classical.config import RandomForestConfig
from cristae.data.classes import Classes
from cristae.data.files import require_new, require_writable, write_bytes, write_json, write_text, write_together
from cristae.data.image import VoxelSize
from cristae.errors import OutputExistsError, RunError
from cristae.inference.locality import Locality
from cristae.preprocess.normalize import Normalizer
from cristae.problems import suggest
from cristae.recipe.anchor import anchored
from cristae.recipe.folder import (
    CHECKPOINT,
    METRICS,
    RECIPE,
    SUMMARY,
    WEIGHTS,
    is_run,
    read_epochs,
    read_summary,
    require_run,
)
from cristae.recipe.identity import require_same, run_id
from cristae.recipe.load import load_run_recipe
from cristae.recipe.recipe import Recipe
from cristae.recipe.text import recipe_to_yaml
from cristae.recipe.trained_model import TrainedModel, array_model, load_forest, load_weights
from cristae.training.validation_config import Criterion

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Run:
    """A run folder, as it was when each of its files was first asked for. Before training has finished, only `path`,
    `recipe` and `id` can be relied on."""

    path: Path
    recipe: Recipe
    id: str
    """The recipe's name and a short hash of its content; the same recipe about the same files gives the same id."""
    criterion: Criterion | None = None
    """By which the weights were chosen; None is the first of the recipe's `training.criteria`."""

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What `summary.json` holds, read once: best epoch and score, time, memory, and the facts of the model.

        Raises:
            RunError: There is none, or it is damaged.
        """
        return read_summary(self.path)

    @cached_property
    def model(self) -> TrainedModel:
        """What prediction must know about the trained network.

        Raises:
            RunError: The summary is missing or was changed by hand.
        """
        try:
            return TrainedModel.from_dict(self.summary.get("model") or {})
        except RunError as error:
            raise RunError(f"{self.path / SUMMARY}: the facts about the model are not usable: {error}") from None

    @cached_property
    def locality(self) -> Locality | None:
        """How far the network sees; None where the summary does not say.

        Raises:
            RunError: The summary is missing or was changed by hand.
        """
        stored = self.summary.get("locality")
        if stored is None or isinstance(self.recipe.model, RandomForestConfig):
            return None
        try:
            locality = Locality.from_dict(stored)
        except RunError as error:
            raise RunError(f"{self.path / SUMMARY}: {error}") from None
        config = self.recipe.network
        flat = 3 - config.ndim
        stride, margin = (1,) * flat + config.total_stride, (0,) * flat + config.margin
        if (locality.ndim, locality.stride, locality.margin) != (config.ndim, stride, margin):
            raise RunError(
                f"{self.path / SUMMARY}: locality: must have ndim {config.ndim}, stride {list(stride)} and margin "
                f"{list(margin)}"
            )
        return locality

    @property
    def classes(self) -> Classes:
        """The classes it was trained for."""
        return self.model.classes

    @property
    def normalizer(self) -> Normalizer:
        """How grey values become the network's input."""
        return self.model.normalizer

    @property
    def voxel_size_nm(self) -> VoxelSize | None:
        """(z, y, x) the network was trained at; None when the training volumes do not say."""
        return self.model.voxel_size_nm

    @property
    def weights_path(self) -> Path:
        """The best weights, by the run's criterion."""
        return self.path / weights_name(self.criterion, self.criteria)

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """What its epochs were judged by; of each the best weights are kept. A random forest has none."""
        return () if isinstance(self.recipe.model, RandomForestConfig) else self.recipe.training.criteria

    def by(self, criterion: Criterion | None) -> Run:
        """The same run with the weights that are best by one of its criteria."""
        return replace(self, criterion=criterion)

    @property
    def checkpoint_path(self) -> Path:
        """Where training left off."""
        return self.path / CHECKPOINT

    def build_network(self) -> nn.Module:
        """The trained network, on the CPU and in evaluation mode; a random forest stands in its place.

        Raises:
            RunError: The weights are missing, damaged, or belong to another network.
        """
        model = self.model
        if isinstance(self.recipe.model, RandomForestConfig):
            return array_model(load_forest(self.weights_path, self.recipe.model, model))
        slices = model.in_channels * self.recipe.network.in_slices
        channels = self.recipe.network_input.channels(slices)
        network = self.recipe.network.build(channels, model.classes.n_logits)
        load_weights(network, self.weights_path)
        return network.eval()


def create_run(path: str | Path, recipe: Recipe, *, resume: bool = False) -> Run:
    """Make a run folder and write the complete recipe into it.

    Args:
        path: The folder; it must not exist, be empty, or (with `resume`) hold an unfinished run of this recipe.
        recipe: What will be trained. Paths of its data are written as absolute ones.
        resume: Continue the run that is there; without one, start it.

    Raises:
        OutputExistsError: The folder holds something else, such as a recipe beside the data, or a run
            that is not to be resumed.
        RunError: The run there was made from another recipe.
    """
    path, recipe = Path(path), anchored(recipe)
    run = Run(path, recipe.read_from(path / RECIPE), run_id(recipe))
    require_place(path, resume=resume)
    if is_run(path):
        require_same(path, recipe)
        write_text(path / RECIPE, recipe_to_yaml(recipe))
        return run
    mark = json.dumps({"run": run.id, "status": "created"})
    write_together({path / SUMMARY: mark.encode(), path / RECIPE: recipe_to_yaml(recipe).encode()})
    return run


def require_place(path: Path, *, resume: bool = False) -> None:
    """Make sure that a run can be made, or resumed, in a folder.

    Raises:
        OutputExistsError: It holds something else, or a run that is not to be resumed.
        StorageError: There can be no folder at this place, or it may not be written.
    """
    if is_run(path):
        if not resume:
            raise OutputExistsError(
                f"{path}: holds a run already; continue it with --resume, or choose another folder with --out"
            )
        return
    if (path / RECIPE).exists():
        raise OutputExistsError(f"{path}: holds a {RECIPE} that is not of a run; choose another folder with --out")
    require_new(path, what="the run")
    require_writable(path)


def weights_name(criterion: Criterion | None, criteria: Sequence[Criterion]) -> str:
    """The file of the weights that are best by a criterion; those of the first of the recipe's criteria are the run's.

    Example:
        >>> weights_name("f1", ("miou", "f1"))
        'weights.f1.safetensors'
    """
    return WEIGHTS if criterion is None or criterion in criteria[:1] else f"weights.{criterion}.safetensors"


def open_run(path: str | Path) -> Run:
    """Open a run folder that holds a trained network.

    Args:
        path: The folder; `folder:criterion` takes the weights that were best by another of the recipe's
            `training.criteria`, such as `runs/mito:f1`.

    Raises:
        MissingFileError: There is no such folder.
        RunError: It is not a run, was changed by hand, its training has not got as far as weights, or it keeps none
            of that criterion.

    Example:
        run = cristae.open_run("runs/mito:f1")
    """
    folder, criterion = split_criterion(path)
    run = open_unfinished_run(folder)
    if criterion is not None:
        run = run.by(_known_criterion(run, criterion))
    path = run.path
    missing = [name for name in dict.fromkeys((WEIGHTS, run.weights_path.name, SUMMARY)) if not (path / name).is_file()]
    if missing:
        raise RunError(
            f"{path}: the run is not complete: {' and '.join(missing)} missing; finish it with "
            f"`cristae train {path / RECIPE} --out {path} --resume`"
        )
    _ = run.model, run.locality  # what was changed by hand is reported before any work
    return run


def split_criterion(path: str | Path) -> tuple[Path, str | None]:
    """`folder:criterion` in two. A path that exists is a folder, colon and all, and so is one whose part before the
    last colon is no run, such as a Windows drive's."""
    head, colon, tail = str(path).rpartition(":")
    if not colon or not head or set(tail) & {"/", "\\"} or Path(path).exists() or not is_run(Path(head)):
        return Path(path), None
    return Path(head), tail


def _known_criterion(run: Run, criterion: str) -> Criterion:
    for name in run.criteria:
        if name == criterion:
            undefined = run.summary.get("status") == "complete" and name not in run.summary.get("kept", {name: None})
            if undefined:
                raise RunError(
                    f"{run.path}: keeps no weights of the criterion '{name}', which was undefined after every epoch"
                )
            return name
    kept = ", ".join(f"{run.path}:{name}" for name in run.criteria) or "none, as random forests have no epochs"
    raise RunError(
        f"{run.path}: keeps no weights of the criterion '{criterion}'{suggest(criterion, list(run.criteria))}; those "
        f"it keeps: {kept}. Criteria are chosen "
        "before the training, under training.criteria of its recipe"
    )


def open_unfinished_run(path: str | Path) -> Run:
    """Open a run folder whose training need not have got as far as weights.

    Raises:
        MissingFileError: There is no such folder.
        RunError: It is not a run.
    """
    path = Path(path)
    require_run(path)
    recipe = load_run_recipe(path / RECIPE)
    return Run(path, recipe, run_id(recipe))


def is_complete(run: Run, epochs: int | None) -> bool:
    """Whether training has got to this many epochs (None: to its end) and its weights are there; a damaged summary
    says no."""
    try:
        summary = read_summary(run.path)
    except RunError:
        return False
    return (summary.get("status"), summary.get("epochs")) == ("complete", epochs) and run.weights_path.is_file()


def save_weights(run: Run, network: nn.Module) -> None:
    """Write the network's parameters and buffers in one step."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    write_bytes(run.weights_path, save(tensors, metadata={"format": "pt"}))


def weights_sha256(run: Run) -> str:
    """SHA-256 of a run's file of weights."""
    with run.weights_path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append_metrics(run: Run, row: Mapping[str, float | int]) -> None:
    """Add an epoch's row to `metrics.csv`; rows of this and later epochs, left by a killed training, go.

    Args:
        run: Where to.
        row: Column to value, `epoch` among them; the first row decides the columns and later ones may add some.
    """
    rows = [old for old in read_metrics(run) if int(old["epoch"]) < int(row["epoch"])]
    columns = list(dict.fromkeys(column for one in (*rows, row) for column in one))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows([*rows, {column: _cell(value) for column, value in row.items()}])
    write_text(run.path / METRICS, text.getvalue())


def read_metrics(run: Run) -> list[dict[str, str]]:
    """The rows of `metrics.csv` as text, oldest first; empty before the first epoch.

    Raises:
        RunError: It is damaged.
    """
    return read_epochs(run.path)


def write_summary(run: Run, model: TrainedModel, facts: Mapping[str, Any]) -> None:
    """Write `summary.json`: `facts` such as best epoch, seconds and memory, and the model's facts under 'model'."""
    write_json(run.path / SUMMARY, _finite({"run": run.id, **facts, "model": model.to_dict()}))
    for name in ("summary", "model", "locality"):  # what `run` has read before is out of date
        run.__dict__.pop(name, None)


def _cell(value: float | int) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)


def _finite(value: Any) -> Any:
    """NaN and infinities as None, which is what JSON can say."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
