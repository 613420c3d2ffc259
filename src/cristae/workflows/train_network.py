"""Train the network of a recipe, from cached patches to the scores of its best weights."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.allocator import peak_memory_bytes
from cristae.errors import RunError
from cristae.evaluation.criteria import scores_of_epoch
from cristae.evaluation.validation import better_application
from cristae.inference.device import choose_device
from cristae.inference.locality import Locality
from cristae.models.external import own_errors
from cristae.progress import Progress
from cristae.recipe.folder import RECIPE, read_epochs
from cristae.recipe.load import load_run_recipe
from cristae.recipe.network import weights_at_start
from cristae.recipe.postprocess import chosen_steps
from cristae.recipe.provenance import known_inputs, write_provenance
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import (
    Run,
    append_metrics,
    create_run,
    is_complete,
    read_metrics,
    save_weights,
    weights_name,
    write_summary,
)
from cristae.recipe.text import flat
from cristae.recipe.trained_model import load_weights
from cristae.training.cache_folder import Cache, open_cache
from cristae.training.epoch_end import Best, Counts
from cristae.training.feed import Worker
from cristae.training.fit import fit
from cristae.training.layout import put_channels_last
from cristae.training.moved import weights_moved
from cristae.training.nonfinite import FOLDER as NONFINITE
from cristae.training.processes import run_processes
from cristae.training.stopping import StopRules
from cristae.training.tracking import Tracking
from cristae.training.validation_config import Criterion
from cristae.workflows.prepare_training import (
    Prepared,
    make_network,
    prepare_network_training,
    start_network,
)
from cristae.workflows.training_data import TrainingData
from cristae.workflows.tune import add_tuned, tuned_facts
from cristae.workflows.validate_run import validate_run, write_page

if TYPE_CHECKING:
    import torch
    from torch import nn

_PROCESS = "cristae.workflows.training_process"


def train_network_run(
    recipe: Recipe,
    data: TrainingData,
    place: Path,
    *,
    resume: bool,
    progress: Progress,
    until_epoch: int | None = None,
) -> Run:
    """Make, or finish, the run of a recipe whose model is a network.

    Args:
        recipe: Checked and complete.
        data: Where to learn and where to validate.
        place: The run folder.
        resume: Take a folder that holds this run already.
        progress: Where to report.
        until_epoch: Leave it unfinished when so many epochs are done, counted from the first; None finishes it.

    Raises:
        CristaeError: The labels, the network or the folder cannot be used.
        KeyboardInterrupt: Ctrl-C.
    """
    network, locality = make_network(recipe, data.regions.classes, progress)  # raises before anything is written
    start = start_network(network, recipe, place, progress)
    fresh = not place.exists()
    before = load_run_recipe(place / RECIPE) if resume and (place / RECIPE).is_file() else None
    if before is not None:
        _check_length(place, before, recipe, progress)
    run = create_run(place, recipe, resume=resume)
    if is_complete(run, recipe.training.epochs) and _has_ended(run):
        progress.say(f"{run.path}: training had finished already")
        if chosen_steps(run) is None:
            add_tuned(run, progress)
        return write_page(run)
    if resume and not run.checkpoint_path.exists():
        progress.say(f"{run.path}: there is no checkpoint to resume from; the training begins with epoch 1")
    session = TrainingSession(recipe, run, data, network, locality, start, until_epoch or recipe.training.epochs)
    try:
        with own_errors(recipe.model, network), open_cache() as cache:
            finished = session.train(cache, progress)
    except Exception:
        # Nothing is lost before the first checkpoint, and what is repaired can be trained at the same place. Batches
        # that were saved, because they gave no finite loss, stay to be looked at.
        if fresh and not run.checkpoint_path.exists() and not (run.path / NONFINITE).exists():
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    return write_page(run) if finished else run


@dataclass(frozen=True, eq=False)
class TrainingSession:
    """One session of a training; each of its processes makes it alike."""

    recipe: Recipe
    run: Run
    data: TrainingData
    network: nn.Module
    locality: Locality
    start: Mapping[str, Any]
    """Facts about the weights it started from, for the summary."""
    until_epoch: int
    """The last epoch of this session."""

    @property
    def device(self) -> torch.device:
        """Where to train."""
        return choose_device(self.recipe.device)

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """What epochs are judged by; the first chooses the weights of the run."""
        return self.recipe.training.criteria

    def best_facts(self, kept: Mapping[Criterion, Best]) -> dict[str, Any]:
        """What the summary says of the weights that were kept."""
        first = kept[self.criteria[0]]
        weights = {name: weights_name(name, self.criteria) for name in kept}
        return {
            "best_epoch": first.epoch,
            "best_val_miou": first.val_miou,
            "validation": self.recipe.training.validation.model_dump(mode="json"),
            "criterion": self.criteria[0],
            "kept": {
                name: {"epoch": one.epoch, "value": one.value, "weights": weights[name]} for name, one in kept.items()
            },
        }

    def train(self, cache: Cache, progress: Progress) -> bool:
        """From the cached data to the summary of the run; False where there are epochs left to train."""
        began = time.monotonic()
        recipe, run, classes = self.recipe, self.run, self.data.regions.classes
        loop = self.prepare(cache, progress)
        if loop.inputs != known_inputs(run.path, default=loop.inputs):
            progress.warn(f"{run.path}: the training data has changed since this run began")
        resumed = run.checkpoint_path.is_file()
        before = weights_at_start(self.network, recipe, self.start, resumed=resumed)
        if recipe.training.devices > 1:
            arguments = [str(run.path.absolute()), str(self.until_epoch)]
            found = run_processes(_PROCESS, arguments, recipe.training.devices, progress)
        else:
            found = loop.run(progress)
        if found["paused"]:
            return False
        prepared, kept = loop.prepared, _kept(found["kept"])
        skipped = sum(int(row.get("skipped_updates") or 0) for row in read_metrics(run))
        if skipped:
            progress.warn(
                f"{run.path}: {skipped} updates were skipped, because their loss or gradient was not finite; "
                "metrics.csv counts them by epoch"
            )
        contents = [part.content for part in prepared.cached]
        facts = {
            "status": "complete",
            "epochs": recipe.training.epochs,
            **self.best_facts(kept),
            **({"stopped": found["stopped"]} if found["stopped"] else {}),
            **({"skipped_updates": skipped} if skipped else {}),
            "training_seconds": round(found["seconds"], 1),
            "last_session_seconds": round(time.monotonic() - began, 1),
            "peak_memory_bytes": found["peak_memory_bytes"],
            "device": str(self.device),
            "locality": self.locality.to_dict(),
            "data": [one.facts(classes, prepared.model.voxel_size_nm) for one in contents],
            **({"target_statistics": dict(prepared.target_statistics)} if prepared.target_statistics else {}),
            **self.start,
            **self.data.leak_facts,
        }
        put_channels_last(self.network)  # what `fit` does, also where other processes trained
        load_weights(self.network, run.weights_path)
        if before is not None:
            facts["moved"] = weights_moved(before, self.network)
        validation, application = better_application(recipe.predict, self.network, prepared.validation, progress)
        validate_run(run, self.network, validation, progress)
        write_provenance(run, device=str(self.device), inputs=loop.inputs)
        tuned = tuned_facts(recipe, self.network, validation, progress)
        write_summary(run, prepared.model, facts | ({"application": application} if application else {}) | tuned)
        return True

    def prepare(self, cache: Cache, progress: Progress) -> TrainingLoop:
        """Cache the training data and make all that the loop needs of it.

        Raises:
            CristaeError: A class is missing, an epoch has too few patches, or the cache cannot be written.
        """
        prepared = prepare_network_training(self.recipe, self.data, self.locality, cache, progress)
        assert prepared is not None, "only a part of the data can be too little"
        return TrainingLoop(self, prepared, self._tracking(progress))

    def _tracking(self, progress: Progress) -> Tracking:
        recipe, run = self.recipe, self.run
        return Tracking(
            recipe.training.track,
            run.path,
            experiment=recipe.name,
            run=run.id,
            facts=flat(recipe),
            warn=progress.warn,
        )


@dataclass(frozen=True, eq=False)
class TrainingLoop:
    """What the training loop of a session needs, and what it does after each epoch (a `TrainingCallback`)."""

    session: TrainingSession
    prepared: Prepared
    tracking: Tracking

    @property
    def inputs(self) -> dict[str, str]:
        """Hashes of the training regions, for provenance."""
        return {part.content.name: part.sha256 for part in self.prepared.cached}

    def run(self, progress: Progress) -> dict[str, Any]:
        """Train in this process; the best epoch, its score and what it took."""
        session = self.session
        step, feed, folder = self.prepared.step, self.prepared.feed, session.run.path
        with closing(self.tracking):
            result = fit(
                session.network,
                step,
                feed,
                callback=self,
                folder=folder,
                progress=progress,
                until_epoch=session.until_epoch,
            )
        return asdict(result) | {"peak_memory_bytes": peak_memory_bytes(session.device)}

    def validate(self, network: nn.Module, epoch: int, worker: Worker) -> Counts:
        """Counts of this process's part of the validation."""
        return self.prepared.epoch_validation.counts(network, epoch, worker)

    def score(self, counts: Counts) -> dict[str, float]:
        """All criteria, and the scores of each class."""
        return scores_of_epoch(counts, self.session.data.regions.classes)

    def save_best(self, network: nn.Module, criterion: Criterion, kept: Mapping[Criterion, Best]) -> None:
        """The best weights so far, and what is needed to predict with them before training has ended."""
        session = self.session
        save_weights(session.run.by(criterion), network)
        facts = {
            "status": "training",
            "epoch": kept[session.criteria[0]].epoch,
            **session.best_facts(kept),
            "locality": session.locality.to_dict(),
            "inputs": self.inputs,
            **session.start,
            **session.data.leak_facts,
        }
        write_summary(session.run, self.prepared.model, facts)

    def log_epoch(self, row: dict[str, float]) -> None:
        """A row of metrics.csv."""
        append_metrics(self.session.run, row)
        self.tracking.log(row)


def _kept(found: Mapping[Criterion, Mapping[str, Any]]) -> dict[Criterion, Best]:
    """The best epochs, as another process may have sent them."""
    return {name: Best(**one) for name, one in found.items()}


def _has_ended(run: Run) -> bool:
    """Whether a complete training was as long as it may be, or the rules that it has now end it where it ended."""
    rows, training = read_metrics(run), run.recipe.training
    if not rows or len(rows) >= training.epochs:
        return True
    rules = StopRules(training.early_stop_patience, training.give_up)
    miou = float(rows[-1].get("val_miou") or math.nan)
    return rules.why(len(rows), miou, int(run.summary.get("best_epoch") or 0)) is not None


def _check_length(place: Path, before: Recipe, now: Recipe, progress: Progress) -> None:
    """Make sure that a resumed training can still have the length it is given."""
    done, asked = len(read_epochs(place)), now.training.epochs
    if done > asked:
        raise RunError(
            f"{place}: {done} epochs are done already, training.epochs: {asked} is fewer; give {done} or more"
        )
    schedule = now.training.schedule
    if schedule.spans_training and before.training.epochs != asked:
        progress.warn(
            f"{place}: began with {before.training.epochs} epochs and continues to {asked}; the {schedule.name} "
            "schedule is stretched, so the weights differ from those of a training that was started with "
            f"{asked} epochs"
        )
