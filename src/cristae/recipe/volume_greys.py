"""The grey values of a new volume: how a run normalises them, and whether they are like those it was trained on."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.errors import RunError
from cristae.inference.config import Statistics
from cristae.inference.working_grid import WorkingGrid
from cristae.preprocess import NormalizeConfig
from cristae.preprocess.fitting import fit_volume, greys_of
from cristae.preprocess.histogram import histogram_of
from cristae.preprocess.normalize import Normalizer
from cristae.preprocess.shift import distance
from cristae.progress import Progress
from cristae.recipe.run import Run

SAMPLE_VOXELS = 4 * 1024 * 1024
"""Voxels that are compared with the training data to warn of other grey values."""


def normalizations(runs: Sequence[Run], statistics: Statistics) -> tuple[NormalizeConfig, ...]:
    """How each run is to normalise: as its recipe says, or with statistics of the volume in place of the training's.

    Raises:
        RunError: No run has statistics of its training data that could be replaced.
    """
    own: list[NormalizeConfig] = [run.recipe.normalize for run in runs]
    if statistics == "run":
        return tuple(own)
    replaced = [config.at_scope_volume() for config in own]
    if not any(replaced):
        raise RunError(
            f"--normalize volume has no effect: the normalisation of {runs[0].path} takes no range from its training "
            "data that this volume's could replace; leave the option out"
        )
    return tuple(one if other is None else other for one, other in zip(own, replaced, strict=True))


def normalizer_of(
    run: Run, config: NormalizeConfig, grid: WorkingGrid, name: str, progress: Progress = Progress()
) -> Normalizer:
    """The mapping of a volume's grey values. Warns where they are far from the training data's.

    Args:
        run: Whose mapping is taken, or whose training data's histogram is matched.
        config: How to normalise.
        grid: The volume; slices are those that networks work on.
        name: Of the volume.
        progress: Where to report.

    Raises:
        VolumeError: Grey values are constant or not finite, and the volume needs statistics of its own.
    """
    if config.statistics in ("volume", "slice"):
        greys = greys_of(config, grid.working if config.statistics == "slice" else grid.source, progress)
        shift = distance(run.normalizer, greys.histogram)
        message = shift.message(name) if shift.inverted else None
        found = fit_volume(config, greys, run.normalizer)
    else:
        shift = distance(run.normalizer, histogram_of(grid.source, max_voxels=SAMPLE_VOXELS))
        message = shift.message(name) if shift.inverted or config.statistics == "training" else None
        found = run.normalizer
    if message is not None:
        progress.warn(message)
    return found
