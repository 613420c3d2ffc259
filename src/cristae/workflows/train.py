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
from cristae.data.classes import Classes
from cristae.data.image import VoxelSize
from cristae.data.open import Dataset, Part, open_data, resolve_data
from cristae.errors import LabelError, RecipeError, RunError, VoxelSizeError
from cristae.inference.device import choose_device
from cristae.inference.locality import Locality, measure_locality
from cristae.metrics.confusion import Confusion
from cristae.metrics.score import write_scores
from cristae.metrics.table import metric_named
from cristae.metrics.tally import Tally, class_values, mean_iou_of, pool, scores_of
from cristae.preprocess.histogram import Histogram, histogram_of
from cristae.preprocess.normalize import NormalizeConfig, Normalizer
from cristae.preprocess.normalize import fit as fit_normalizer
from cristae.progress import Progress
from cristae.recipe.provenance import write_provenance
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, TrainedModel, append_metrics, create_run, load_weights, save_weights, write_summary
from cristae.report.preview import write_preview
from cristae.training.feed import PatchFeed, Share
from cristae.training.fit import fit
from cristae.training.module import Lesson
from cristae.training.staging import StagedPart, on_working_grid, stage
from cristae.workflows.cost import peak_memory_bytes
from cristae.workflows.validation import Judged, Validation

CACHE = "cache"
_MAX_HISTOGRAM_VOXELS = 200_000_000
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
    _check(recipe)
    follower = _is_follower()
    progress = Progress() if follower else progress
    dataset = open_data(recipe.data, recipe.folder)
    data = _prepare(recipe, dataset)
    for warning in dataset.warnings:
        progress.warn(warning)
    run = create_run(out or Path("runs") / recipe.name, recipe, resume=resume or follower)
    if run.path.joinpath("summary.json").exists() and _is_finished(run, recipe):
        progress.say(f"{run.path}: training had finished already")
        return run
    _Training(recipe, run, data, progress).run_all()
    if follower:  # the process that was started by hand goes on alone
        raise SystemExit(0)
    return run


@dataclass(frozen=True)
class _Data:
    """Training and validation regions on the working grid."""

    dataset: Dataset
    train: tuple[Part, ...]
    validate: tuple[Part, ...]
    voxel_size_nm: VoxelSize | None


@dataclass(frozen=True, eq=False)
class _Training:
    """One training from staging to the page."""

    recipe: Recipe
    run: Run
    data: _Data
    progress: Progress

    def run_all(self) -> None:
        """Everything after the checks."""
        began = time.monotonic()
        recipe, run = self.recipe, self.run
        flat = recipe.model.ndim == 2
        classes = self.data.dataset.classes
        staged = stage(self.data.train, classes, run.path / CACHE, flat=flat, progress=self.progress)
        _require_classes(staged, classes.names if classes.exclusive else ("background", *classes.names))
        normalizers, shared = _normalizers(recipe.normalize, (*self.data.train, *self.data.validate), self.data.train)
        torch.manual_seed(recipe.seed)
        network = recipe.model.build(1, classes.n_logits)
        locality = measure_locality(network, ndim=recipe.model.ndim, stride=recipe.model.size_multiple)
        device = choose_device(recipe.training.device)
        model = TrainedModel(1, classes, shared, self.data.voxel_size_nm, tuple(recipe.sampling.size))
        validation = Validation(self.data.validate, classes, normalizers, locality, recipe.predict.threshold, device)
        feed = PatchFeed(
            recipe.sampling.plan([part.sample_part() for part in staged], recipe.seed),
            staged,
            recipe.targets.weights,
            batch_size=recipe.training.batch_size,
            flat=flat,
            threads=recipe.training.reader_threads,
        )
        lesson = Lesson(
            recipe.loss.build(classes), recipe.loss.l2, recipe.augment, normalizers, recipe.training, recipe.seed
        )
        witness = _Witness(run, model, validation, locality)
        best_epoch, best, seconds = fit(network, lesson, feed, witness=witness, folder=run.path, progress=self.progress)
        inputs = {f"{part.volume} {Box.of_shape(part.shape).shift(part.origin)}": part.sha256 for part in staged}
        facts = {
            "status": "complete",
            "epochs": recipe.training.epochs,
            "best_epoch": best_epoch,
            "best_val_miou": best,
            "training_seconds": round(seconds, 1),
            "last_sitting_seconds": round(time.monotonic() - began, 1),
            "peak_memory_bytes": peak_memory_bytes(device),
            "device": str(device),
            "locality": locality.to_dict(),
            "data": [_facts_of(part, classes, self.data.voxel_size_nm) for part in staged],
        }
        if not _is_follower():
            self._finish(network, validation, model, facts, inputs)

    def _finish(
        self,
        network: nn.Module,
        validation: Validation,
        model: TrainedModel,
        facts: dict[str, object],
        inputs: dict[str, str],
    ) -> None:
        """Score the best weights, keep pictures and facts, write the page, drop the staged copy of the data."""
        from cristae.workflows.report import report

        load_weights(network, self.run.weights_path)
        tallies = _judge_and_show(network, validation, self.run.path / "preview", self.progress)
        scores = scores_of(tallies, run=self.run.id, threshold=self.recipe.predict.threshold)
        for name in ("scores.csv", "scores.json"):
            (self.run.path / name).unlink(missing_ok=True)
        write_scores(self.run.path / "scores.csv", scores)
        write_provenance(self.run, device=str(facts["device"]), inputs=inputs)
        write_summary(self.run, model, facts)
        report(self.run.path)
        shutil.rmtree(self.run.path / CACHE, ignore_errors=True)


class _Witness:
    """Validates, judges and keeps, on behalf of the training loop."""

    def __init__(self, run: Run, model: TrainedModel, validation: Validation, locality: Locality) -> None:
        self._run, self._model, self._validation, self._locality = run, model, validation, locality

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

    def keep(self, network: nn.Module) -> None:
        """Best weights so far, and what is needed to predict with them before the training has ended."""
        save_weights(self._run, network)
        write_summary(self._run, self._model, {"status": "training", "locality": self._locality.to_dict()})

    def record(self, row: dict[str, float]) -> None:
        """A row of metrics.csv."""
        append_metrics(self._run, row)


def _complete(recipe: Recipe) -> Recipe:
    """The recipe with what its public set says filled in, so that the run folder tells everything."""
    data, _ = resolve_data(recipe.data, recipe.folder)
    complete = recipe.model_copy(update={"data": data})
    return complete if recipe.source is None else complete.read_from(recipe.source)


def _check(recipe: Recipe) -> None:
    """What can be refused before anything is read or written."""
    where = recipe.source or recipe.name
    size, ndim = recipe.sampling.size, recipe.model.ndim
    if len(size) != ndim:
        raise RecipeError(
            f"{where}: sampling.size: {list(size)} has {len(size)} axes, but {recipe.model.name} takes {ndim}"
        )
    if recipe.training.batch_size % recipe.training.devices:
        raise RecipeError(
            f"{where}: training.batch_size: {recipe.training.batch_size} is not a multiple of the "
            f"{recipe.training.devices} devices that share it"
        )
    for augmentation in recipe.augment:
        augmentation.check(size)
    for name in ("train", "validate"):
        if not (recipe.data.train if name == "train" else recipe.data.validate_):
            raise RecipeError(
                f"{where}: data.{name}: is empty; name the regions, for instance\n"
                f"  {name}:\n    - {{volume: NAME, slices: 0:10}}"
            )


def _prepare(recipe: Recipe, dataset: Dataset) -> _Data:
    """Regions on the working grid, after checking that they have labels and one voxel size."""
    for part in (*dataset.train, *dataset.validate):
        if not part.volume.labels:
            raise LabelError(
                f"volume '{part.volume.name}' is used for training or validation but has no labels; "
                "add labels to it under data.volumes"
            )
    flat = recipe.model.ndim == 2
    size = _voxel_size(recipe, dataset, flat=flat)
    working = recipe.data.voxel_size_nm
    return _Data(
        dataset,
        tuple(on_working_grid(part, working, flat=flat) for part in dataset.train),
        tuple(on_working_grid(part, working, flat=flat) for part in dataset.validate),
        size,
    )


def _voxel_size(recipe: Recipe, dataset: Dataset, *, flat: bool) -> VoxelSize | None:
    """The voxel size the network learns at: the working one, or the one that all volumes share."""
    volumes = {part.volume.name: part.volume.voxel_size_nm for part in (*dataset.train, *dataset.validate)}
    known = {name: size for name, size in volumes.items() if size is not None}
    unknown = [name for name in volumes if name not in known]
    if not known and recipe.data.voxel_size_nm is None:
        return None
    if unknown:
        raise VoxelSizeError(
            f"the voxel size of {', '.join(unknown[:5])} is not known while others are, or a working one is set; "
            "give voxel_size_nm (z, y, x) under data.volumes"
        )
    if recipe.data.voxel_size_nm is not None:
        return recipe.data.voxel_size_nm
    (first_name, first), *others = known.items()
    for name, size in others:
        if any(abs(a - b) > 0.01 * a for a, b in list(zip(first, size, strict=True))[1 if flat else 0 :]):
            raise VoxelSizeError(
                f"volumes have different voxel sizes: {first_name} {first} nm, {name} {size} nm; "
                "set data.voxel_size_nm to the size (z, y, x) that all are resampled to"
            )
    return first


def _facts_of(part: StagedPart, classes: Classes, voxel_size_nm: VoxelSize | None) -> dict[str, object]:
    """What the page shows of a training region, as it was read."""
    names = classes.names if classes.exclusive else ("none", *classes.names)
    shares = part.class_counts / max(1, int(part.class_counts.sum()))
    return {
        "use": "train",
        "volume": part.volume,
        "box": str(Box.of_shape(part.shape).shift(part.origin)),
        "shape": list(part.shape),
        "voxel_size_nm": voxel_size_nm,
        "class_shares": dict(zip(names, shares.tolist(), strict=True)),
    }


def _require_classes(staged: Sequence[StagedPart], names: Sequence[str]) -> None:
    counts = np.sum([part.class_counts for part in staged], axis=0)
    missing = [name for name, count in zip(names, counts, strict=True) if count == 0 and name != "background"]
    if missing or counts.sum() == 0:
        raise LabelError(
            f"no voxel of {', '.join(missing) or 'any class'} in the training regions: a network cannot learn it; "
            "add regions that have it under data.train, or take the class out of data.classes"
        )


def _normalizers(
    config: NormalizeConfig, parts: Sequence[Part], training: Sequence[Part]
) -> tuple[dict[str, Normalizer], Normalizer]:
    """The mapping of each volume, and that of all training data together."""
    limit = _MAX_HISTOGRAM_VOXELS // max(len(training), 1)
    boxes = [histogram_of(part.volume.image, part.box, max_voxels=limit) for part in training]
    total: Histogram = boxes[0]
    for histogram in boxes[1:]:
        total += histogram
    shared = fit_normalizer(config, total)
    names = {part.volume.name: part.volume for part in parts}
    if config.scope == "training":
        return dict.fromkeys(names, shared), shared
    own = {name: fit_normalizer(config, histogram_of(volume.image, max_voxels=limit)) for name, volume in names.items()}
    return own, shared


def _is_follower() -> bool:
    """Whether this is one of the further processes of a training on several devices."""
    return int(os.environ.get("LOCAL_RANK", "0")) > 0


def _is_finished(run: Run, recipe: Recipe) -> bool:
    try:
        return run.summary.get("status") == "complete" and run.summary.get("epochs") == recipe.training.epochs
    except RunError:
        return False


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
