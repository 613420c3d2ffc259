"""Makes `docs/results/organelle-estimates`: `python docs/make_estimates.py --work FOLDER`, with CRISTAE_DATA set.

A random forest learns from one to three slices of a completely labelled volume and predicts all of it. Then, 4,000
times, ten of the other slices are drawn as if only they were labelled, and the fraction of each class in the volume is
estimated. As the truth is known everywhere, so is how often intervals hold it. Trainings and predictions that are
finished are kept.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

import cristae
from cristae.data.files import write_text
from cristae.data.open import open_data
from cristae.evaluation.comparison import align
from cristae.evaluation.segmentation import Meaning, open_segmentation
from cristae.evaluation.slice_amounts import Amounts, amounts_of
from cristae.metrics.uncertainty.designs import Sample
from cristae.metrics.uncertainty.estimates import Batch, Method, estimate_batch

FOLDER = Path(__file__).parent / "results"
NAME = "organelle-estimates"
DRAWS = 4000
LABELLED = 10
TITLE = """# What labels gain from a prediction

Fractions of whole volumes, estimated from {n} labelled slices that a random forest was not trained on, and its
prediction of all slices. All slices of these volumes are labelled, so the true fraction is known: the {n} were drawn
{draws} times. A half-width is half of the 95 % interval, in percentage points (median of the draws); the gain says how
many times as many labelled slices would be worth as much as the prediction (median). The bias is that of the prediction
alone, which has no interval. Forests are those of `model: random_forest`, filtering slices (2D), the volume (3D), or
slices with a second stage (objects). Made by `python docs/make_estimates.py --work runs`; `{name}.csv` has the same
figures. What they mean: [organelle estimates](../explanation/organelle-estimates.md).

| volume | class | forest | slices | trained on | true | bias | labels alone | covers | corrected | covers | gain |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Study:
    """One volume and the slices that the forest learns from."""

    data_set: str
    task: str
    volume: str
    train: tuple[int, ...]
    validate: int
    """A slice for the scores of the run; it decides nothing."""
    model: str = "{name: random_forest}"
    how: str = "2D"
    """The model in a word."""

    @property
    def name(self) -> str:
        """Of the run."""
        return f"{self.data_set}-{self.task}-{self.how}"

    @property
    def recipe(self) -> cristae.Recipe:
        """A forest in the plane."""
        return cristae.parse_recipe(
            f"name: {self.name}\n"
            f"data:\n  set: {self.data_set}\n  task: {self.task}\n"
            f"  train: [{{volume: {self.volume}, slices: {list(self.train)}}}]\n"
            f"  validate: [{{volume: {self.volume}, slices: [{self.validate}]}}]\n"
            f"model: {self.model}\n",
            self.name,
        )


STUDIES = (
    Study("flyem-medulla-fibsem", "boundary", "medulla", (30, 95, 160), 10),
    Study(
        *("flyem-medulla-fibsem", "boundary", "medulla", (30, 31, 95, 96, 160, 161), 10),
        *("{name: random_forest, ndim: 3}", "3D"),
    ),
    Study("cdeep3m-mito", "mitochondria", "sbem", (2, 10), 18),
    Study(
        *("cdeep3m-mito", "mitochondria", "sbem", (2, 10), 18),
        *("{name: random_forest, objects: {threshold: 0.3}}", "objects"),
    ),
    Study("drosophila-vnc", "mitochondria", "stack1", (2,), 10),
    Study("drosophila-vnc", "five-class", "stack1", (2,), 10),
)


@dataclass(frozen=True)
class Figures:
    """What was found of one class; fractions, not percent."""

    data_set: str
    class_name: str
    forest: str
    slices: int
    trained: int
    truth: float
    predicted: float
    labels_half_width: float
    labels_coverage: float
    corrected_half_width: float
    corrected_coverage: float
    gain: float


def main() -> None:
    """Train and predict what is missing, then draw and write the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, required=True, help="Where runs and predictions go.")
    work: Path = options.parse_args().work
    rows = [row for study in STUDIES for row in figures_of(study, amounts_in(study, work))]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Figures)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in asdict(row).items()})
    write_text(FOLDER / f"{NAME}.csv", buffer.getvalue())
    write_text(FOLDER / f"{NAME}.md", page(rows))
    print(page(rows))


def page(rows: list[Figures]) -> str:
    """The table as Markdown."""
    return TITLE.format(n=LABELLED, draws=DRAWS, name=NAME) + "".join(f"{line_of(row)}\n" for row in rows)


def line_of(row: Figures) -> str:
    """One class."""
    labels, corrected = (
        f"± {100 * width:.2f} | {100 * covered:.1f} %"
        for width, covered in (
            (row.labels_half_width, row.labels_coverage), (row.corrected_half_width, row.corrected_coverage),
        )
    )  # fmt: skip
    bias = 100 * (row.predicted - row.truth)
    first = (
        f"| {row.data_set} | {row.class_name} | {row.forest} | {row.slices} | {row.trained}"
        f" | {100 * row.truth:.2f} % | {bias:+.2f}"
    )
    return f"{first} | {labels} | {corrected} | {row.gain:.1f} |"


def amounts_in(study: Study, work: Path) -> tuple[tuple[str, ...], Amounts]:
    """Class names, and what every slice has in truth and as predicted."""
    recipe, place = study.recipe, work / study.name
    run = cristae.open_run(place) if (place / "summary.json").is_file() else cristae.train(recipe, out=place)
    dataset = open_data(recipe.data, Path())
    volume = next(one for one in dataset.volumes if one.name == study.volume)
    prediction = cristae.predict([run], volume, out=work / f"{study.name}.zarr")
    meaning = Meaning(classes=dataset.classes)
    truth, found = open_segmentation(volume, meaning), open_segmentation(prediction, meaning)
    comparison = align(truth, found)
    amounts = amounts_of(comparison, of="volume", labelled=None, advance=lambda: None)
    return truth.classes.foreground, amounts


def figures_of(study: Study, counted: tuple[tuple[str, ...], Amounts]) -> Iterator[Figures]:
    """Draw slices that were not trained on and estimate the whole volume: these slices and the trained ones."""
    names, amounts = counted
    rest = ~np.isin(amounts.slices, study.train)
    free, known = amounts.of_slices(rest), amounts.of_slices(~rest)
    rng = np.random.default_rng(0)
    places = np.sort(np.argsort(rng.random((DRAWS, len(free.slices))), axis=1)[:, :LABELLED], axis=1)
    sample, share = Sample.of("random", LABELLED, len(free.slices)), free.size.sum() / amounts.size.sum()
    for index, name in enumerate(names):
        y, f, x = free.truth[:, index], free.predicted[:, index], free.size
        control = f - x * f.sum() / x.sum()
        true = y.sum() / x.sum()

        def estimated(method: Method, y: np.ndarray = y, x: np.ndarray = x, v: np.ndarray = control) -> Batch:
            return estimate_batch(y[places], x[places], v[places], sample, method)

        labels, corrected = estimated("labels"), estimated("tuned")
        widths = [float(np.median(share * (one.high - one.low) / 2)) for one in (labels, corrected)]
        covers = [float(np.mean((one.low <= true) & (true <= one.high))) for one in (labels, corrected)]
        whole = (y.sum() + known.truth[:, index].sum()) / amounts.size.sum()
        predicted = amounts.predicted[:, index].sum() / amounts.size.sum()
        yield Figures(
            *(study.data_set, name, study.how, len(amounts.slices), len(study.train), float(whole), float(predicted)),
            *(widths[0], covers[0], widths[1], covers[1]),
            float(np.median((labels.error / corrected.error) ** 2)),
        )


if __name__ == "__main__":
    main()
