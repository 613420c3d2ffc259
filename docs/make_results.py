"""Trains the networks of `docs/results`: `python docs/make_results.py NAME --work FOLDER [--minutes 60]`.

Each variant of an experiment is trained once for each seed and scored on a volume that no training has seen. Trainings
that are finished are kept, one that was interrupted resumes, so the same command continues where the last one stopped;
when the minutes are over no further training begins. The table is made of what is there: `NAME.csv`, a row for each
run and class, and `NAME.md`, which is written from it.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from experiments import EXPERIMENTS, Experiment, Score, Variant
from scipy.stats import t as student

import cristae
from cristae.data.files import write_text
from cristae.data.open import open_data

FOLDER = Path(__file__).parent / "results"
RECIPES = Path(__file__).parents[1] / "recipes"
COLUMNS = (
    *("variant", "seed", "class", "validation_f1"),
    *("test_f1", "test_iou", "test_precision", "test_recall", "test_ap", "minutes"),
)
SCORES: dict[Score, str] = {"F1": "test_f1", "precision": "test_precision", "recall": "test_recall", "AP": "test_ap"}
"""The column of each score."""


@dataclass(frozen=True)
class Row:
    """What one run reached in one class."""

    variant: str
    seed: int
    class_name: str
    validation_f1: float
    """On the validation regions, with the weights that were kept."""
    test_f1: float
    test_iou: float
    test_precision: float
    test_recall: float
    test_ap: float
    minutes: float
    """That the training took, the validation of its epochs included."""


def main() -> None:
    """Train what is missing, then write the table."""
    asked = options_of_work(__doc__, EXPERIMENTS, minutes="begin no training after these").parse_args()
    experiment, end = EXPERIMENTS[asked.name], time.monotonic() + 60 * asked.minutes
    table = FOLDER / f"{asked.name}.csv"
    write_rows(table, trained(experiment, asked.work / asked.name, end))
    write_text(table.with_suffix(".md"), page(asked.name, experiment, read_rows(table)))


def options_of_work(said: str | None, names: Iterable[str], *, minutes: str) -> argparse.ArgumentParser:
    """What is asked of a script that trains: what to make, where to keep the trainings, and for how long."""
    options = argparse.ArgumentParser(description=said, formatter_class=argparse.RawDescriptionHelpFormatter)
    if names:
        options.add_argument("name", choices=names)
    options.add_argument("--work", type=Path, required=True, help="where trainings are kept")
    options.add_argument("--minutes", type=float, default=math.inf, help=minutes)
    return options


def trained(experiment: Experiment, work: Path, end: float) -> Iterator[Row]:
    """The rows of all runs, first those of the first seed; of runs that are not there, as long as time is left."""
    for seed, (name, variant) in itertools.product(range(experiment.seeds), experiment.variants.items()):
        place = work / run_name(name, seed)
        scores = place / "test.csv"
        if not scores.exists():
            if time.monotonic() > end:
                continue
            train_and_score(experiment, variant, seed, place)
        yield from rows_of(name, seed, place)


def run_name(variant: str, seed: int) -> str:
    """Of a run and of its folder."""
    return re.sub(r"\W+", "-", f"{variant}-{seed}")


def changes_of(experiment: Experiment, variant: Variant, seed: int, name: str) -> tuple[str, ...]:
    """What is changed in the recipe of a variant."""
    return (*experiment.settings, *variant.settings, f"seed={seed}", f"name={name}")


def train_and_score(experiment: Experiment, variant: Variant, seed: int, place: Path) -> None:
    """Train a run, predict the volume to test on and keep its scores as `test.csv` beside the run."""
    changes = changes_of(experiment, variant, seed, place.name)
    recipe = cristae.load_recipe(RECIPES / variant.recipe, changes)
    print(f"{place.name}: {', '.join(changes)}", flush=True)
    run = cristae.train(recipe, out=place / "run", resume=(place / "run").exists())
    truth = open_data(recipe.data, recipe.folder).test[0].volume
    options = cristae.PredictOptions(probabilities=True)
    prediction = cristae.predict([run], truth, out=place / "prediction.zarr", options=options)
    cristae.evaluate({run.id: prediction}, truth, classes=recipe.data.classes, out=place / "test.csv")


def rows_of(name: str, seed: int, place: Path) -> list[Row]:
    """What the files of a run say, for each class."""
    validation, test = scores_in(place / "run" / "scores.csv"), scores_in(place / "test.csv")
    minutes = minutes_of(place / "run")
    classes = [one for metric, one in test if metric == "F1" and one not in ("all", "foreground")]
    kept = [[test[metric, one] for metric in ("F1", "Jaccard", "PPV", "sensitivity", "AP")] for one in classes]
    return [
        Row(name, seed, one, validation["F1", one], *scores, minutes) for one, scores in zip(classes, kept, strict=True)
    ]


def minutes_of(run: Path) -> float:
    """That a training took, by the last line of its log."""
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as lines:
        return float(list(csv.DictReader(lines))[-1]["seconds"]) / 60


def scores_in(path: Path) -> dict[tuple[str, str], float]:
    """Scores pooled over voxels, by metric and class."""
    with path.open(encoding="utf-8", newline="") as lines:
        return {
            (row["metric"], row["class"]): float(row["value"])
            for row in csv.DictReader(lines)
            if "pooled" in row["rule"]
        }


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Keep rows as a table, with the digits that matter."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for row in rows:
        numbers = [f"{getattr(row, column):.4f}" for column in COLUMNS[3:-1]]
        lines.writerow([row.variant, row.seed, row.class_name, *numbers, f"{row.minutes:.1f}"])
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[Row]:
    """The rows that `write_rows` wrote."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Row(one["variant"], int(one["seed"]), one["class"], *(float(one[column]) for column in COLUMNS[3:]))
            for one in csv.DictReader(lines)
        ]


def page(name: str, experiment: Experiment, rows: Sequence[Row]) -> str:
    """The page of an experiment: what was done, its table, and the differences between variants."""
    classes = list(dict.fromkeys(row.class_name for row in rows))
    lines = [
        f"# {experiment.title}",
        "",
        experiment.text.strip(),
        "",
        f"Made by `python docs/make_results.py {name}`.",
        "",
    ]
    columns = [(one, score) for one in classes for score in experiment.scores]
    lines += [f"| variant | runs | {' | '.join(f'{one} {score}' for one, score in columns)} | minutes a run |"]
    lines += ["|---" * (len(columns) + 3) + "|"]
    for variant in experiment.variants:
        found = chosen([row for row in rows if row.variant == variant], experiment.best)
        if found:
            cells = [
                interval([getattr(row, SCORES[score]) for row in found if row.class_name == one])
                for one, score in columns
            ]
            seeds, minutes = {row.seed for row in found}, np.mean([row.minutes for row in found])
            lines.append(f"| {variant} | {len(seeds)} | {' | '.join(cells)} | {minutes:.1f} |")
    lines += [
        "",
        "Means of scores on the test volume over runs, with 95 % intervals (Student's t)."
        + _selection(experiment, rows),
    ]
    differences = list(compared(experiment.pairs, rows, classes))
    if differences:
        lines += ["", f"| difference, run by run of the same seed | runs | {' | '.join(f'{c} F1' for c in classes)} |"]
        lines += ["|---" * (len(classes) + 2) + "|", *differences]
    lines += ["", experiment.finding.strip()]
    return "\n".join(lines) + "\n"


def _selection(experiment: Experiment, rows: Sequence[Row]) -> str:
    best = experiment.best
    if best is None or len({row.seed for row in rows}) <= best:
        return ""
    return f" Of each variant the {best} runs with the largest sum of F1 on the validation regions count."


def chosen(rows: Sequence[Row], best: int | None) -> list[Row]:
    """The rows of the runs with the largest sum over classes of the F1 on validation regions; None keeps all."""
    sums: dict[int, float] = {}
    for row in rows:
        sums[row.seed] = sums.get(row.seed, 0) + (0 if math.isnan(row.validation_f1) else row.validation_f1)
    kept = sorted(sums, key=lambda seed: -sums[seed])[:best]
    return [row for row in rows if row.seed in kept]


def compared(pairs: Sequence[tuple[str, str]], rows: Sequence[Row], classes: Sequence[str]) -> Iterator[str]:
    """For each pair of variants the mean difference between runs of the same seed, which draw alike."""
    found: Mapping[tuple[str, int, str], float] = {(r.variant, r.seed, r.class_name): r.test_f1 for r in rows}
    for one, other in pairs:
        seeds = sorted({seed for variant, seed, _ in found if variant == one} & {s for v, s, _ in found if v == other})
        if seeds:
            cells = [interval([found[one, seed, c] - found[other, seed, c] for seed in seeds], "+") for c in classes]
            yield f"| {one} - {other} | {len(seeds)} | {' | '.join(cells)} |"


def interval(values: Sequence[float], sign: str = "") -> str:
    """The mean of values with its 95 % interval (Student's t), or alone where there is one value; a dash where it is
    not defined, such as the precision of runs that find nothing."""
    if np.isnan(values).any():
        return "-"
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:{sign}.3f}"
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{mean:{sign}.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
