"""Train a network from a recipe: the rooms below, joined."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cristae.data.box import Box
from cristae.data.open import open_data, resolve_data
from cristae.errors import NetworkError, RecipeError, RunError, VolumeError
from cristae.inference.device import choose_device
from cristae.inference.locality import Locality, measure_locality
from cristae.metrics.confusion import Confusion
from cristae.metrics.score import write_scores
from cristae.metrics.table import metric_named
from cristae.metrics.tally import Tally, class_values, mean_iou_of, pool, scores_of
from cristae.progress import Progress
from cristae.recipe.consistency import check_consistency, require_regions
from cristae.recipe.load import load_recipe
from cristae.recipe.provenance import write_provenance
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import (
    Run,
    TrainedModel,
    append_metrics,
    create_run,
    is_complete,
    load_weights,
    read_metrics,
    save_weights,
    write_summary,
)
from cristae.report.preview import write_preview
from cristae.training.feed import PatchFeed, Share
from cristae.training.fit import fit
from cristae.training.module import Lesson
from cristae.training.staging import StagedPart, stage
from cristae.workflows.cost import peak_memory_bytes
from cristae.workflows.regions import (
    Regions,
    fit_normalizers,
    prepare_regions,
    region_facts,
    require_classes,
    require_judgement,
)
from cristae.workflows.report import report
from cristae.workflows.validation import Judged, Validation

CACHE, PAGE = "cache", "report.html"
_MAX_PREVIEWS = 12


def train(
    recipe: Recipe, *, out: str | Path | None = None, resume: bool = False, progress: Progress = Progress()
) -> Run:
    """Train the network of a recipe.

    Args:
        recipe: What to learn from what, as `load_recipe` gives it.
        out: The run folder; None takes `runs/<name of the recipe>`.
        resume: Go on with a run that was interrupted; it ends with the weights of an undisturbed one.
        progress: Where to show how far it is.

    Returns:
        The run: complete recipe, best weights, scores on the validation regions, page.

    Raises:
        CristaeError: The recipe, its data or the output folder cannot be used; nothing was overwritten.
        KeyboardInterrupt: Ctrl-C; `resume=True` goes on after the last finished epoch.

    Example:
        run = cristae.train(cristae.load_recipe("mito.yaml"))
    """
    recipe = _complete(recipe)
    check_consistency(recipe)
    require_regions(recipe)
    follower = _is_follower()
    progress = Progress() if follower else progress
    dataset = open_data(recipe.data, recipe.folder)
    regions = prepare_regions(recipe, dataset)
    require_judgement(regions, progress)
    for warning in dataset.warnings:
        progress.warn(warning)
    device = choose_device(recipe.device)
    network, locality = _build_network(recipe, regions)
    place = Path(out or Path("runs") / recipe.name)
    fresh = not place.exists()
    before = load_recipe(place / "recipe.yaml") if resume and (place / "recipe.yaml").is_file() else None
    run = create_run(place, recipe, resume=resume or follower)
    if is_complete(run, recipe.training.epochs):
        progress.say(f"{run.path}: training had finished already")
        _tidy(run)
        return run
    if before is not None:
        _check_length(run, before, recipe, progress)
    try:
        _Training(recipe, run, regions, network, locality, device, progress).run_all()
    except (RecipeError, VolumeError):
        # Data that turns out unusable while it is read: nothing is lost, and nothing half-made stays.
        if fresh and not run.checkpoint_path.exists():
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    if follower:  # the process that was started by hand goes on alone
        raise SystemExit(0)
    return run


@dataclass(frozen=True, eq=False)
class _Training:
    """One training from staging to the page."""

    recipe: Recipe
    run: Run
    regions: Regions
    network: nn.Module
    locality: Locality
    device: torch.device
    progress: Progress

    def run_all(self) -> None:
        """Everything after the checks."""
        began = time.monotonic()
        recipe, run, classes = self.recipe, self.run, self.regions.classes
        flat = recipe.model.ndim == 2
        staged = stage(self.regions.train, classes, run.path / CACHE, flat=flat, progress=self.progress)
        require_classes(staged, classes)
        normalizers, shared = fit_normalizers(recipe.normalize, self.regions)
        model = TrainedModel(1, classes, shared, self.regions.voxel_size_nm, tuple(recipe.sampling.size))
        validation = Validation(
            self.regions.validate, classes, normalizers, self.locality, recipe.predict.threshold, self.device
        )
        loss, l2 = recipe.loss.build(classes), recipe.loss.l2
        lesson = Lesson(loss, l2, recipe.augment, normalizers, recipe.training, recipe.seed, self.device)
        witness = _Witness(run, model, validation)
        best_epoch, best, seconds = fit(
            self.network, lesson, _feed(recipe, staged), witness=witness, folder=run.path, progress=self.progress
        )
        if _is_follower():
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
            "data": [region_facts(part, classes, self.regions.voxel_size_nm) for part in staged],
        }
        self._score(validation)
        inputs = {f"{part.volume} {Box.of_shape(part.shape).shift(part.origin)}": part.sha256 for part in staged}
        write_provenance(run, device=str(self.device), inputs=inputs)
        write_summary(run, model, facts)
        _tidy(run)

    def _score(self, validation: Validation) -> None:
        """Scores and pictures of the best weights."""
        for name in ("scores.csv", "scores.json", PAGE):
            (self.run.path / name).unlink(missing_ok=True)
        load_weights(self.network, self.run.weights_path)
        tallies = _judge_and_show(self.network, validation, self.run.path / "preview", self.progress)
        scores = scores_of(tallies, run=self.run.id, threshold=self.recipe.predict.threshold)
        write_scores(self.run.path / "scores.csv", scores)


class _Witness:
    """Validates, judges and keeps, on behalf of the training loop."""

    def __init__(self, run: Run, model: TrainedModel, validation: Validation) -> None:
        self._run, self._model, self._validation = run, model, validation

    def validate(self, network: nn.Module, share: Share) -> np.ndarray:
        """Counts (T, K, K) of this process's share of the validation slices."""
        classes = self._validation.classes
        tables = pool((tally.pooled for tally in self._validation.tallies(network, share)), classes)
        return np.stack([table.counts for table in tables])

    def judge(self, counts: np.ndarray) -> dict[str, float]:
        """Mean IoU and the IoU of each class."""
        classes = self._validation.classes
        tables = tuple(Confusion(table) for table in counts)
        by_class = class_values(tables, classes, metric_named("iou"))
        return {"val_miou": mean_iou_of(tables, classes).value} | {f"val_iou_{k}": v for k, v in by_class.items()}

    def keep(self, network: nn.Module, epoch: int) -> None:
        """Best weights so far, and what is needed to predict with them before the training has ended."""
        save_weights(self._run, network)
        facts = {"status": "training", "epoch": epoch, "locality": self._validation.locality.to_dict()}
        write_summary(self._run, self._model, facts)

    def record(self, row: dict[str, float]) -> None:
        """A row of metrics.csv."""
        append_metrics(self._run, row)


def _build_network(recipe: Recipe, regions: Regions) -> tuple[nn.Module, Locality]:
    """Fresh weights drawn from the recipe's seed, and how far the network sees."""
    torch.manual_seed(recipe.seed)
    try:
        network = recipe.model.build(1, regions.classes.n_logits)
    except RuntimeError as error:
        raise NetworkError(
            f"{recipe.source or recipe.name}: model: the network cannot be built, most likely because it is too large "
            f"for the memory ({str(error).splitlines()[0][:160]}); choose smaller widths"
        ) from None
    return network, measure_locality(network, ndim=recipe.model.ndim, stride=recipe.model.total_stride)


def _feed(recipe: Recipe, staged: Sequence[StagedPart]) -> PatchFeed:
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
        recipe.targets.weights,
        batch_size=config.batch_size,
        flat=recipe.model.ndim == 2,
        threads=config.reader_threads,
    )


def _complete(recipe: Recipe) -> Recipe:
    """The recipe with what its public set says filled in, so that the run folder tells everything."""
    data, _ = resolve_data(recipe.data, recipe.folder)
    complete = recipe.model_copy(update={"data": data})
    return complete if recipe.source is None else complete.read_from(recipe.source)


def _check_length(run: Run, before: Recipe, now: Recipe, progress: Progress) -> None:
    """Make sure that a continued training can still have the length it is given."""
    done, asked = len(read_metrics(run)), now.training.epochs
    if done > asked:
        raise RunError(f"{run.path}: {done} epochs are done already; training.epochs: {asked} cannot take any back")
    if now.training.schedule.name == "cosine" and before.training.epochs != asked:
        progress.warn(
            f"{run.path}: began with {before.training.epochs} epochs and goes on to {asked}; the cosine schedule is "
            "stretched, so the weights differ from those of a training that had this length from its start"
        )


def _is_follower() -> bool:
    """Whether this is one of the further processes of a training on several devices."""
    return int(os.environ.get("LOCAL_RANK", "0")) > 0


def _tidy(run: Run) -> None:
    """The last of a training: the page, and no staged data left behind; a kill may have come before."""
    if not (run.path / PAGE).exists():
        report(run.path)
    shutil.rmtree(run.path / CACHE, ignore_errors=True)


def _judge_and_show(network: nn.Module, validation: Validation, folder: Path, progress: Progress) -> list[Tally]:
    """Scores by slice; of all validation slices an evenly spread few are kept as pictures."""
    shutil.rmtree(folder, ignore_errors=True)
    tallies: dict[str, Tally] = {}
    total = len(list(validation.slabs()))
    keep = set(np.linspace(0, total - 1, min(_MAX_PREVIEWS, total)).round().astype(int).tolist())
    with progress.task("Scoring the validation slices", total, unit="slabs") as task:
        for number, slab in enumerate(validation.judged(network)):
            name = slab.part.volume.name
            slab.count_into(tallies.setdefault(name, Tally(name, validation.classes)))
            if number in keep:
                _keep_picture(slab, validation, folder)
            task.advance()
    return list(tallies.values())


def _keep_picture(slab: Judged, validation: Validation, folder: Path) -> None:
    """The first slice of a slab."""
    volume, box, exclusive = slab.part.volume, slab.box, validation.classes.exclusive
    first = Box(box.start, (box.start[0] + 1, box.stop[1], box.stop[2]))
    write_preview(
        folder,
        volume=volume.name,
        z=box.start[0],
        image=volume.image.read(first)[0],
        truth=slab.truth[0, 0] if exclusive else slab.truth[:, 0],
        valid=None if slab.valid is None else slab.valid[0],
        prediction=slab.prediction[0, 0] if exclusive else slab.prediction[:, 0],
        classes=validation.classes,
        voxel_size_nm=volume.voxel_size_nm,
    )
