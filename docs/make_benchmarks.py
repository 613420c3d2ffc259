"""Runs the benchmarks of `docs/results/benchmark-*`.

    python docs/make_benchmarks.py NAME --work FOLDER [--workers 2] [--minutes 60]

Each is a plan of `recipes/plans`, run as `cristae benchmark PLAN --out FOLDER/NAME` runs it: the same command resumes
it, and when the minutes are over the job that runs is interrupted as by Ctrl-C. Of what is finished come
`benchmark-NAME.csv`, the ranking with its costs, `benchmark-NAME.md`, written from it, and `benchmark-NAME.html`, the
page that a benchmark makes.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean

from make_folds import interruptibly
from make_results import FOLDER, RECIPES, options_of_work

import cristae
from cristae.benchmark.collect import collect
from cristae.data.files import write_text
from cristae.recipe.benchmark_folder import PLAN, RESULTS, read_benchmark


@dataclass(frozen=True)
class Experiment:
    """What is asked, what was done and what it says; Markdown."""

    title: str
    text: str
    finding: str


EXPERIMENTS: Mapping[str, Experiment] = {
    "emnet-cardiac-quick": Experiment(
        "A first look at heart muscle: five small networks",
        """
The preset `quick` on the 20 tiles of `emnet-cardiac`, which come from five sections that are far apart: five small
networks of different kinds learn two thirds of the sections and are scored on the others, in turn, for 10 epochs of 160
patches of 192 x 192 pixels. Two trainings ran side by side on two processor cores that other programs slowed.
""",
        """
The narrow U-Net is ahead of each other network in each of the three folds, and the FCN and the ResNet are behind the
other three in each; still the tests decide nothing, and rightly so: three folds are fewer than any of them can use. So
a first look says where to look on: the U-Net, the EM-net and SegET, in more folds and for longer. It also says that one
score is not all: by panoptic quality, which counts whole mitochondria, the EM-net (mean 0.369) is not behind the U-Net
(0.351), since they lie side by side and it is the gaps that count.
""",
    ),
    "emnet-cardiac-em-stellar": Experiment(
        "Fourteen networks on heart muscle mitochondria",
        """
The preset `em-stellar` on the 20 tiles of `emnet-cardiac`, at a quarter of the networks' width: each of EM-stellar's
fourteen networks learns one half of the five sections and is scored on the other, in turn.
""",
        "",
    ),
    "cdeep3m-mito-labels": Experiment(
        "How many labelled slices do mitochondria need?",
        """
The preset `how-many-labels` on `cdeep3m-mito`: a narrow U-Net learns ever more labelled slices of each of three folds,
two trainings each of 1,000 updates of four patches of 192 x 192 pixels, and is scored on the stretch of slices that the
fold holds out.
""",
        """
From one labelled slice to two the score rises in each of the three folds, by 0.015 to 0.024, about as much as two
trainings on the same slices differ. From there the curve is flat: the power law through it would gain nothing from
twice the labels. That is said of this network and this length of training, not of mitochondria: with 250 updates in
place of 1,000 the score was 0.52, so the length of training matters more here than labels do. Slices of one stack are
also much alike, and the curve says nothing of another sample. Three folds are too few for any test, so where the
curve bends is seen, but not proved. To know it of your own data, let the preset train the network that you mean to
use, for as long as you mean to.
""",
    ),
}


@dataclass(frozen=True)
class Row:
    """One cell by the score that cells are ranked by."""

    cell: str
    rank_low: int
    rank_high: int
    mean: float
    low: float
    """The interval holds 95 %; NaN where there are too few trainings for one."""
    high: float
    trainings: int
    parameters: int
    gflop: float
    """Of the convolutions of one patch."""
    updates: int
    """Of one training."""
    train_minutes: float
    """Of one training, the validation of its epochs included."""
    peak_gib: float
    """NaN where all trainings were interrupted once."""


def main() -> None:
    """Run what is missing, then write the table and the pages."""
    options = options_of_work(__doc__, EXPERIMENTS, minutes="interrupt it after these")
    options.add_argument("--workers", type=int, help="processes that train side by side")
    asked = options.parse_args()
    place = asked.work / asked.name
    if asked.minutes > 0:
        with interruptibly(place, asked.minutes):
            cristae.run_benchmark(
                cristae.load_plan(RECIPES / "plans" / f"{asked.name}.yaml"),
                out=place,
                resume=place.exists(),
                options=cristae.ClusterOptions(workers=asked.workers),
            )
    collect(place)
    table = FOLDER / f"benchmark-{asked.name}.csv"
    write_rows(table, rows_of(place))
    write_text(said_at(table), "".join(f"{row['text']}\n" for row in records(place, "summary")))
    write_text(table.with_suffix(".md"), page(asked.name, read_rows(table), read_said(table)))
    recipe = str(cristae.load_plan(place / PLAN).recipe)  # where it lies on this machine
    shown = (place / "report.html").read_text(encoding="utf-8").replace(recipe, f"recipes/{Path(recipe).name}")
    write_text(table.with_suffix(".html"), shown)


def rows_of(place: Path) -> Iterator[Row]:
    """The ranking of a benchmark folder, with what trainings cost on average."""
    facts = read_benchmark(place)
    cells = {one["cell"]: one for one in records(place, "cells")}
    jobs = [one for one in records(place, "jobs") if one["state"] == "complete"]
    for row in records(place, "ranking"):
        if (row["metric"], row["class"]) != (facts.metric, facts.class_name):
            continue
        own, cell = [job for job in jobs if job["cell"] == row["cell"]], cells[row["cell"]]
        yield Row(
            cell=row["label"],
            rank_low=int(row["rank_low"]),
            rank_high=int(row["rank_high"]),
            mean=float(row["mean"]),
            low=float(row["low"] or "nan"),
            high=float(row["high"] or "nan"),
            trainings=len(own),
            parameters=int(cell["parameters"]),
            gflop=float(cell["conv_gflop"]),
            updates=round(fmean(float(job["updates"]) for job in own)),
            train_minutes=fmean(float(job["train_seconds"]) for job in own) / 60,
            peak_gib=max((float(job["peak_bytes"]) for job in own if job["peak_bytes"]), default=math.nan) / 2**30,
        )


def records(place: Path, name: str) -> list[dict[str, str]]:
    """The rows of a table of a benchmark folder."""
    with (place / RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def write_rows(path: Path, rows: Iterator[Row]) -> None:
    """Keep rows as a table, with the digits that matter."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(field.name for field in fields(Row))
        for row in rows:
            scores = [f"{value:.4f}" for value in (row.mean, row.low, row.high)]
            costs = [row.parameters, f"{row.gflop:.2f}", row.updates, f"{row.train_minutes:.1f}", f"{row.peak_gib:.2f}"]
            lines.writerow([row.cell, row.rank_low, row.rank_high, *scores, row.trainings, *costs])


def read_rows(path: Path) -> list[Row]:
    """The rows that `write_rows` wrote."""
    kinds = {"str": str, "int": int, "float": float}
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Row(**{field.name: kinds[str(field.type)](one[field.name]) for field in fields(Row)})
            for one in csv.DictReader(lines)
        ]


def said_at(table: Path) -> Path:
    """Where the sentences of a benchmark are kept."""
    return table.with_suffix(".txt")


def read_said(table: Path) -> list[str]:
    """The sentences that a benchmark said of its results."""
    return said_at(table).read_text(encoding="utf-8").splitlines()


def page(name: str, rows: Sequence[Row], said: Sequence[str]) -> str:
    """The page of a benchmark: what was done, what the benchmark says of it, and the ranking."""
    experiment = EXPERIMENTS[name]
    lines = [
        f"# {experiment.title}",
        "",
        experiment.text.strip(),
        "",
        f"Made by `python docs/make_benchmarks.py {name}`, which runs `cristae benchmark recipes/plans/{name}.yaml`; "
        f"[the page that it made](benchmark-{name}.html) has figures, images and all scores.",
        "",
        "| | ranks | IoU | 95 % | parameters | GFLOP a patch | updates | minutes | memory, GiB |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_line, rows),
        "",
        "Minutes and updates are those of one training. What the benchmark says of it:",
        "",
        *(f"- {one}" for one in said),
        "",
        experiment.finding.strip(),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _line(row: Row) -> str:
    ranks = str(row.rank_low) if row.rank_low == row.rank_high else f"{row.rank_low} to {row.rank_high}"
    interval = "-" if math.isnan(row.low) else f"{row.low:.3f} to {row.high:.3f}"
    memory = "-" if math.isnan(row.peak_gib) else f"{row.peak_gib:.1f}"
    costs = f"{row.parameters:,} | {row.gflop:.1f} | {row.updates} | {row.train_minutes:.1f} | {memory}"
    return f"| {row.cell} | {ranks} | {row.mean:.3f} | {interval} | {costs} |"


if __name__ == "__main__":
    main()
