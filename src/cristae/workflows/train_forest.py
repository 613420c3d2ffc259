"""Train the random forest of a recipe: from the regions to the run folder."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from cristae.allocator import peak_memory_bytes
from cristae.classical.config import RandomForestConfig
from cristae.errors import CristaeError
from cristae.evaluation.validation import Validation
from cristae.inference.device import choose_device
from cristae.progress import Progress
from cristae.recipe.postprocess import chosen_steps
from cristae.recipe.provenance import write_provenance
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, create_run, is_complete, write_summary
from cristae.recipe.trained_model import TrainedModel, array_model
from cristae.training.regions import read_content
from cristae.workflows.prepare_training import prepare_forest_training
from cristae.workflows.training_data import TrainingData
from cristae.workflows.tune import add_tuned, tuned_facts
from cristae.workflows.validate_run import validate_run, write_page

_FOR_NETWORKS = ("sampling", "targets", "augment", "augment_interpolation", "loss", "training")
"""Sections of a recipe that say how a network learns."""


def train_forest_run(recipe: Recipe, data: TrainingData, place: Path, *, resume: bool, progress: Progress) -> Run:
    """Make the run of a recipe whose model is the random forest.

    Args:
        recipe: Checked and complete.
        data: Where to learn and where to validate.
        place: The run folder.
        resume: Take a folder that holds this run already; one that is not finished is begun anew.
        progress: Where to report.

    Raises:
        CristaeError: The labels or the folder cannot be used; nothing half-made stays in a new folder.
    """
    fresh = not place.exists()
    run = create_run(place, recipe, resume=resume)
    if is_complete(run, None):
        progress.say(f"{run.path}: training had finished already")
        if chosen_steps(run) is None:
            add_tuned(run, progress)
        return write_page(run)
    _report_unused(recipe, progress)
    try:
        _train(run, data, progress)
    except CristaeError:
        if fresh:
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    return write_page(run)


def _report_unused(recipe: Recipe, progress: Progress) -> None:
    """Name the sections of a recipe, written for a network, that have no effect on a forest."""
    fields = Recipe.model_fields
    unused = [name for name in _FOR_NETWORKS if getattr(recipe, name) != fields[name].default]
    if unused:
        progress.say(f"{', '.join(unused)}: no effect on a random forest")


def _train(run: Run, data: TrainingData, progress: Progress) -> None:
    from cristae.classical.fit import train_forest

    began = time.monotonic()
    recipe, regions, classes = run.recipe, data.regions, data.regions.classes
    assert isinstance(recipe.model, RandomForestConfig)
    prepared = prepare_forest_training(recipe, data, progress)
    assert prepared is not None, "only a part of the data can be too little"
    normalizers, shared = prepared
    forest = train_forest(recipe.model, regions.train, classes, normalizers, seed=recipe.seed, progress=progress)
    forest.save(run.weights_path)
    seconds = time.monotonic() - began
    window = tuple(2 * reach + 1 for reach in forest.plan.reach)[3 - recipe.model.ndim :]
    model = TrainedModel(1, classes, shared, regions.voxel_size_nm, window)
    network, device = array_model(forest), choose_device("cpu")
    threshold = recipe.predict.threshold
    validation = Validation(regions.validate, classes, normalizers, network.locality, threshold, device)
    validate_run(run, network, validation, progress)
    contents = read_content(regions)
    facts = {
        "status": "complete",
        "training_seconds": round(seconds, 1),
        "last_session_seconds": round(time.monotonic() - began, 1),
        "peak_memory_bytes": peak_memory_bytes(device),
        "device": "cpu",
        "data": [one.facts(classes, regions.voxel_size_nm) for one in contents],
        **data.leak_facts,
    }
    write_provenance(run, device="cpu", inputs={one.name: one.sha256 for one in contents})
    write_summary(run, model, facts | tuned_facts(recipe, network, validation, progress))
