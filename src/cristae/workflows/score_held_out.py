"""What a run has not been trained on, predicted and scored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cristae.data.classes import Classes
from cristae.data.open import Dataset, open_data
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
from cristae.recipe.benchmark_tables import SPLITS, Split
from cristae.recipe.run import Run
from cristae.workflows.predict import predict


@dataclass(frozen=True)
class HeldOut:
    """What became of one split; None where an earlier session did some of it."""

    predict_vox: int
    predict_seconds: float | None
    evaluate_seconds: float | None


def score_held_out(
    run: Run, out: Path, *, options: ScoreOptions = ScoreOptions(), progress: Progress = Progress()
) -> Mapping[Split, HeldOut]:
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
    parts = held_out_parts(open_data(run.recipe.data, run.recipe.folder))
    found = {}
    for split in SPLITS:
        voxels = sum(part.box.size for part in parts[split])
        if (out / f"{split}.csv").exists():
            found[split] = HeldOut(voxels, None, None)
        elif parts[split]:
            found[split] = HeldOut(voxels, *_predict_and_score(run, parts[split], out, split, options, progress))
    return found


def held_out_parts(dataset: Dataset) -> Mapping[Split, tuple[Part, ...]]:
    """What is predicted of each split: its ranges of labelled slices."""
    regions: Mapping[Split, Sequence[Part]] = {"validation": dataset.validate, "test": dataset.test}
    return {
        split: tuple(Part(part.volume, box) for part in parts for box in labelled_boxes(part))
        for split, parts in regions.items()
    }


def held_out_path(out: Path, split: Split, part: Part) -> Path:
    """Where the prediction of a part lies in the folder of a run's scores."""
    z, y, x = part.box.start
    return out / split / f"{part.volume.name.replace('/', '-')}-{z}-{y}-{x}.zarr"


def score_predicted(
    classes: Classes,
    predicted: Sequence[tuple[Part, Prediction]],
    out: Path,
    *,
    name: str,
    options: ScoreOptions = ScoreOptions(),
    progress: Progress = Progress(),
) -> None:
    """Score predictions of labelled parts.

    Args:
        classes: Of both.
        predicted: Parts with their predictions.
        out: The new table, ending in .csv.
        name: What stands in its column `run`.
        options: Which scores.
        progress: Where to report.
    """
    meaning = Meaning(classes)
    comparisons = tuple(
        align(
            open_segmentation(part.volume, meaning, role="truth", progress=progress),
            open_segmentation(prediction, meaning, role="prediction", progress=progress),
            box=part.box,
            progress=progress,
        )
        for part, prediction in predicted
    )
    score([Evaluation(Scoring(name, scored_classes(classes, options), None, options), comparisons)], out, progress)


def _predict_and_score(
    run: Run, parts: Sequence[Part], out: Path, split: Split, options: ScoreOptions, progress: Progress
) -> tuple[float | None, float]:
    """Seconds of the prediction, None where it was begun before, and of the evaluation."""
    begun = (out / split).exists()
    (out / split).mkdir(parents=True, exist_ok=True)
    began, predicted = time.monotonic(), list[tuple[Part, Prediction]]()
    for part in parts:
        kept, place = PredictOptions(probabilities=True), held_out_path(out, split, part)
        found = predict([run], part.volume, out=place, box=part.box, options=kept, progress=progress)
        predicted.append((part, found))
    middle, table = time.monotonic(), out / f"{split}.csv"
    score_predicted(run.classes, predicted, table, name=run.recipe.name, options=options, progress=progress)
    return None if begun else middle - began, time.monotonic() - middle
