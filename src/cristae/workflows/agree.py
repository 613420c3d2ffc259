"""Compare annotators and algorithms with each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cristae.analysis.render import Rendering
from cristae.cluster.options import ClusterOptions
from cristae.data.classes import Classes
from cristae.data.files import require_new_file, write_together
from cristae.data.image import Image
from cristae.errors import ScoreError
from cristae.evaluation.agreement import AgreementOptions, open_panel
from cristae.evaluation.agreement_views import views_of
from cristae.evaluation.segmentation import Meaning, SegmentationSource
from cristae.metrics.agreement import Agreement, confusions_csv
from cristae.metrics.score import score_paths, scores_csv, scores_json
from cristae.progress import Progress
from cristae.workflows.agree_on_workers import Participants, counted_on_workers

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe


def agree(
    participants: Mapping[str, SegmentationSource],
    *,
    recipe: Recipe | None = None,
    classes: Classes | None = None,
    mask: Image | str | Path | None = None,
    out: str | Path | None = None,
    options: AgreementOptions = AgreementOptions(),
    cluster: ClusterOptions = ClusterOptions(),
    progress: Progress = Progress(),
) -> Agreement:
    """Compare any number of annotators and algorithms, each with each.

    All are read once, block by block, and the one named by `options.cell_from` once more. Voxels that are not valid
    for one of two do not count for that pair.

    Args:
        participants: What each has, by name: predictions, volumes with labels, images of class ids, or paths.
        recipe: Maps label values to classes.
        classes: What class ids mean; without a recipe, classes or a threshold those of a prediction.
        mask: Only voxels where this is not 0 count. Volume fractions are fractions of it.
        out: Also write the scores here, as .csv and .json, with the confusions and a page beside them.
        options: What is compared, and where.
        cluster: Where blocks are counted; without any, in this process. Workers need everything as files, at the same
            paths.
        progress: Where to show progress.

    Returns:
        The counts of every pair; its `scores()` are the rows of the table.

    Raises:
        ScoreError: There are fewer than two participants, their shapes or classes differ, nothing counts, or views have
            no page.
        VoxelSizeError: Voxel sizes differ, or none is known although `options.cell_from` or `views` needs one.
        CristaeError: A file is missing or cannot be used, or there are scores at `out` already.

    Example:
        >>> from cristae import Classes, image_of_array
        >>> import numpy as np
        >>> anna, bert = (image_of_array(np.array([ids])) for ids in ([0, 0, 1, 1], [0, 1, 1, 1]))
        >>> agreement = agree({"anna": anna, "bert": bert}, classes=Classes(names=("background", "mito")))
        >>> agreement.pair("anna", "bert").tables[0].counts
        array([[1, 1],
               [0, 2]])
    """
    if out is not None:
        for path in (*score_paths(Path(out)), *_beside(Path(out))):
            require_new_file(path, what="the scores")
    meaning = Meaning(classes, recipe, options.binarize)
    if options.views and out is None:
        raise ScoreError("views are shown on the page, which is written with --out agree.csv")
    named = Participants.of(participants, meaning, mask, options) if cluster.on_dask else None
    panel = open_panel(participants, meaning, mask=mask, options=options, progress=progress)
    counted = None if named is None else counted_on_workers(panel, named, cluster, progress)
    agreement = panel.agreement(progress, counted=counted)
    if out is not None:
        _write(agreement, Path(out), views_of(panel, agreement, progress) if options.views else {})
    return agreement


def _beside(out: Path) -> tuple[Path, Path]:
    """The table of confusions and the page that belong to a table of scores."""
    return out.with_name(f"{out.stem}.confusions.csv"), out.with_name(f"{out.stem}-report.html")


def _write(agreement: Agreement, out: Path, views: Mapping[str, Rendering]) -> None:
    from cristae.report.agreement_page import agreement_page

    (table, document), (confusions, page) = score_paths(out), _beside(out)
    scores = agreement.scores()
    contents = {
        table: scores_csv(scores),
        document: scores_json(scores),
        confusions: confusions_csv(agreement),
        page: agreement_page(out.stem, agreement, views),
    }
    write_together({path: text.encode() for path, text in contents.items()})
