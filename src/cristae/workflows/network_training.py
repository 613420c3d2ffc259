"""Training a network, from staged patches to the scores of its best weights."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from cristae.augment import required_margin
from cristae.data.box import Box
from cristae.errors import NetworkError, RecipeError
from cristae.evaluation.validation import Validation, better_application, plan_validation
from cristae.inference.application import choose_application
from cristae.inference.locality import Locality, measure_locality
from cristae.losses import with_auxiliary_outputs
from cristae.metrics.confusion import Confusion
from cristae.metrics.table import metric_named
from cristae.metrics.tally import class_values, mean_iou_of
from cristae.models.external import prove_own
from cristae.progress import Progress
from cristae.recipe.provenance import write_provenance
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, TrainedModel, append_metrics, load_weights, save_weights, write_summary
from cristae.sampling import as_triple
from cristae.training.feed import PatchFeed, Worker
from cristae.training.fit import fit
from cristae.training.framing import Framing
from cristae.training.module import StepConfig
from cristae.training.staging import StagedPart, stage
from cristae.workflows.cost import peak_memory_bytes
from cristae.workflows.judge import judge_run
from cristae.workflows.regions import Regions, fit_normalizers, region_facts, require_classes

CACHE = "cache"


def is_follower() -> bool:
    """Whether this is one of the further processes of a training on several devices."""
    return int(os.environ.get("LOCAL_RANK", "0")) > 0


@dataclass(frozen=True, eq=False)
class NetworkTraining:
    """One training from staging to the page."""

    recipe: Recipe
    run: Run
    regions: Regions
    network: nn.Module
    locality: Locality
    start: dict[str, Any] | None
    """Which weights it started from, for the summary; None for random ones."""
    device: torch.device
    progress: Progress

    def run_all(self) -> None:
        """Everything after the checks."""
        began = time.monotonic()
        recipe, run, classes = self.recipe, self.run, self.regions.classes
        assert recipe.sampling.size
        size, framing = recipe.sampling.size, Framing.of(recipe.network)
        cache = run.path / CACHE
        margin = required_margin(recipe.augment, recipe.network.input_size(size))
        seen = framing.grown(margin)
        staged = stage(self.regions.train, classes, cache, seen, size=as_triple(size), progress=self.progress)
        require_classes(staged, classes)
        normalizers, shared = fit_normalizers(recipe.normalize, self.regions)
        model = TrainedModel(1, classes, shared, self.regions.voxel_size_nm, size)
        validation = plan_validation(
            recipe, self.regions.validate, classes, normalizers, self.locality, size, self.device
        )
        loss = with_auxiliary_outputs(
            recipe.loss.build(classes), recipe.network.auxiliary_weights, recipe.loss.auxiliary_weights
        )
        penalty = recipe.loss.penalty
        statistics = recipe.targets.prepare(staged)
        targets = partial(recipe.targets, statistics=statistics)
        step = StepConfig(
            loss, penalty, recipe.augment, targets, normalizers, recipe.training, recipe.seed, self.device
        )
        began_with = {} if self.start is None else {"start_from": self.start}
        witness = _Witness(run, model, validation, began_with)
        feed = _feed(recipe, staged, framing, margin)
        best_epoch, best, seconds = fit(
            self.network, step, feed, witness=witness, folder=run.path, progress=self.progress
        )
        if is_follower():
            return
        facts = {
            "status": "complete",
            "epochs": recipe.training.epochs,
            "best_epoch": best_epoch,
            "best_val_miou": best,
            "training_seconds": round(seconds, 1),
            "last_sitting_seconds": round(time.monotonic() - began, 1),
            "peak_memory_bytes": peak_memory_bytes(self.device),
            "device": str(self.device),
            "locality": self.locality.to_dict(),
            "data": [
                region_facts(part.volume, _box_of(part), part.class_counts, classes, self.regions.voxel_size_nm)
                for part in staged
            ],
            **({"target_statistics": dict(statistics)} if statistics else {}),
            **began_with,
        }
        load_weights(self.network, run.weights_path)
        validation, application = better_application(recipe.predict, self.network, validation, self.progress)
        judge_run(run, self.network, validation, self.progress)
        inputs = {f"{part.volume} {_box_of(part)}": part.sha256 for part in staged}
        write_provenance(run, device=str(self.device), inputs=inputs)
        write_summary(run, model, facts | ({"application": application} if application else {}))


class _Witness:
    """Validates, judges and keeps, on behalf of the training loop."""

    def __init__(self, run: Run, model: TrainedModel, validation: Validation, facts: dict[str, Any]) -> None:
        self._run, self._model, self._validation, self._facts = run, model, validation, facts

    def validate(self, network: nn.Module, worker: Worker) -> np.ndarray:
        """Counts (T, K, K) of this process's part of the validation regions."""
        return np.stack([table.counts for table in self._validation.counts(network, worker)])

    def judge(self, counts: np.ndarray) -> dict[str, float]:
        """Mean IoU and the IoU of each class."""
        classes = self._validation.classes
        tables = tuple(Confusion(table) for table in counts)
        by_class = class_values(tables, classes, metric_named("Jaccard"))
        return {"val_miou": mean_iou_of(tables, classes).value} | {f"val_iou_{k}": v for k, v in by_class.items()}

    def keep(self, network: nn.Module, epoch: int) -> None:
        """Best weights so far, and what is needed to predict with them before the training has ended."""
        save_weights(self._run, network)
        facts = {"status": "training", "epoch": epoch, "locality": self._validation.locality.to_dict()}
        facts |= self._facts
        write_summary(self._run, self._model, facts)

    def record(self, row: dict[str, float]) -> None:
        """A row of metrics.csv."""
        append_metrics(self._run, row)


def build_network(recipe: Recipe, regions: Regions) -> tuple[nn.Module, Locality]:
    """Fresh weights drawn from the recipe's seed, and how far the network sees."""
    channels = recipe.network.in_slices
    prove_own(recipe.model, in_channels=channels, out_channels=regions.classes.n_logits)
    torch.manual_seed(recipe.seed)
    try:
        network = recipe.network.build(channels, regions.classes.n_logits)
    except RuntimeError as error:
        raise NetworkError(
            f"{recipe.source or recipe.name}: model: the network cannot be built, most likely because it is too large "
            f"for the memory ({str(error).splitlines()[0][:160]}); choose smaller widths"
        ) from None
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise NetworkError(f"{recipe.source or recipe.name}: model: the network has no parameters to train")
    locality = measure_locality(network, recipe.network, in_channels=channels)
    choose_application(recipe.predict, recipe.network, locality)  # what cannot be is told before any work
    return network, locality


def _box_of(part: StagedPart) -> Box:
    return Box.of_shape(part.shape).shift(part.origin)


def _feed(recipe: Recipe, staged: Sequence[StagedPart], framing: Framing, margin: Sequence[int]) -> PatchFeed:
    plan = recipe.sampling.plan([part.sample_part() for part in staged], recipe.seed)
    config = recipe.training
    if len(plan) < config.batch_size:
        raise RecipeError(
            f"{recipe.source or recipe.name}: an epoch has only {len(plan)} patches, fewer than training.batch_size: "
            f"{config.batch_size}; lower it, or make sampling give more patches"
        )
    return PatchFeed(
        plan,
        staged,
        framing,
        batch_size=config.batch_size,
        margin=margin,
        threads=config.reader_threads,
    )
