"""How far a second annotator agrees with the truth, on the regions that methods are scored on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cristae.data.image import Image
from cristae.data.open import open_data
from cristae.data.splits import Part, labelled_boxes
from cristae.data.volume import Volume
from cristae.evaluation.comparison import Comparison, align
from cristae.evaluation.scoring.borders import scored_classes
from cristae.evaluation.scoring.evaluation import Evaluation
from cristae.evaluation.scoring.score import score
from cristae.evaluation.scoring.settings import ScoreOptions, Scoring
from cristae.evaluation.segmentation import Meaning, open_segmentation
from cristae.progress import Progress
from cristae.recipe.benchmark_tables import Split
from cristae.recipe.run import Run

ANNOTATORS = "annotators"
"""The folder of their scores."""
SECOND = "second annotator"


def score_second_annotator(run: Run, out: Path, progress: Progress) -> Mapping[Split, Path]:
    """Score what a second annotator drew as a prediction is scored, unless that was done.

    Args:
        run: Whose validation and test regions are scored.
        out: A folder: `SPLIT.csv` with tables beside it.
        progress: Where to report.

    Returns:
        The table of each split of which a second annotator labelled something.

    Raises:
        CristaeError: The data are not what they were.
    """
    if not any(volume.second_labels is not None for volume in run.recipe.data.volumes):
        return {}
    dataset = open_data(run.recipe.data, run.recipe.folder)
    second = {volume.name: volume for volume in dataset.second}
    options, meaning = ScoreOptions(), Meaning(run.classes)
    found: dict[Split, Path] = {}
    splits: tuple[tuple[Split, tuple[Part, ...]], ...] = ("validation", dataset.validate), ("test", dataset.test)
    for split, parts in splits:
        table = out / f"{split}.csv"
        shared = [part for part in parts if part.volume.name in second]
        if shared and not table.exists():
            out.mkdir(parents=True, exist_ok=True)
            comparisons = tuple(_comparisons(shared, second, meaning, progress))
            scoring = Scoring(SECOND, scored_classes(run.classes, options), None, options)
            score([Evaluation(scoring, comparisons)], table, progress)
        if shared:
            found[split] = table
    return found


def _comparisons(
    parts: Sequence[Part], second: Mapping[str, Volume], meaning: Meaning, progress: Progress
) -> Iterator[Comparison]:
    """Voxels count where both have annotated."""
    for part in parts:
        truth = open_segmentation(part.volume, meaning, role="truth", progress=progress)
        other = open_segmentation(second[part.volume.name], meaning, progress=progress)
        valid = _both(truth.valid, other.valid)
        for box in labelled_boxes(part):
            yield align(replace(truth, valid=valid), replace(other, valid=None), box=box, progress=progress)


def _both(first: Image | None, second: Image | None) -> Image | None:
    if first is None or second is None:
        return first or second
    return replace(first, dtype=np.dtype(bool), reader=lambda box: (first.read(box) != 0) & (second.read(box) != 0))
