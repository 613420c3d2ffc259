"""Everything that a training does before its first step. `recipe check` does the same, with a part of large data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.augment import required_margin
from cristae.augment.batch import margin_zyx
from cristae.classical.config import RandomForestConfig
from cristae.data.classes import Classes
from cristae.data.fingerprint import Fingerprints
from cristae.data.open import Dataset, open_data, resolve_data
from cristae.errors import CristaeError, MissingFileError, RecipeError, RunError
from cristae.evaluation.epoch_validation import EpochValidation, SampledPatches, WholeSlices
from cristae.evaluation.validation import Validation, plan_validation
from cristae.inference.device import choose_device, require_devices
from cristae.inference.locality import Locality
from cristae.losses import with_auxiliary_outputs
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.recipe.complete import completed
from cristae.recipe.consistency import check_consistency, require_regions
from cristae.recipe.folder import CHECKPOINT, read_summary
from cristae.recipe.network import build_network, start_from, starting_weights
from cristae.recipe.questions import warn_open_questions
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import TrainedModel
from cristae.sampling import RejectionPatches, as_triple
from cristae.training.cache import CachedPart, cache_parts, require_weights, warn_about_room
from cristae.training.cache_folder import Cache
from cristae.training.compilation import require_compiler
from cristae.training.feed import PatchFeed
from cristae.training.framing import Framing
from cristae.training.held_out import Draws, HeldOut, Tiles
from cristae.training.module import StepConfig
from cristae.training.parameter_groups import group_parameters
from cristae.training.regions import Regions, prepare_regions, require_classes, require_validation
from cristae.training.validation_config import WholeValidation
from cristae.training.weight_field import with_weight_fields

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The opened data of a recipe."""

    dataset: Dataset
    regions: Regions
    fingerprints: Fingerprints
    whole: bool = True
    """Whether `regions` are all that the recipe names, or a part of it that is read quickly."""
    grey_vox: int | None = None
    """Grey values that are looked at of each volume, or of all regions; None looks at all that matter."""

    @property
    def leak_facts(self) -> Mapping[str, Any]:
        """What the summary keeps of the split: nothing, or under 'leaky_split' why its scores flatter."""
        return {"leaky_split": list(self.dataset.leaks)} if self.dataset.leaks else {}

    def limited(self, read_vox: int, *, flat: bool) -> TrainingData:
        """The same, cut to slices that hold about `read_vox` voxels where there are more.

        Args:
            read_vox: Of labels and of grey values.
            flat: Whether only labelled slices are read, as for 2D models.
        """
        regions, whole = self.regions.limited(read_vox, flat=flat)
        return replace(self, regions=regions, whole=whole, grey_vox=read_vox)

    @contextmanager
    def judging(self, progress: Progress, *, whole: bool | None = None) -> Iterator[None]:
        """For what only all of the data can prove, such as that a class is missing: of a part it is a warning."""
        try:
            yield
        except CristaeError as error:
            if self.whole if whole is None else whole:
                raise
            progress.warn(f"in the part of the data that was read: {error}")

    def fit_normalizers(self, recipe: Recipe, progress: Progress) -> tuple[dict[str, Normalizer], Normalizer] | None:
        """As `Regions.fit_normalizers`; None where a part of the data does not suffice to find them.

        Raises:
            VolumeError: The grey values are constant, of several types, or not finite.
        """
        regions, config = self.regions, recipe.normalize
        counted = regions.count_greys(config, self.grey_vox)
        with self.judging(progress, whole=self.whole and regions.counts_all(config, self.grey_vox)):
            return regions.fit_normalizers(config, counted)
        return None


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


def begin_training(recipe: Recipe, progress: Progress, *, read_vox: int | None = None) -> tuple[Recipe, TrainingData]:
    """Check a recipe by itself, then with its opened data.

    Args:
        recipe: As `load_recipe` gives it.
        progress: Where warnings go.
        read_vox: Read about this many voxels at most; None reads all that training needs.

    Returns:
        The recipe with what it leaves to others, and its data.

    Raises:
        CristaeError: The recipe is not consistent, or its data cannot be used.
    """
    recipe = check_form(recipe, progress)
    data = open_training_data(recipe)
    if not isinstance(recipe.model, RandomForestConfig):
        weighed = recipe.targets.field(data.regions.classes) is not None
        parts = (*data.regions.train, *data.regions.validate)
        warn_about_room(parts, progress, flat=recipe.model.ndim == 2, weighed=weighed)
    if read_vox is not None:
        data = data.limited(read_vox, flat=recipe.model.ndim == 2)
    with data.judging(progress):
        require_validation(data.regions, progress, what=f"the validation regions{'' if data.whole else ', as read,'}")
    for warning in data.dataset.warnings:
        progress.warn(warning)
    return recipe, data


def check_form(recipe: Recipe, progress: Progress) -> Recipe:
    """Check what follows from a recipe alone.

    Returns:
        The recipe with what it leaves to others.

    Raises:
        CristaeError: It is not consistent, or names no volumes, classes or regions.
    """
    recipe = completed(recipe)
    check_consistency(recipe)
    require_regions(recipe)
    warn_open_questions(recipe, progress)
    return recipe


def default_place(recipe: Recipe) -> Path:
    """The run folder where none is named."""
    return Path("runs") / recipe.name


def open_training_data(recipe: Recipe) -> TrainingData:
    """Open the data of a recipe and bring its regions to the working grid.

    Raises:
        CristaeError: The data cannot be opened, or do not fit together.
    """
    fingerprints = Fingerprints.take(*resolve_data(recipe.data, recipe.folder))
    try:
        dataset = open_data(recipe.data, recipe.folder)
    except MissingFileError as error:
        if recipe.data.available_from is None:
            raise
        raise MissingFileError(f"{error}\n  The data come from {recipe.data.available_from}") from error
    regions = prepare_regions(dataset, recipe.data.voxel_size_nm, flat=recipe.model.ndim == 2)
    return TrainingData(dataset, regions, fingerprints)


def make_network(recipe: Recipe, classes: Classes) -> tuple[nn.Module, Locality]:
    """The network of a recipe with random weights for these classes, and for devices that are there.

    Raises:
        RunError: A device or a compiler is missing, or the network cannot be applied as the recipe wants it.
        NetworkError: It cannot be built.
        RecipeError: It lacks parameters that the recipe names.
    """
    device = choose_device(recipe.device)
    require_devices(device, recipe.training.devices)
    network, locality = build_network(recipe, classes.n_logits)
    try:
        group_parameters(network, recipe.training.groups)
    except RecipeError as error:
        raise RecipeError(f"{recipe.source or recipe.name}: {error}") from None
    if recipe.training.compile:
        require_compiler(device)
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
    recipe: Recipe, data: TrainingData, locality: Locality, cache: Cache, progress: Progress, *, weigh: bool = True
) -> Prepared | None:
    """Cache the training data and make all that the loop needs of it; None where a part of the data does not suffice.

    Args:
        recipe: Checked and complete.
        data: Where to learn and where to validate.
        locality: How the network is applied.
        cache: Keeps the training data.
        progress: Where to report.
        weigh: Compute weights of whole slices, which takes long and fails for no data.

    Raises:
        CristaeError: A class is missing, an epoch has too few patches, the grey values cannot be normalised, or the
            cache cannot be written.
    """
    regions, size = data.regions, recipe.sampling.size
    assert size
    framing, classes = Framing.of(recipe.network), regions.classes
    seen = recipe.network.input_size(size)
    margin = required_margin(recipe.augment, seen, recipe.augment_interpolation)
    overhang = recipe.sampling.overhang if isinstance(recipe.sampling, RejectionPatches) else (0, 0, 0)
    _require_one_mirror(recipe, regions, size, margin)
    if not _warn_about_size(regions, size, progress):
        _warn_about_margin(regions, seen, margin, progress)
    cached = cache_parts(
        regions.train,
        classes,
        cache,
        framing.grown(margin),
        size=as_triple(size),
        overhang=overhang,
        fingerprints=data.fingerprints if data.whole else None,
        progress=progress,
    )
    with data.judging(progress):
        require_classes([part.class_counts for part in cached], classes)
        require_weights(cached)
    normal = data.fit_normalizers(recipe, progress)
    if normal is None:
        return None
    normalizers, shared = normal
    device = choose_device(recipe.device)
    validation = plan_validation(recipe, regions.validate, classes, normalizers, locality, size, device)
    loss = with_auxiliary_outputs(
        recipe.loss.build(classes), recipe.network.auxiliary_weights, recipe.loss.auxiliary_weights
    )
    statistics, field = recipe.targets.prepare(cached), recipe.targets.field(classes)
    if field is not None and weigh:
        cached, statistics = with_weight_fields(cached, field, statistics, cache, progress)
    targets = recipe.targets.bind(statistics, classes, regions.voxel_size_nm)
    step = StepConfig(
        loss,
        recipe.loss.penalty,
        recipe.augment,
        targets,
        normalizers,
        recipe.training,
        recipe.seed,
        device,
        recipe.augment_interpolation,
    )

    def cache_validation(framing: Framing) -> tuple[CachedPart, ...]:
        fingerprints = data.fingerprints if data.whole else None
        held_out = cache_parts(
            regions.validate,
            classes,
            cache,
            framing,
            size=as_triple(size),
            overhang=overhang,
            fingerprints=fingerprints,
            progress=progress,
        )
        if field is None or not weigh:
            return held_out
        return with_weight_fields(held_out, field, statistics, cache, progress)[0]

    with data.judging(progress):
        feed = _feed(recipe, cached, framing, margin)
        each_epoch = _epoch_validation(recipe, cache_validation, step, validation, framing, margin)
        model = TrainedModel(1, classes, shared, regions.voxel_size_nm, size)
        return Prepared(cached, feed, step, model, validation, each_epoch, statistics)
    return None


def _epoch_validation(
    recipe: Recipe,
    cache_validation: Callable[[Framing], tuple[CachedPart, ...]],
    step: StepConfig,
    whole: Validation,
    framing: Framing,
    margin: tuple[int, ...],
) -> EpochValidation:
    """What is counted after each epoch, as `training.validation` says.

    Raises:
        RecipeError: The sampling gives no patch of the validation regions.
    """
    config, sampling = recipe.training, recipe.sampling
    assert sampling.size
    feed = partial(PatchFeed, batch_size=config.batch_size, threads=config.reader_threads)
    if isinstance(config.validation, WholeValidation):
        cached = cache_validation(framing)
        tiles = Tiles([part.sample_part() for part in cached], as_triple(sampling.size))
        return WholeSlices(whole, HeldOut(step, feed(tiles, cached, framing), tiles))
    around = margin if config.validation.augment else ()
    cached = tuple(part for part in cache_validation(framing.grown(around)) if part.class_counts.any())
    plan = sampling.plan([part.sample_part() for part in cached], recipe.seed)
    if not len(plan):
        raise RecipeError(
            f"{recipe.source or recipe.name}: training.validation: the sampling '{sampling.name}' gives no patch of "
            "the validation regions; choose other regions, another sampling, or training.validation: {name: whole}"
        )
    draws = Draws(plan, config.validation.batches * config.batch_size)
    patches = HeldOut(step, feed(draws, cached, framing, margin=around), augment=config.validation.augment)
    return SampledPatches(patches, whole.classes, whole.threshold)


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
    with data.judging(progress):
        require_labelled(regions.train, regions.classes, ndim=recipe.model.ndim)
    return data.fit_normalizers(recipe, progress)


def _warn_about_size(regions: Regions, size: Sequence[int], progress: Progress) -> bool:
    """Warn about patches that a volume cannot fill, and say whether there are any."""
    wanted = as_triple(tuple(size))
    for part in regions.train:
        shape = part.volume.image.shape
        if any(side > there for side, there in zip(wanted, shape, strict=True)):
            progress.warn(
                f"patches of {_size(wanted)} voxels (z, y, x) are larger than '{part.volume.name}', {_size(shape)}: "
                "they are filled up with its mirror image, which does not count; a smaller sampling.size learns more "
                "from each patch"
            )
            return True
    return False


def _require_one_mirror(recipe: Recipe, regions: Regions, size: Sequence[int], margin: Sequence[int]) -> None:
    """Make sure that augmentation looks no further than one mirror image of each volume.

    Raises:
        RecipeError: It does.
    """
    seen = as_triple(tuple(recipe.network.input_size(size)))
    for part in regions.train:
        shape = part.volume.image.shape
        sides = zip("zyx", as_triple(tuple(size)), seen, margin_zyx(margin), shape, strict=True)
        for axis, side, image, around, there in sides:
            beyond = max(0, -(-(side - there) // 2)) + (image - side) // 2 + around
            if around and beyond >= there:
                raise RecipeError(
                    f"{recipe.source or recipe.name}: augment: patches of {_size(size)} voxels need the image up to "
                    f"{beyond} voxels beyond the border of '{part.volume.name}' along {axis}, but its mirror image "
                    f"reaches {there - 1}; choose a smaller sampling.size or smaller amounts"
                )


def _warn_about_margin(regions: Regions, seen: Sequence[int], margin: Sequence[int], progress: Progress) -> None:
    """Warn where augmentation looks further than a volume goes."""
    wanted = [side + 2 * around for side, around in zip(as_triple(tuple(seen)), margin_zyx(margin), strict=True)]
    for part in regions.train:
        shape = part.volume.image.shape
        if any(side > there for side, there, around in zip(wanted, shape, margin_zyx(margin), strict=True) if around):
            progress.warn(
                f"augmentation looks at {_size(wanted)} voxels (z, y, x) for each patch, but '{part.volume.name}' has "
                f"{_size(shape)}: the rest is its mirror image, which does not count; a smaller sampling.size or "
                "smaller amounts under augment learn more from each patch"
            )
            return


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape)


def _feed(recipe: Recipe, cached: Sequence[CachedPart], framing: Framing, margin: Sequence[int]) -> PatchFeed:
    plan = recipe.sampling.plan([part.sample_part() for part in cached], recipe.seed)
    config, where = recipe.training, recipe.source or recipe.name
    if len(plan) < config.batch_size * config.accumulate:
        times = f" times training.accumulate: {config.accumulate}" if config.accumulate > 1 else ""
        raise RecipeError(
            f"{where}: an epoch has only {len(plan)} patches, fewer than training.batch_size: {config.batch_size}"
            f"{times}; lower it, or make sampling give more patches"
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
        raise RecipeError(f"{where}: {problem}")
    return feed
