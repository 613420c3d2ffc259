"""Everything that a training does before its first step. `recipe check` does the same, with a part of large data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.augment import required_margin
from cristae.classical.config import RandomForestConfig
from cristae.data.classes import Classes
from cristae.errors import RecipeError, RunError
from cristae.evaluation.epoch_validation import EpochValidation
from cristae.evaluation.validation import Validation, plan_validation
from cristae.inference.application import choose_application, windows_of
from cristae.inference.device import choose_device, require_devices, warn_of_slow_bf16
from cristae.inference.locality import Locality
from cristae.losses import with_auxiliary_outputs
from cristae.postprocessing import SplitStep
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.recipe.folder import CHECKPOINT, read_summary
from cristae.recipe.network import build_network, start_from, starting_weights
from cristae.recipe.recipe import Recipe
from cristae.recipe.trained_model import TrainedModel
from cristae.training.cache import require_weights
from cristae.training.cache_folder import Cache
from cristae.training.cached_part import CachedPart
from cristae.training.compilation import require_compiler
from cristae.training.feed import PatchFeed
from cristae.training.filtered_channels import require_filterable_slices
from cristae.training.framing import Framing
from cristae.training.module import StepConfig
from cristae.training.parameter_groups import group_parameters
from cristae.training.patch_reach import require_one_mirror, warn_about_reach
from cristae.training.preparation import ComputeTargets
from cristae.training.regions import Regions, require_classes
from cristae.training.tracking import require_trackers
from cristae.training.weight_field import with_weight_fields
from cristae.workflows.prepare_validation import prepare_validation
from cristae.workflows.training_data import TrainingData

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the training loop needs besides the network."""

    cached: tuple[CachedPart, ...]
    feed: PatchFeed
    step: StepConfig
    model: TrainedModel
    validation: Validation
    """As the run will predict."""
    epoch_validation: EpochValidation
    """After each epoch."""
    target_statistics: Mapping[str, Any]
    """What the targets were prepared with, for the summary."""


def make_network(
    recipe: Recipe, classes: Classes, progress: Progress = Progress(), *, weights: bool = True
) -> tuple[nn.Module, Locality]:
    """The network of a recipe with random weights for these classes, or only its shapes, and for devices that are
    there. Says where it cannot be predicted exactly.

    Raises:
        RunError: A device or a compiler is missing, or the network cannot be applied as the recipe wants it.
        NetworkError: It cannot be built.
        RecipeError: It lacks parameters that the recipe names.
    """
    with recipe.telling_where():
        device = choose_device(recipe.device)
        require_devices(device, recipe.training.devices)
        if recipe.training.precision == "bf16":
            warn_of_slow_bf16(device, "training.precision", progress)
        require_trackers(recipe.training.track)
        network, locality = build_network(recipe, classes.n_logits, weights=weights)
        group_parameters(network, recipe.training.groups)
        if recipe.training.compile:
            require_compiler(device)
    if not locality.local:
        rule = choose_application(recipe.predict, recipe.network, locality)
        windows = windows_of(rule, recipe.sampling.size or (), locality)
        assert windows is not None, "what is not local cannot be applied exactly"
        size = " x ".join(map(str, windows.size[3 - recipe.network.ndim :]))
        progress.say(
            f"Predictions will be made in windows of {size} voxels, joined by the rule '{rule}', not exactly: "
            f"{locality.reason}"
        )
    return network, locality


def start_network(network: nn.Module, recipe: Recipe, place: Path | None, progress: Progress) -> Mapping[str, Any]:
    """Fill a network with the weights that its recipe names, unless a checkpoint in `place` has better ones already.

    Returns:
        What the summary keeps of it: nothing, or the facts under 'start_from'.

    Raises:
        CristaeError: The weights are missing, damaged, or of another network.
    """
    if recipe.training.start_from is None:
        return {}
    if place is None or not (place / CHECKPOINT).is_file():
        return {"start_from": start_from(network, starting_weights(recipe), progress)}
    with suppress(RunError):  # damage is reported elsewhere, and costs nothing but this entry
        summary = read_summary(place)
        return {"start_from": summary["start_from"]} if summary.get("start_from") else {}
    return {}


def prepare_network_training(
    recipe: Recipe,
    data: TrainingData,
    locality: Locality,
    cache: Cache,
    progress: Progress,
    *,
    whole_slices: bool = True,
) -> Prepared | None:
    """Cache the training data and make all that the loop needs of it; None where a part of the data does not suffice.

    Args:
        recipe: Checked and complete.
        data: Where to learn and where to validate.
        locality: How the network is applied.
        cache: Keeps the training data.
        progress: Where to report.
        whole_slices: Compute what is made of whole slices, weights and filtered copies, which takes long and fails for
            no data that can be read.

    Raises:
        CristaeError: A class is missing, an epoch has too few patches, the grey values cannot be normalised, or the
            cache cannot be written.
    """
    regions, size = data.regions, recipe.sampling.size
    assert size
    affinities, classes = regions.affinities, regions.classes
    require_measurable(recipe, regions)
    framing = Framing.of(recipe.network, affinities).reaching(recipe.normalize.reach)
    seen = recipe.network.input_size(size)
    framed = [side + 2 * around for side, around in zip(size, framing.frame[-len(size) :], strict=True)]
    margin = required_margin(recipe.augment, seen, recipe.augment_interpolation, target_size=framed)
    with recipe.telling_where():
        require_one_mirror(regions.train, size, seen, margin)
        require_filterable_slices((*regions.train, *regions.validate), recipe.network_input.areas_px)
    warn_about_reach(regions.train, size, seen, margin, progress)
    cached = data.cached(regions.train, framing.grown(margin), cache, recipe, progress, filtering=whole_slices)
    with data.judging(progress):
        require_classes([part.class_counts for part in cached], classes, affinities)
        require_weights(cached)
    normal = data.fit_normalizers(recipe, progress)
    if normal is None:
        return None
    normalizers, shared = normal
    statistics, field = recipe.targets.prepare(cached), recipe.targets.field(classes) if whole_slices else None
    if field is not None:
        cached, statistics = with_weight_fields(cached, field, statistics, cache, progress)
    with recipe.telling_where():
        targets = recipe.targets.bind(statistics, classes, regions.voxel_size_nm)
    step = _step(recipe, regions, targets, normalizers)
    validation = plan_validation(recipe, regions.validate, classes, normalizers, locality, size, step.device)

    def held_out(framing: Framing) -> tuple[CachedPart, ...]:
        parts = data.cached(regions.validate, framing, cache, recipe, progress, partners=True, filtering=whole_slices)
        return parts if field is None else with_weight_fields(parts, field, statistics, cache, progress)[0]

    with data.judging(progress):
        feed = _feed(recipe, cached, framing, margin)
        each_epoch = prepare_validation(recipe, step, validation, margin, held_out)
        model = TrainedModel(1, classes, shared, regions.voxel_size_nm, size)
        return Prepared(cached, feed, step, model, validation, each_epoch, statistics)
    return None


def _step(
    recipe: Recipe, regions: Regions, targets: ComputeTargets, normalizers: Mapping[str, Normalizer]
) -> StepConfig:
    weights = recipe.network.auxiliary_weights, recipe.loss.auxiliary_weights
    return StepConfig(
        with_auxiliary_outputs(recipe.loss.build(regions.classes), *weights),
        recipe.loss.penalty,
        recipe.augment,
        targets,
        normalizers,
        recipe.training,
        recipe.seed,
        choose_device(recipe.device),
        recipe.augment_interpolation,
        regions.affinities,
        recipe.network_input,
    )


def prepare_forest_training(
    recipe: Recipe, data: TrainingData, progress: Progress
) -> tuple[dict[str, Normalizer], Normalizer] | None:
    """What a forest needs before it learns; None where a part of the data does not suffice.

    Raises:
        CristaeError: A class is missing, 3D filters lack a voxel size, or the grey values cannot be normalised.
    """
    from cristae.classical.fit import require_labelled, require_voxel_size

    assert isinstance(recipe.model, RandomForestConfig)
    regions = data.regions
    require_voxel_size(recipe.model, regions.train)
    require_measurable(recipe, regions)
    with data.judging(progress):
        require_labelled(regions.train, regions.classes, ndim=recipe.model.ndim)
    return data.fit_normalizers(recipe, progress)


def require_measurable(recipe: Recipe, regions: Regions, *, fixed: bool = False) -> None:
    """Refuse steps that measure in nm where regions without a voxel size are validated after the post-processing.

    Args:
        recipe: What is learned.
        regions: Where to validate.
        fixed: Whether this is done even where the steps are fixed, not only to choose a value.

    Raises:
        RecipeError: There is such a step, and a region without a voxel size.
    """
    steps = recipe.predict.postprocess
    unknown = [part.volume.name for part in regions.validate if part.volume.voxel_size_nm is None]
    if not unknown or not (fixed or any(step.is_open for step in steps)):
        return
    for place, step in enumerate(steps):
        if step.needs_voxel_size() and not isinstance(step, SplitStep):
            what = f"predict.postprocess.{place}: '{step.name}' measures in nm, but the voxel size of '{unknown[0]}' is"
            cure = f"give data.volumes.{unknown[0]}.voxel_size_nm, or sizes in voxels"
            raise RecipeError(recipe.problem(f"{what} not known; {cure}"))


def _feed(recipe: Recipe, cached: Sequence[CachedPart], framing: Framing, margin: Sequence[int]) -> PatchFeed:
    with recipe.telling_where():
        plan = recipe.sampling.plan([part.sample_part() for part in cached], recipe.seed)
    config = recipe.training
    if len(plan) < config.batch_size * config.accumulate:
        times = f" times training.accumulate: {config.accumulate}" if config.accumulate > 1 else ""
        raise RecipeError(
            f"{recipe.place(('training', 'batch_size'))}: an epoch has only {len(plan)} patches, fewer than "
            f"training.batch_size: {config.batch_size}{times}; lower it, or make sampling give more patches"
        )
    feed = PatchFeed(
        plan,
        cached,
        framing,
        batch_size=config.batch_size,
        accumulate=config.accumulate,
        margin=margin,
        threads=config.reader_threads,
    )
    problem = config.rates(feed.updates).problem(feed.updates)
    if problem is not None:
        raise RecipeError(recipe.problem(problem))
    return feed
