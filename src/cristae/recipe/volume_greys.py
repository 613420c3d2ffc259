"""The grey values of a new volume: how a run normalises them, and whether they are like those it was trained on."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.data.box import Box
from cristae.errors import RunError
from cristae.inference.config import Statistics
from cristae.inference.working_grid import WorkingGrid
from cristae.models import NetworkConfig
from cristae.preprocess import NormalizeConfig
from cristae.preprocess.fitting import fit_volume, greys_of
from cristae.preprocess.form import range_again
from cristae.preprocess.histogram import histogram_of
from cristae.preprocess.normalize import Normalizer
from cristae.preprocess.shift import distance
from cristae.progress import Progress
from cristae.recipe.run import Run

SAMPLE_VOXELS = 4 * 1024 * 1024
"""Voxels that are compared with the training data to warn of other grey values."""


def normalizations_of(runs: Sequence[Run], statistics: Statistics) -> tuple[NormalizeConfig, ...]:
    """How each run normalises volumes.

    Args:
        runs: Their recipes say how.
        statistics: Whether those of the volume replace those of the training data.

    Raises:
        RunError: No run has statistics of its training data that could be replaced.
    """
    configs: list[NormalizeConfig] = [run.recipe.normalize for run in runs]
    if statistics == "volume":
        replaced = [config.at_scope_volume() for config in configs]
        if not any(replaced):
            raise RunError(
                f"--normalize volume has no effect: the normalisation of {runs[0].path} takes no range from its "
                "training data that this volume's could replace; leave the option out"
            )
        configs = [other or one for one, other in zip(configs, replaced, strict=True)]
    return tuple(configs)


def normalizers_of(
    runs: Sequence[Run],
    configs: Sequence[NormalizeConfig],
    grids: Sequence[WorkingGrid],
    box: Box,
    name: str,
    progress: Progress = Progress(),
) -> tuple[Normalizer, ...]:
    """The mapping of a volume's grey values by each run. Warns where they are far from the training data's.

    Args:
        runs: What was trained.
        configs: How each normalises: see `normalizations_of`.
        grids: The volume, on the grid of each.
        box: The voxels of it that will be predicted.
        name: Of the volume.
        progress: Where to report.

    Raises:
        VolumeError: Grey values are constant or not finite, and the volume needs statistics of its own.
    """
    each = zip(runs, configs, grids, strict=True)
    return tuple(_normalizer(run, config, grid, box, name, progress) for run, config, grid in each)


def _normalizer(
    run: Run, config: NormalizeConfig, grid: WorkingGrid, box: Box, name: str, progress: Progress
) -> Normalizer:
    """Slices that have their own mapping are those that networks work on; all else is of the volume as it is."""
    shared = run.recipe.normalize.statistics == "training"
    if config.statistics in ("volume", "slice"):
        image = grid.working if config.statistics == "slice" else grid.source
        greys = greys_of(config, image, progress, _needed_slices(run, grid, box))
        found = fit_volume(config, greys, run.normalizer)
        histogram, own = greys.histogram, (found.low, found.high) if shared else None
    else:
        found, histogram = run.normalizer, histogram_of(grid.source, max_voxels=SAMPLE_VOXELS)
        own = range_again(config, histogram)
    shift = distance(run.normalizer, histogram, own)
    message = shift.message(name, again=found is not run.normalizer) if shared or shift.inverted else None
    if message is not None:
        progress.warn(message)
    return found


def _needed_slices(run: Run, grid: WorkingGrid, box: Box) -> range | None:
    """The slices that a network sees of a box; None where it may see all."""
    model = run.recipe.model
    if not isinstance(model, NetworkConfig) or model.ndim != 2:
        return None
    wanted, around = grid.wanted(box), model.in_slices // 2
    return range(max(0, wanted.start[0] - around), min(grid.working.shape[0], wanted.stop[0] + around))
