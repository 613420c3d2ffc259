"""What each normalisation loses on volumes of other brightness, contrast, drift or polarity than it was trained on.

One small U-Net is trained for each on the heart muscle of the set emnet-cardiac, without augmentation of grey values,
and scored on the four tiles of the section that is held out: as they are, and changed. Trainings and scores that are
there already are not repeated, so that the script continues where it was stopped:

    python -m benchmarks.brightness --work build/brightness --out docs/results
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from cristae.data.image import image_of_array
from cristae.data.open import open_data
from cristae.data.volume import Volume
from cristae.inference.config import PredictOptions
from cristae.recipe.load import parse_recipe
from cristae.recipe.recipe import Recipe
from cristae.workflows.predict import predict
from cristae.workflows.train import train

RECIPE = """\
name: brightness
seed: {seed}
data:
  set: emnet-cardiac
  task: mitochondria
  train: [{{volume: tiles, images: ["?000[0-3]"]}}]
  validate: [{{volume: tiles, images: ["?0005"]}}]
normalize: {normalize}
sampling: {{name: random, size: [128, 128], per_epoch: 256, foreground_share: 0.5}}
augment: [{{name: flip}}, {{name: rotate90}}]
model: {{name: unet_bn, widths: [8, 16, 32]}}
loss: {{name: cross_entropy_dice}}
training: {{epochs: {epochs}, batch_size: 8, learning_rate: 3e-3, schedule: {{name: cosine}}}}
device: cpu
"""
NORMALIZATIONS = {
    "percentiles, training": "{name: percentiles, scope: training}",
    "percentiles, volume": "{name: percentiles, scope: volume}",
    "percentiles, slice": "{name: percentiles, scope: slice}",
    "percentiles, patch": "{name: percentiles, scope: patch}",
    "z_score, training": "{name: z_score, scope: training}",
    "z_score, volume": "{name: z_score, scope: volume}",
    "z_score, slice": "{name: z_score, scope: slice}",
    "z_score, patch": "{name: z_score, scope: patch}",
    "min_max, volume": "{name: min_max, scope: volume}",
    "min_max, patch": "{name: min_max, scope: patch}",
    "fixed_range": "{name: fixed_range, low: 0, high: 255}",
    "histogram_matching": "{name: histogram_matching}",
    "local": "{name: local, scope: volume, reach_vox: 32}",
    "local, wide": "{name: local, scope: volume, reach_vox: 96}",
}
AGAIN = "percentiles, training"
"""The one that is also predicted with its range found again on each volume."""


def _sections(grey: np.ndarray) -> np.ndarray:
    """Each slice with a gain and an offset of its own."""
    rng = np.random.default_rng(1)
    gain, offset = rng.uniform(0.6, 1.4, len(grey)), rng.uniform(-40, 40, len(grey))
    return (grey - 128) * gain[:, None, None] + 128 + offset[:, None, None]


CHANGES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda grey: grey,
    "brighter by 40": lambda grey: grey + 40,
    "darker by 40": lambda grey: grey - 40,
    "half the contrast": lambda grey: (grey - 128) / 2 + 128,
    "gamma 2": lambda grey: 255 * (grey.clip(0, 255) / 255) ** 2,
    "drift from slice to slice": _sections,
    "shading within slices": lambda grey: grey + np.linspace(-40, 40, grey.shape[2]),
    "16 bits of another detector": lambda grey: 100 * grey + 9000,
    "dark and bright exchanged": lambda grey: 255 - grey,
}
"""Of 8-bit grey values as float64; nothing is cut off, as a detector with more bits would not."""


Key = tuple[str, str, str]
"""Normalisation, seed, change."""


def main() -> None:
    """Train what is missing, score what is missing, write the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, required=True, help="where runs and scores are kept")
    options.add_argument("--out", type=Path, required=True, help="where the table is written")
    options.add_argument("--epochs", type=int, default=8)
    options.add_argument("--seeds", type=int, default=1)
    asked = options.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    scores = Scores(asked.work / f"scores-{asked.epochs}.csv")
    for seed in range(asked.seeds):
        for name in NORMALIZATIONS:
            score(name, seed, asked.epochs, asked.work, scores)
    write_table(scores.known, asked.out, epochs=asked.epochs, seeds=asked.seeds)


class Scores:
    """What has been scored, on disk after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[Key, float] = {}
        if path.is_file():
            with path.open(newline="") as file:
                self.known = {(row[0], row[1], row[2]): float(row[3]) for row in list(csv.reader(file))[1:]}

    def add(self, key: Key, iou: float) -> None:
        """Keep one more."""
        self.known[key] = iou
        with self.path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["normalisation", "seed", "change", "iou"])
            writer.writerows([*key, f"{value:.6f}"] for key, value in self.known.items())


def score(name: str, seed: int, epochs: int, work: Path, scores: Scores) -> None:
    """Train with one normalisation, where that is not done, and score all changes that are not scored."""
    statistics = ("run", "volume") if name == AGAIN else ("run",)
    wanted = [(how, change) for how in statistics for change in CHANGES]
    todo = [(how, change) for how, change in wanted if (_label(name, how), str(seed), change) not in scores.known]
    if not todo:
        return
    place = work / f"{name.replace(', ', '-')}-{epochs}-{seed}"
    recipe = parse_recipe(RECIPE.format(normalize=NORMALIZATIONS[name], seed=seed, epochs=epochs), name)
    run = train(recipe, out=place, resume=place.exists())
    grey, truth = tiles_of(run.recipe)
    for how, change in todo:
        changed = CHANGES[change](grey.astype(np.float64))
        volume = Volume("changed", image_of_array(np.round(changed).astype(np.int32)))
        out = place / "changed.zarr"
        shutil.rmtree(out, ignore_errors=True)
        options = PredictOptions(normalize="volume" if how == "volume" else "run")
        found = predict([run], volume, out=out, options=options).labels[0].read() == 1
        iou = float((found & truth).sum() / (found | truth).sum())
        scores.add((_label(name, how), str(seed), change), iou)
        shutil.rmtree(out, ignore_errors=True)
        print(f"{_label(name, how)}, seed {seed}, {change}: {iou:.4f}", flush=True)


def _label(name: str, how: str) -> str:
    return name if how == "run" else f"{name}, --normalize volume"


def tiles_of(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Grey values and masks (Z, Y, X) of the held-out tiles."""
    parts = open_data(recipe.data, recipe.folder).validate
    grey = [part.volume.image.read(part.box) for part in parts]
    truth = [part.volume.labels[0].read(part.box) == 1 for part in parts]
    return np.concatenate(grey), np.concatenate(truth)


def write_table(known: Mapping[Key, float], out: Path, *, epochs: int, seeds: int) -> None:
    """`brightness.csv` with every score, `brightness.md` with what each normalisation loses."""
    out.mkdir(parents=True, exist_ok=True)
    scored = {name for name, _, _ in known}
    names = [_label(name, how) for name in NORMALIZATIONS for how in ("run", "volume") if _label(name, how) in scored]
    means = {
        (name, change): float(np.mean([known[name, str(seed), change] for seed in range(seeds)]))
        for name in names
        for change in CHANGES
    }
    with (out / "brightness.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["normalisation", "change", "mean_iou", "loss"])
        for (name, change), value in means.items():
            writer.writerow([name, change, f"{value:.4f}", f"{means[name, FIRST] - value:.4f}"])
    heads = ["normalisation", "IoU as it is", *CHANGES_ALONE, "most but the last", "mean IoU but the last"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in names:
        before = means[name, FIRST]
        losses = [before - means[name, change] for change in CHANGES_ALONE]
        cells = [before, *losses, max(losses[:-1]), before - float(np.mean(losses[:-1]))]
        rows.append(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    (out / "brightness.md").write_text(HEAD.format(epochs=epochs, seeds=seeds) + "\n".join(rows) + "\n")


FIRST, *CHANGES_ALONE = CHANGES
HEAD = """# What normalisations lose on other grey values

IoU of mitochondria in the four held-out tiles of emnet-cardiac, and how much of it is lost when their grey values are
changed: small U-Nets, {epochs} epochs of 256 patches of 128 x 128, {seeds} seed(s), no augmentation of grey values.
Made by `python -m benchmarks.brightness --epochs {epochs} --seeds {seeds}`; the means over seeds are in
`brightness.csv`. Differences of a few hundredths are those of one training to the next: by the last column the first
few are equal. Training tiles are images of one slice each, so `volume` and `slice` train alike here and differ in what
is predicted. Exchanging dark and bright is not forgiven by any of these, and is not meant to be: `predict` warns of it
where the histogram shows it, which that of these images does not.

"""

if __name__ == "__main__":
    main()
