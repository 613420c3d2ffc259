"""Train the random forest of a recipe: from the regions to the run folder."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cristae.classical.config import RandomForestConfig
from cristae.data.classes import Classes
from cristae.data.splits import Part, labelled_boxes
from cristae.errors import CristaeError
from cristae.evaluation.validation import Validation
from cristae.progress import Progress
from cristae.recipe.provenance import write_provenance
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, TrainedModel, array_model, create_run, is_complete, write_summary
from cristae.workflows.cost import peak_memory_bytes
from cristae.workflows.judge import PAGE, judge_run
from cristae.workflows.regions import Regions, class_counts, fit_normalizers, region_facts
from cristae.workflows.report import report

_FOR_NETWORKS = ("sampling", "targets", "augment", "loss", "training")
"""Sections of a recipe that say how a network learns."""
_LOOK = (16, 1024, 1024)
"""Voxels that are read at once."""


def train_forest_run(recipe: Recipe, regions: Regions, place: Path, *, resume: bool, progress: Progress) -> Run:
    """Make the run of a recipe whose model is the random forest.

    Args:
        recipe: Checked and complete.
        regions: Where to learn and where to validate.
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
    else:
        _say_unused(recipe, progress)
        try:
            _train(run, regions, progress)
        except CristaeError:
            if fresh:
                shutil.rmtree(run.path, ignore_errors=True)
            raise
    if not (run.path / PAGE).exists():
        report(run.path)
    return run


def _say_unused(recipe: Recipe, progress: Progress) -> None:
    """Tell which sections of a recipe, written for a network, have no effect on a forest."""
    fields = Recipe.model_fields
    unused = [name for name in _FOR_NETWORKS if getattr(recipe, name) != fields[name].default]
    if unused:
        progress.say(f"{', '.join(unused)}: no effect on a random forest")


def _train(run: Run, regions: Regions, progress: Progress) -> None:
    from cristae.classical.fit import train_forest

    began = time.monotonic()
    recipe, classes = run.recipe, regions.classes
    assert isinstance(recipe.model, RandomForestConfig)
    normalizers, shared = fit_normalizers(recipe.normalize, regions)
    forest = train_forest(recipe.model, regions.train, classes, normalizers, seed=recipe.seed, progress=progress)
    forest.save(run.weights_path)
    seconds = time.monotonic() - began
    seen = tuple(2 * reach + 1 for reach in forest.plan.reach)[3 - recipe.model.ndim :]
    model = TrainedModel(1, classes, shared, regions.voxel_size_nm, seen)
    network = array_model(forest)
    threshold, device = recipe.predict.threshold, torch.device("cpu")
    validation = Validation(regions.validate, classes, normalizers, network.locality, threshold, device)
    judge_run(run, network, validation, progress)
    slabs = [Part(part.volume, box) for part in regions.train for box in labelled_boxes(part)]
    looked = {f"{slab.volume.name} {slab.box}": _look(slab, classes) for slab in slabs}
    facts = {
        "status": "complete",
        "training_seconds": round(seconds, 1),
        "last_sitting_seconds": round(time.monotonic() - began, 1),
        "peak_memory_bytes": peak_memory_bytes(device),
        "device": "cpu",
        "data": [
            region_facts(slab.volume.name, slab.box, one.class_counts, classes, regions.voxel_size_nm)
            for slab, one in zip(slabs, looked.values(), strict=True)
        ],
    }
    write_provenance(run, device="cpu", inputs={place: one.sha256 for place, one in looked.items()})
    write_summary(run, model, facts)


@dataclass(frozen=True, eq=False)
class _Look:
    """What a labelled region holds."""

    class_counts: np.ndarray
    """(K,) voxels of each class; of overlapping ones, those without any come first."""
    sha256: str


def _look(part: Part, classes: Classes) -> _Look:
    """Read a region once, for the page and for provenance."""
    counts, content, volume = np.zeros(256, np.int64), hashlib.sha256(), part.volume
    images = (volume.image, *volume.labels, *([] if volume.valid is None else [volume.valid]))
    for block in part.box.blocks(_LOOK):
        counts += class_counts(part, block, exclusive=classes.exclusive)
        for image in images:
            content.update(np.ascontiguousarray(image.read(block)).tobytes())
    return _Look(counts[: classes.ids[-1] + 1], content.hexdigest())
