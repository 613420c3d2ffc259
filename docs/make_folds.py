"""Cross-validates the recipes of `docs/results/folds-*`: `python docs/make_folds.py NAME --work FOLDER [--minutes 60]`.

What is trained is a study, as `cristae train RECIPE` makes of a recipe with `folds`: it resumes, so the same command
continues where the last one stopped. When the minutes are over, the fold that is being trained is interrupted as by
Ctrl-C. The table is made of the folds that are finished: `folds-NAME.csv`, a row for each fold and class, and
`folds-NAME.md`, which is written from it.
"""

from __future__ import annotations

import csv
import io
import math
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import fmean

from make_results import FOLDER, RECIPES, minutes_of, options_of_work, scores_in
from studies import STUDIES, StudyExperiment

import cristae
from cristae.data.files import write_text
from cristae.metrics.uncertainty.folds import mean_over_folds
from cristae.recipe.study import Study

SCORES = {"IoU": "Jaccard", "F1": "F1", "precision": "PPV", "recall": "sensitivity"}
"""What the table shows, and the names of these scores in `scores.csv`."""


@dataclass(frozen=True)
class Row:
    """What one fold's network reached in one class, on what it has held out."""

    fold: int
    validates: str
    class_name: str
    iou: float
    f1: float
    precision: float
    recall: float
    train_vox: int
    """Labelled voxels that it was trained on."""
    validate_vox: int
    minutes: float
    """That the training took, the validation of its epochs included."""


def main() -> None:
    """Train what is missing, then write the table."""
    asked = options_of_work(__doc__, STUDIES, minutes="interrupt the training after these").parse_args()
    experiment = STUDIES[asked.name]
    if asked.minutes > 0:
        train(experiment, asked.work / asked.name, asked.minutes)
    table = FOLDER / f"folds-{asked.name}.csv"
    write_rows(table, rows_of(cristae.open_study(asked.work / asked.name)))
    write_text(table.with_suffix(".md"), page(asked.name, experiment, read_rows(table)))


def train(experiment: StudyExperiment, place: Path, minutes: float) -> None:
    """Train the folds that are missing, for so many minutes at most."""
    recipe = cristae.load_recipe(RECIPES / experiment.recipe, experiment.settings)
    with interruptibly(place, minutes):
        cristae.train_study(recipe, out=place, resume=place.exists())


@contextmanager
def interruptibly(place: Path, minutes: float) -> Iterator[None]:
    """For work that is interrupted as by Ctrl-C after so many minutes, and resumes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which jobs in the background ignore
    clock = threading.Timer(min(60 * minutes, threading.TIMEOUT_MAX), signal.raise_signal, [signal.SIGINT])
    clock.daemon = True
    clock.start()
    try:
        yield
    except KeyboardInterrupt:
        print(f"{place}: interrupted; the same command resumes it", flush=True)
    finally:
        clock.cancel()


def rows_of(study: Study) -> Iterator[Row]:
    """What the folds that are finished have reached, for each class."""
    folds = {fold["fold"]: fold for fold in study.plan["folds"]}
    for member in study.members:
        if member.state != "complete" or member.fold is None:
            continue
        place, fold = study.path / member.run, folds[member.fold]
        scores, minutes = scores_in(place / "scores.csv"), minutes_of(place)
        vox = [sum(fold[what].values()) for what in ("train_vox", "validate_vox")]
        for name in (one for metric, one in scores if metric == "F1" and one not in ("all", "foreground")):
            found = [scores[metric, name] for metric in SCORES.values()]
            yield Row(member.fold, "; ".join(fold["validates"]), name, *found, *vox, minutes)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Keep rows as a table, with the digits that matter."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(field.name for field in fields(Row))
    for row in rows:
        *known, iou, f1, precision, recall, train_vox, validate_vox, minutes = astuple(row)
        numbers = [f"{value:.4f}" for value in (iou, f1, precision, recall)]
        lines.writerow([*known, *numbers, train_vox, validate_vox, f"{minutes:.1f}"])
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[Row]:
    """The rows that `write_rows` wrote."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Row(
                int(one["fold"]),
                one["validates"],
                one["class_name"],
                *(float(one[name]) for name in ("iou", "f1", "precision", "recall")),
                int(one["train_vox"]),
                int(one["validate_vox"]),
                float(one["minutes"]),
            )
            for one in csv.DictReader(lines)
        ]


def page(name: str, experiment: StudyExperiment, rows: Sequence[Row]) -> str:
    """The page of a study: what was done, each fold, and the means over folds."""
    classes, folds = list(dict.fromkeys(row.class_name for row in rows)), sorted({row.fold for row in rows})
    lines = [
        f"# {experiment.title}",
        "",
        experiment.text.strip(),
        "",
        f"Made by `python docs/make_folds.py {name}`.",
        "",
        f"| fold | validates | {' | '.join(f'{one} IoU' for one in classes)} | minutes |",
        "|---" * (len(classes) + 3) + "|",
    ]
    for fold in folds:
        own = [row for row in rows if row.fold == fold]
        cells = [f"{row.iou:.3f}" for row in own]
        lines.append(f"| {fold} | {own[0].validates} | {' | '.join(cells)} | {own[0].minutes:.1f} |")
    lines += [
        "",
        f"| mean of {len(folds)} folds | {' | '.join(SCORES)} |",
        "|---" * (len(SCORES) + 1) + "|",
        *(f"| {one} | {' | '.join(_means([row for row in rows if row.class_name == one]))} |" for one in classes),
        "",
        "Each fold is scored on what its network has never seen, all voxels of the fold together. Intervals hold 95 %: "
        "Student's t with the variance that folds need because they share training data (Nadeau and Bengio 2003).",
        "",
        experiment.finding.strip(),
    ]
    return "\n".join(lines) + "\n"


def _means(rows: Sequence[Row]) -> list[str]:
    """The mean of each score over folds, with its interval where there are folds enough."""
    sizes = fmean(row.train_vox for row in rows), fmean(row.validate_vox for row in rows)
    return [_mean([getattr(row, name.lower()) for row in rows], sizes) for name in SCORES]


def _mean(values: Sequence[float], sizes: tuple[float, float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    if len(known) < len(values):
        return "-"
    found = mean_over_folds(known, *sizes, bounds=(0.0, 1.0))
    return f"{fmean(known):.3f}" + ("" if found.low is None else f" ({found.low:.3f} to {found.high:.3f})")


if __name__ == "__main__":
    main()
