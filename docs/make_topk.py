"""Ten instances of one recipe and their ensembles: `python docs/make_topk.py --work FOLDER [--minutes 60]`.

The instances are a study that resumes: the same command continues where the last one stopped. Once all are trained,
`cristae ensemble --rule top --test` orders them by validation and scores the averages of the best k on test regions.
`docs/results/top-k.csv` has a row for each k, and `top-k.md` is written from it.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from make_folds import interruptibly
from make_results import FOLDER, RECIPES, options_of_work
from scipy import stats

import cristae
from cristae.data.files import write_text

RECIPE = "emnet-cardiac-unet.yaml"
SETTINGS = (
    "instances={count: 10}",
    "data.train=[{volume: tiles, images: ['?000[01]']}]",
    "data.validate=[{volume: tiles, images: ['?0003']}]",
    "data.test=[{volume: tiles, images: ['?000[25]']}]",
    "model={name: unet_bn, widths: [8, 16, 32, 64]}",
    "sampling.per_epoch=200",
    "training.batch_size=4",
    "training.epochs=8",
    "training.precision=bf16",
)


@dataclass(frozen=True)
class Row:
    """The average of the best k instances by validation."""

    k: int
    instance: int
    """The one that joins, counted from 1."""
    alone: float
    """Its own mean IoU on the test regions."""
    validation: float
    """The average's mean IoU on the validation regions."""
    test: float
    """And on the test regions."""
    low: float
    high: float


def main() -> None:
    """Train what is missing, then write the table."""
    asked = options_of_work(__doc__, (), minutes="interrupt the training after these").parse_args()
    place, chosen = asked.work / "ten", asked.work / "ten-top.yaml"
    recipe = cristae.load_recipe(RECIPES / RECIPE, SETTINGS)
    with interruptibly(place, asked.minutes):
        cristae.train_study(recipe, out=place, resume=place.exists())
    study = cristae.open_study(place)
    if not study.complete:
        return
    if not chosen.exists():
        cristae.ensemble(list(study.runs), out=chosen, options=cristae.EnsembleOptions(rule="top", test=True))
    table = FOLDER / "top-k.csv"
    write_rows(table, rows_of(json.loads(chosen.with_suffix(".json").read_text(encoding="utf-8"))))
    write_text(table.with_suffix(".md"), page(read_rows(table)))


def rows_of(found: dict[str, Any]) -> list[Row]:
    """The rows of what `cristae ensemble` has written."""
    validation, test = found["validation"], found["test"]
    return [
        Row(
            one["k"], one["members"][-1] + 1, test["single"]["scores"][one["members"][-1]], one["score"],
            other["score"], other["low"], other["high"],
        )
        for one, other in zip(validation["top_k"], test["top_k"], strict=True)
    ]  # fmt: skip


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Keep rows as a table."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(field.name for field in fields(Row))
    for row in rows:
        k, instance, *values = astuple(row)
        lines.writerow([k, instance, *(f"{value:.4f}" for value in values)])
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[Row]:
    """The rows that `write_rows` wrote."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Row(int(one["k"]), int(one["instance"]),
                *(float(one[name]) for name in ("alone", "validation", "test", "low", "high")))
            for one in csv.DictReader(lines)
        ]  # fmt: skip


def page(rows: Sequence[Row]) -> str:
    """The table, and how far the ensemble is above its members."""
    alone, full = [row.alone for row in rows], rows[-1]
    half = float(stats.t.ppf(0.975, len(alone) - 1)) * stdev(alone) / math.sqrt(len(alone))
    lines = [
        "# Ten instances and their ensembles",
        "",
        "Ten narrow U-Nets (8 to 64 channels) that differ in nothing but their seeds, on the heart muscle of",
        "`emnet-cardiac`: trained on two sections (8 tiles) for 8 epochs of 50 batches of four patches of 256 x 256",
        "pixels in bfloat16, ordered by their mean IoU on a third section, and scored on two others (8 tiles), by",
        "which nothing was chosen. `cristae ensemble RUNS --rule top --test`.",
        "",
        "Made by `python docs/make_topk.py`.",
        "",
        "| k | joins | alone | average of k, validation | average of k, test | 95 % by tiles |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row.k} | {row.instance} | {row.alone:.4f} | {row.validation:.4f} | {row.test:.4f} "
            f"| {row.low:.4f} to {row.high:.4f} |"
            for row in rows
        ),
        "",
        f"By themselves the ten reach {fmean(alone):.4f} on average (95 % over instances {fmean(alone) - half:.4f} to "
        f"{fmean(alone) + half:.4f}; best {max(alone):.4f}, worst {min(alone):.4f}); all ten together reach "
        f"{full.test:.4f}, {full.test - fmean(alone):+.4f} (95 % {full.test - fmean(alone) - half:+.4f} to "
        f"{full.test - fmean(alone) + half:+.4f}).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
