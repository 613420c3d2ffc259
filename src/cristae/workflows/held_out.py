"""A finished run and the regions that it has held out: to choose values of post-processing, and to score."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cristae.classical.config import RandomForestConfig
from cristae.evaluation.tuning import score_processed
from cristae.evaluation.validation import Validation, plan_validation
from cristae.inference.arrays import ArrayModel
from cristae.inference.device import choose_device
from cristae.metrics.score import write_scores
from cristae.metrics.tally import scores_of
from cristae.models.external import own_errors
from cristae.progress import Progress
from cristae.recipe.network import locality_of
from cristae.recipe.postprocess import chosen_steps
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run
from cristae.recipe.study import TEST_SCORES
from cristae.training.layout import put_channels_last
from cristae.workflows.prepare_training import require_measurable
from cristae.workflows.training_data import TrainingData, open_training_data

if TYPE_CHECKING:
    from torch import nn


def tested_data(recipe: Recipe) -> TrainingData:
    """The data of a member of nested folds, opened with what it tests in the place of what it validates.

    Raises:
        CristaeError: They cannot be opened, or the post-processing cannot be carried out there.
    """
    data = recipe.data.model_copy(update={"validate_": recipe.data.test, "test": ()})
    opened = open_training_data(recipe.model_copy(update={"data": data}))
    require_measurable(recipe, opened.regions, fixed=True)
    return opened


@contextmanager
def validation_of_run(
    run: Run, progress: Progress, data: TrainingData | None = None
) -> Iterator[tuple[nn.Module, Validation]]:
    """The network of a finished run with its weights, and how it predicts its validation regions.

    Args:
        run: Its training is finished.
        progress: Where to report.
        data: Gives others in the place of its validation regions; None opens its own.

    Raises:
        CristaeError: Data or weights cannot be read.
    """
    recipe, data = run.recipe, data or open_training_data(run.recipe)
    regions, normal, network = data.regions, data.fit_normalizers(recipe, progress), run.build_network()
    assert normal is not None, "only a part of the data can be too little"
    normalizers, _ = normal
    if isinstance(recipe.model, RandomForestConfig):
        assert isinstance(network, ArrayModel)
        fixed = normalizers, network.locality, recipe.predict.threshold, choose_device("cpu")
        yield network, Validation(regions.validate, regions.classes, *fixed)
        return
    put_channels_last(network)  # as training scores it
    locality = run.locality or locality_of(network, recipe)
    device, size = choose_device(recipe.device), run.model.patch_size
    validation = plan_validation(recipe, regions.validate, regions.classes, normalizers, locality, size, device)
    if (run.summary.get("application") or {}).get("better") == "exact":
        validation = replace(validation, windows=None)
    with own_errors(recipe.model, network):
        yield network, validation


def score_test(run: Run, progress: Progress) -> None:
    """Write `test-scores.csv` of a finished member of nested folds: the part that it tests, predicted with the weights
    and the values of post-processing that were chosen on the part that it validates.

    Raises:
        CristaeError: Data or weights cannot be read.
    """
    steps = chosen_steps(run)
    assert steps is not None, "a finished run has chosen"
    with validation_of_run(run, progress, tested_data(run.recipe)) as (network, validation):
        tallies = score_processed(steps, network, validation, progress)
    write_scores(run.path / TEST_SCORES, scores_of(tallies, run=run.id, threshold=validation.threshold))
