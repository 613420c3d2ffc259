"""What is predicted and counted after each epoch of a training, as `training.validation` says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cristae.errors import RecipeError
from cristae.evaluation.epoch_validation import EpochValidation, SampledPatches, WholeSlices
from cristae.evaluation.validation import Validation
from cristae.recipe.recipe import Recipe
from cristae.sampling import as_triple
from cristae.training.cache import CachedPart
from cristae.training.feed import PatchFeed
from cristae.training.framing import Framing
from cristae.training.held_out import Draws, HeldOut, Tiles
from cristae.training.module import StepConfig
from cristae.training.validation_config import PatchValidation


def prepare_validation(
    recipe: Recipe,
    step: StepConfig,
    whole: Validation,
    margin: tuple[int, ...],
    cached: Callable[[Framing], tuple[CachedPart, ...]],
) -> EpochValidation:
    """Cache the validation regions and make all that judging an epoch needs of them.

    Args:
        recipe: Checked and complete.
        step: How batches are made and what their loss is.
        whole: How the run will predict.
        margin: Voxels on both sides of each spatial axis that augmentation needs.
        cached: Gives the validation regions, seen as it is asked to.

    Raises:
        RecipeError: The sampling gives no patch of the validation regions.
    """
    config, sampling = recipe.training, recipe.sampling
    framing = Framing.of(recipe.network).reaching(recipe.normalize.reach)
    assert sampling.size
    feed = partial(PatchFeed, batch_size=config.batch_size, threads=config.reader_threads)
    if not isinstance(config.validation, PatchValidation):
        parts = cached(framing)
        tiles = Tiles([part.sample_part() for part in parts], as_triple(sampling.size))
        return WholeSlices(whole, HeldOut(step, feed(tiles, parts, framing), tiles))
    around = margin if config.validation.augment else ()
    parts = tuple(part for part in cached(framing.grown(around)) if part.class_counts.any())
    plan = sampling.plan([part.sample_part() for part in parts], recipe.seed)
    if not len(plan):
        raise RecipeError(
            f"{recipe.source or recipe.name}: training.validation: the sampling '{sampling.name}' gives no patch of "
            "the validation regions; choose other regions, another sampling, or training.validation: {name: whole}"
        )
    draws = Draws(plan, config.validation.batches * config.batch_size)
    patches = HeldOut(step, feed(draws, parts, framing, margin=around), augment=config.validation.augment)
    return SampledPatches(patches, whole.classes, whole.threshold)
