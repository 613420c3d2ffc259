"""What a run has not been trained on, predicted and scored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cristae.data.open import open_data
from cristae.data.splits import Part, labelled_boxes
from cristae.evaluation.comparison import align
from cristae.evaluation.scoring.borders import scored_classes
from cristae.evaluation.scoring.evaluation import Evaluation
from cristae.evaluation.scoring.score import score
from cristae.evaluation.scoring.settings import ScoreOptions, Scoring
from cristae.evaluation.segmentation import Meaning, open_segmentation
from cristae.inference.config import PredictOptions
from cristae.inference.prediction import Prediction
from cristae.progress import Progress
from cristae.recipe.run import Run
from cristae.workflows.predict import predict

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class HeldOut:
    """What became of one split; None where an earlier session did some of it."""

    predict_vox: int
    predict_seconds: float | None
    evaluate_seconds: float | None


def score_held_out(
    run: Run, out: Path, *, options: ScoreOptions = ScoreOptions(), progress: Progress = Progress()
) -> Mapping[str, HeldOut]:
    """Predict and score the validation and the test regions of a run's recipe, each split by itself.

    A split that was scored already is left alone; predictions that were begun are continued.

    Args:
        run: Finished.
        out: A folder: `SPLIT.csv`, `SPLIT.json`, `SPLIT.slices.csv` and the predictions in `SPLIT/`.
        options: Which scores.
        progress: Where to report.

    Raises:
        CristaeError: The data are not what they were, or there is no room for the predictions.
    """
    dataset = open_data(run.recipe.data, run.recipe.folder)
    parts = {"validation": dataset.validate, "test": dataset.test}
    found = {}
    for split in SPLITS:
        voxels = sum(box.size for part in parts[split] for box in labelled_boxes(part))
        if (out / f"{split}.csv").exists():
            found[split] = HeldOut(voxels, None, None)
        elif parts[split]:
            found[split] = HeldOut(voxels, *_score_split(run, parts[split], out, split, options, progress))
    return found


def _score_split(
    run: Run, parts: Sequence[Part], out: Path, split: str, options: ScoreOptions, progress: Progress
) -> tuple[float | None, float]:
    """Seconds of the prediction, None where it was begun before, and of the evaluation."""
    place = out / split
    begun = place.exists()
    place.mkdir(parents=True, exist_ok=True)
    began, predicted = time.monotonic(), list[tuple[Part, Prediction]]()
    for part in parts:
        for box in labelled_boxes(part):
            name = f"{part.volume.name.replace('/', '-')}-{box.start[0]}-{box.start[1]}-{box.start[2]}.zarr"
            kept = PredictOptions(probabilities=True)
            found = predict([run], part.volume, out=place / name, box=box, options=kept, progress=progress)
            predicted.append((Part(part.volume, box), found))
    middle, meaning = time.monotonic(), Meaning(run.classes)
    comparisons = tuple(
        align(
            open_segmentation(part.volume, meaning, role="truth", progress=progress),
            open_segmentation(prediction, meaning, role="prediction", progress=progress),
            box=part.box,
            progress=progress,
        )
        for part, prediction in predicted
    )
    scoring = Scoring(run.recipe.name, scored_classes(run.classes, options), None, options)
    score([Evaluation(scoring, comparisons)], out / f"{split}.csv", progress)
    return None if begun else middle - began, time.monotonic() - middle
