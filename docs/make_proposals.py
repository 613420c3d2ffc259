"""Trains what `cristae recipe new` proposes for each public set, and the hand-made recipe of the set for as long.

    python docs/make_proposals.py --work FOLDER [--train-minutes 30] [--minutes 600] [--sets isbi2012 platelet-em]

Both see the same split and are as long as a few of their steps say that they may be. Trainings that are finished are
kept, one that was interrupted resumes, so the same command continues where the last one stopped; when `--minutes` are
over no further training begins. `docs/results/proposals.csv` has a row for each training, and `proposals.md` is written
from it.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cristae
from cristae.data.files import write_text
from cristae.data.open import complete_data
from cristae.recipe.load import load_recipe
from cristae.recipe.proposal.facts import Measured
from cristae.recipe.proposal.length import plan_length
from cristae.recipe.recipe import Recipe

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "results" / "proposals.csv"
HAND_MADE = {
    "axondeepseg-sem": "axondeepseg-unet",
    "cdeep3m-mito": "cdeep3m-mito-unet",
    "drosophila-vnc": "drosophila-vnc-unet",
    "emnet-cardiac": "emnet-cardiac-unet",
    "flyem-medulla-fibsem": "flyem-medulla-unet",
    "isbi2012": "isbi2012-unet",
    "platelet-em": "platelet-em-unet",
}
"""The recipe of each set that has images; `em-stellar-cardiac` has none."""
ALLOWED = 0.02
"""How much worse in mean IoU a proposal may be."""
KINDS = ("proposed", "hand-made")


@dataclass(frozen=True)
class Row:
    """One training."""

    set: str
    kind: str
    """`proposed` or `hand-made`."""
    network: str
    patch: str
    updates: int
    train_minutes: float
    """That it was allowed."""
    minutes: float
    """That it took, validation included."""
    mean_iou: float
    """On the validation regions, pooled over their voxels, with the weights that were kept."""


def main() -> None:
    """Train what is missing, then write the table and the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, required=True, help="where recipes and runs are kept")
    options.add_argument("--train-minutes", type=float, default=30.0, help="of each training")
    options.add_argument("--minutes", type=float, default=math.inf, help="begin no training after these")
    options.add_argument("--sets", nargs="*", choices=HAND_MADE, default=list(HAND_MADE))
    asked = options.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    found = list(trained(asked.sets, asked.work, asked.train_minutes, end))
    write_rows(TABLE, merged(read_rows(TABLE) if TABLE.exists() else [], found))
    write_text(TABLE.with_suffix(".md"), page(read_rows(TABLE)))


def trained(sets: Iterable[str], work: Path, minutes: float, end: float) -> Iterator[Row]:
    """The rows of all sets; of trainings that are not there, as long as time is left."""
    for name in sets:
        for kind in KINDS:
            place = work / f"{name}-{minutes:g}" / kind
            done = place / "row.csv"
            if not done.exists():
                if time.monotonic() > end:
                    continue
                write_rows(done, [train(name, kind, place, minutes)])
            yield from read_rows(done)


def train(name: str, kind: str, place: Path, minutes: float) -> Row:
    """Train, or finish, one recipe."""
    path = place / "recipe.yaml"
    if not path.exists():
        place.mkdir(parents=True, exist_ok=True)
        (propose if kind == "proposed" else lengthen)(name, path, minutes)
    recipe = load_recipe(path)
    print(f"{name}, {kind}: {recipe.training.epochs} epochs", flush=True)
    began = time.monotonic()
    run = cristae.train(recipe, out=place / "run", resume=(place / "run").exists())
    updates, took = logged(place / "run", (time.monotonic() - began) / 60)
    patch = " x ".join(map(str, recipe.sampling.size or ()))
    return Row(name, kind, network_of(recipe), patch, updates, minutes, took, mean_iou(run.path / "scores.csv"))


def propose(name: str, path: Path, minutes: float) -> None:
    """The proposal for a set, on the split of its hand-made recipe."""
    hand = load_recipe(ROOT / "recipes" / f"{HAND_MADE[name]}.yaml")
    draft = path.with_name("proposed.yaml")
    draft.unlink(missing_ok=True)  # of an interrupted one
    options = cristae.ProposalOptions(minutes=minutes, task=hand.data.task)
    cristae.new_recipe(draft, set_name=name, options=options)
    recipe, data = load_recipe(draft), complete_data(hand.data)
    split = {"train": data.train, "validate_": data.validate_}
    same = recipe.model_copy(update={"data": recipe.data.model_copy(update=split)})
    write_text(path, cristae.recipe_to_yaml(same))


def lengthen(name: str, path: Path, minutes: float) -> None:
    """The hand-made recipe of a set with as many epochs and steps as fit into the minutes."""
    source = ROOT / "recipes" / f"{HAND_MADE[name]}.yaml"
    found = cristae.doctor(source).forecast
    assert found is not None, "recipes of public sets can be trained"
    length = plan_length(minutes, Measured(found.seconds_per_batch, found.validation_seconds, found.peak_bytes))
    batch = load_recipe(source).training.batch_size
    changes = [f"training.epochs={length.epochs}", f"sampling.per_epoch={length.steps * batch}"]
    if length.validation_batches is not None:
        drawn = f"{{name: patches, batches: {length.validation_batches}, augment: false}}"
        changes.append(f"training.validation={drawn}")
    write_text(path, cristae.recipe_to_yaml(load_recipe(source, changes)))


def network_of(recipe: Recipe) -> str:
    """Name of the network, with the slices that it sees."""
    slices = recipe.network.in_slices
    return f"{recipe.network.model_dump()['name']}{f', {slices} slices' if slices > 1 else ''}"


def logged(run: Path, otherwise: float) -> tuple[int, float]:
    """Updates, and minutes that they took with the validation of their epochs."""
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as lines:
        last = list(csv.DictReader(lines))[-1]
    return int(last["step"]), float(last["seconds"]) / 60 if last.get("seconds") else otherwise


def mean_iou(path: Path) -> float:
    """The mean of all classes' IoU, the background's included, pooled over the voxels of all volumes."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if (row["metric"], row["class"]) == ("mIoU", "all")]
    pooled = [row for row in rows if "pooled" in row["rule"]]
    return float(pooled[-1]["value"])  # of all volumes together, where there are several


def merged(before: Sequence[Row], found: Sequence[Row]) -> list[Row]:
    """The rows that are kept already, those of the same set and kind replaced, in the order of the sets."""
    rows = {(row.set, row.kind): row for row in (*before, *found)}
    return [rows[name, kind] for name in HAND_MADE for kind in KINDS if (name, kind) in rows]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Keep rows as a table, with the digits that matter."""
    text = io.StringIO()
    lines = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    lines.writeheader()
    for row in rows:
        lines.writerow({**asdict(row), "minutes": f"{row.minutes:.1f}", "mean_iou": f"{row.mean_iou:.4f}"})
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[Row]:
    """The rows that `write_rows` wrote."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Row(
                one["set"], one["kind"], one["network"], one["patch"], int(one["updates"]),
                float(one["train_minutes"]), float(one["minutes"]), float(one["mean_iou"]),
            )
            for one in csv.DictReader(lines)
        ]  # fmt: skip


def page(rows: Sequence[Row]) -> str:
    """The page: a line for each set whose two trainings are there."""
    found = {(row.set, row.kind): row for row in rows}
    lines = [
        "# What `cristae recipe new` proposes",
        "",
        "For each public set with images, the recipe that `cristae recipe new` proposes and the hand-made one of the",
        "folder `recipes`, trained on the same split for the same minutes: each is as long as a few of its own steps,",
        "measured before, say that it may be. Mean IoU is that of the validation regions, pooled over their voxels,",
        "the background included; one training each, and after some hundred updates the next one may differ by",
        "several hundredths. Minutes are those of the training, with whatever else the machine did.",
        "",
        "Made by `python docs/make_proposals.py`.",
        "",
        "| set | minutes allowed | proposed | updates | minutes | mean IoU "
        "| hand-made | updates | minutes | mean IoU | difference |",
        "|---" * 11 + "|",
    ]
    worse = []
    for name in HAND_MADE:
        pair = [found.get((name, kind)) for kind in KINDS]
        proposed, hand = pair
        if proposed is None or hand is None:
            continue
        difference = proposed.mean_iou - hand.mean_iou
        worse += [name] if difference < -ALLOWED else []
        cells = " | ".join(
            f"{one.network}, {one.patch} | {one.updates:,} | {one.minutes:.1f} | {one.mean_iou:.3f}"
            for one in (proposed, hand)
        )
        lines.append(f"| {name} | {proposed.train_minutes:g} | {cells} | {difference:+.3f} |")
    verdict = (
        f"Worse by more than {ALLOWED:g}: {', '.join(worse)}." if worse else f"None is worse by more than {ALLOWED:g}."
    )
    return "\n".join([*lines, "", verdict]) + "\n"


if __name__ == "__main__":
    main()
