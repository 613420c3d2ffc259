"""Evaluate predictions against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.cluster.options import ClusterOptions
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.data.open import resolve_data
from cristae.errors import LabelError
from cristae.evaluation.scoring.evaluation import open_evaluations
from cristae.evaluation.scoring.score import require_new_scores, score
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.evaluation.segmentation import GIVE_A_MEANING, Meaning, SegmentationSource, run_name
from cristae.metrics.score import Score
from cristae.progress import Progress
from cristae.workflows.evaluate_on_workers import Compared, counted_on_workers

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe


def evaluate(
    prediction: SegmentationSource | Mapping[str, SegmentationSource],
    truth: SegmentationSource,
    *,
    recipe: Recipe | None = None,
    classes: Classes | None = None,
    mask: Image | str | Path | None = None,
    out: str | Path | None = None,
    options: ScoreOptions = ScoreOptions(),
    cluster: ClusterOptions = ClusterOptions(),
    progress: Progress = Progress(),
) -> tuple[Score, ...]:
    """Score one or several predictions, block by block; voxels that are not valid do not count.

    What values mean is given by `recipe`, `classes`, `options.binarize` or `options.objects`; without any of them by
    the prediction itself.

    Args:
        prediction: A prediction, labels or a probability map: opened, in memory, or a path. Several by the name that
            stands in the `run` column (see `predictions_in` for a folder of them).
        truth: A volume with labels, an image, or a path; with a recipe also the name of one of its volumes.
        recipe: Maps label values to classes.
        classes: What class ids mean.
        mask: Only voxels where this is not 0 count.
        out: Also write the scores here, as .csv and .json, with tables of slices and threshold curves beside them. An
            evaluation that was killed resumes where it stopped.
        options: Which scores, by which rules.
        cluster: Where blocks are counted; without any, in this process. Workers need everything as files, at the same
            paths. Objects in 3D are counted here.
        progress: Where to show progress.

    Returns:
        Rows of scores; `rule` holds the definition of each.

    Raises:
        ScoreError: It is not known what values mean, or truth and prediction do not fit together.
        VoxelSizeError: Truth and prediction have different voxel sizes.
        LabelError: The truth has no labels, or label values that are not mapped.
        OutputExistsError: There are scores at `out` already.
        CristaeError: A file is missing or cannot be used.

    Example:
        >>> from cristae import Classes, evaluate, image_of_array
        >>> import numpy as np
        >>> truth, found = (image_of_array(np.array([[ids]])) for ids in ([0, 0, 1, 1], [0, 1, 1, 1]))
        >>> scores = evaluate(found, truth, classes=Classes(names=("background", "mito")))
        >>> next(score.value for score in scores if score.metric == "F1")
        0.8
    """
    require_new_scores(out)
    predictions = prediction if isinstance(prediction, Mapping) else {run_name(prediction): prediction}
    meaning = Meaning(classes, recipe, options.binarize, options.objects)
    elsewhere = None
    if cluster.on_dask:
        compared = Compared.of(predictions, truth, meaning, mask, options)
        elsewhere = counted_on_workers(compared, cluster, progress)
    try:
        evaluations = open_evaluations(predictions, truth, meaning, mask=mask, options=options, progress=progress)
        labelling = None if recipe is None else _labelling(recipe)
        return score(evaluations, out, progress, labelling=labelling, elsewhere=elsewhere)
    except LabelError as error:
        if meaning.known_classes is not None:
            raise
        raise LabelError(f"{error}\n  Or {GIVE_A_MEANING}.") from error


def _labelling(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says of label values."""
    data, _ = resolve_data(recipe.data, recipe.folder)
    return data.model_dump(mode="json", include={"classes", "volumes"})
