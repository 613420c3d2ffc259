"""A benchmark folder as `cristae benchmark` leaves it, made without training: for tests of its page and to time it.

Methods have a quality, folds a difficulty; scores are their sum and noise, so that some methods are told apart and
others not. Statistics are drawn plausibly, not computed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats.ome_zarr import ZarrSpec, create_multiscale
from cristae.inference.prediction import KIND
from cristae.recipe.benchmark_folder import CELLS, HELD_OUT, PLAN, RESULTS, BenchmarkFacts, CellFacts, write_benchmark
from cristae.recipe.benchmark_tables import records_csv, records_json

CLASSES = Classes(names=("background", "mitochondria"))
METRICS = (
    *("Jaccard", "F1", "V_rand", "V_info", "accuracy", "sensitivity", "specificity", "PPV", "NPV", "AUC-ROC", "AP"),
    *("PQ", "SQ", "RQ", "VI", "adapted_rand_error", "clDice", "components_TP", "ECE", "V_rand_fixed", "V_info_fixed"),
    *(f"{name}_slice_mean" for name in ("F1", "Jaccard", "PPV", "NPV", "sensitivity", "specificity")),
)
_LOWER = ("VI", "adapted_rand_error", "ECE")
_CRITERIA = ("loss", "f1", "auc_roc")
_SPLIT = "test"


@dataclass(frozen=True)
class Size:
    """How large a benchmark is."""

    cells: int = 14
    folds: int = 6
    """At least three: each is scored by what was trained and validated on the others."""
    slices: int = 4
    """Of each fold."""
    epochs: int = 30
    side: int = 512
    imported: int = 1
    """Of the cells."""


def write_example(folder: Path, size: Size = Size()) -> Path:
    """Write the folder with its data beside it.

    Args:
        folder: The benchmark; `NAME-data` beside it gets the volumes.
        size: How large it is.
    """
    world = _World(size)
    folder.mkdir(parents=True)
    data = folder.with_name(f"{folder.name}-data")
    data.mkdir()
    cells = tuple(
        CellFacts(name, world.labels[name], {"model": world.labels[name]}, {}, imported=_imported(world, name))
        for name in world.names
    )
    notes = ("All cells have the same folds, with a gap of 0 x 64 x 64 voxels (z, y, x): the widest that any needs.",)
    write_benchmark(folder, BenchmarkFacts("example", "0" * 64, cells, "IoU", "all", notes))
    (folder / PLAN).write_text("name: example\nrecipe: example.yaml\nvary:\n  model: [unet_bn, seget]\n")
    truths = _write_data(data, world)
    for name in world.trained:
        _write_study(folder / CELLS / name, name, world, data, truths)
    results = folder / RESULTS
    results.mkdir()
    for table, rows in _tables(world).items():
        _write(results, table, rows)
    (folder / "best.yaml").write_text("members: []\n")
    return folder


def example_tables(size: Size = Size()) -> Mapping[str, list[dict[str, Any]]]:
    """The rows of all tables of the example."""
    return _tables(_World(size))


class _World:
    """Names, qualities and scores of everything."""

    def __init__(self, size: Size) -> None:
        self.size, self.rng = size, np.random.default_rng(0)
        self.names = [f"method-{number + 1}" for number in range(size.cells)]
        self.labels = {name: f"Network {chr(65 + place)}, loss {place % 3}" for place, name in enumerate(self.names)}
        self.quality = {name: 0.86 - 0.011 * place for place, name in enumerate(self.names)}
        hard = self.rng.normal(0, 0.015, size.folds)
        self.scores = {
            name: [self.quality[name] + hard[fold] + self.rng.normal(0, 0.012) for fold in range(size.folds)]
            for name in self.names
        }
        self.parameters = {name: int(3e5 * 1.6**place) for place, name in enumerate(self.names)}

    @property
    def trained(self) -> list[str]:
        return self.names[: len(self.names) - self.size.imported]

    @property
    def order(self) -> list[str]:
        return sorted(self.names, key=lambda name: -float(np.mean(self.scores[name])))


def _imported(world: _World, name: str) -> str | None:
    return None if name in world.trained else f"../others/{name}"


def _write_data(data: Path, world: _World) -> list[np.ndarray]:
    """A volume for each fold: noisy discs, and their labels."""
    truths = []
    for fold in range(world.size.folds):
        shape = (world.size.slices, world.size.side, world.size.side)
        truth = np.zeros(shape, np.uint8)
        y, x = np.mgrid[: shape[1], : shape[2]]
        for z in range(shape[0]):
            for _ in range(9):
                centre, radius = world.rng.uniform(0, shape[1], 2), world.rng.uniform(0.04, 0.12) * shape[1]
                truth[z][(y - centre[0]) ** 2 + 1.4 * (x - centre[1]) ** 2 < radius**2] = 1
        image = (150 - 70.0 * truth + world.rng.normal(0, 22, shape)).clip(0, 255).astype(np.uint8)
        tifffile.imwrite(data / f"v{fold + 1}.tif", image, metadata={"axes": "ZYX"})
        tifffile.imwrite(data / f"v{fold + 1}-labels.tif", truth, metadata={"axes": "ZYX"})
        if fold == 0:  # a second annotator, who has the borders elsewhere
            second = np.roll(truth, (2, -2), (1, 2))
            tifffile.imwrite(data / "v1-second.tif", second, metadata={"axes": "ZYX"})
        truths.append(truth)
    return truths


def _recipe(name: str, world: _World, data: Path, fold: int) -> str:
    volumes = "\n".join(
        f"    - {{name: v{one + 1}, image: {data}/v{one + 1}.tif, voxel_size_nm: [50, 8, 8], "
        f"labels: {{kind: ids, path: {data}/v{one + 1}-labels.tif}}"
        f"{f', second_labels: {{kind: ids, path: {data}/v{one + 1}-second.tif}}' if one == 0 else ''}}}"
        for one in range(world.size.folds)
    )
    others = [f"{{volume: v{one + 1}}}" for one in range(world.size.folds) if one != fold]
    return (
        f"name: {name}\nmodel: {{name: unet_bn}}\n"
        f"data:\n  classes: {{names: [background, mitochondria]}}\n  volumes:\n{volumes}\n"
        f"  train: [{', '.join(others[1:])}]\n  validate: [{others[0]}]\n  test: [{{volume: v{fold + 1}}}]\n"
    )


def _write_study(study: Path, name: str, world: _World, data: Path, truths: Sequence[np.ndarray]) -> None:
    members = [
        {"run": f"fold-{fold + 1}", "fold": fold + 1, "instance": None, "seed": 0, "state": "complete"}
        for fold in range(world.size.folds)
    ]
    for fold, truth in enumerate(truths):
        run = study / f"fold-{fold + 1}"
        (run / HELD_OUT / _SPLIT).mkdir(parents=True)
        (run / "recipe.yaml").write_text(_recipe(name, world, data, fold))
        versions = {"cristae": {"version": "0.1.0"}, "python": "3.11", "libraries": {"numpy": "2"}, "device": "cpu"}
        (run / "provenance.json").write_text(json.dumps(versions))
        found = _worsened(truth, 1 - world.scores[name][fold], world.rng)
        _write_prediction(run / HELD_OUT / _SPLIT / f"v{fold + 1}-0-0-0.zarr", found)
    (study / "study.json").write_text(json.dumps({"format": 1, "plan": {}, "members": members}))


def _worsened(truth: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Labels moved, and wrong in some patches."""
    found = np.roll(truth, tuple(int(one) for one in rng.integers(-6, 7, 2)), (1, 2))
    for z in range(len(found)):
        for _ in range(int(30 * share)):
            y, x = rng.integers(0, truth.shape[1] - 24, 2)
            found[z, y : y + 24, x : x + 20] = 1 - found[z, y : y + 24, x : x + 20]
    return found


def _write_prediction(path: Path, labels: np.ndarray) -> None:
    box = Box.of_shape(labels.shape)
    about = {
        "kind": KIND,
        "status": "complete",
        "classes": CLASSES.model_dump(mode="json"),
        "channels": list(CLASSES.foreground),
        "box": {"start": list(box.start), "stop": list(box.stop)},
        "input": {"shape": list(labels.shape)},
        "runs": [{"run": "example"}],
        "settings": {"threshold": 0.5, "probabilities": False},
        "input_sha256": "cd" * 32,
        "plan": {"block": list(labels.shape), "chunk": list(labels.shape), "pass_vox": 1 << 20, "backend": "cpu"},
    }
    size = (50.0, 8.0, 8.0)
    chunk = (1, *labels.shape[1:])
    known = ((0, "background", "#000000"), (1, "mitochondria", "#ff0000"))
    half = labels[:, ::2, ::2]
    spec = ZarrSpec(half.shape, half.dtype, (1, *half.shape[1:]), (1, *half.shape[1:]), size)
    create_multiscale(path, spec, name="example", attributes=about).write(Box.of_shape(half.shape), half)
    spec = ZarrSpec(labels.shape, labels.dtype, chunk, chunk, size)
    place = path / "labels" / "segmentation"
    create_multiscale(place, spec, name="segmentation", classes=known).write(box, labels)


def _tables(world: _World) -> Mapping[str, list[dict[str, Any]]]:
    ranking = [row for metric in METRICS for row in _ranking(world, metric)]
    return {
        "cells": [_cell(world, name) for name in world.names],
        "jobs": [job for name in world.trained for job in _jobs(world, name)],
        "scores": list(_scores(world)),
        "slices": list(_slices(world)),
        "epochs": list(_epochs(world)),
        "ranking": ranking,
        "pairs": list(_pairs(world)),
        "heat": list(_heat(ranking)),
        "convergence": list(_convergence(world)),
        "criteria": _criteria(),
        "best_of": list(_best_of(world)),
        "drop": [_drop(world, name) for name in world.trained],
        "curve": list(_curve(world)),
        "curve_fit": _curve_fit(world),
        "ensembles": list(_ensembles(world)),
        "annotators": _annotators(),
        "stability": [_stability(world, name) for name in world.names],
        "summary": [
            {"about": "ranking", "text": "Network A, loss 0 and Network B, loss 1 are not distinguishable on these "
             "data (difference 0.011, 95 % -0.004 to 0.026)."},
            {"about": "cost", "text": "Network A, loss 0 costs a seventh of Network E, loss 1 and scores 0.044 more."},
            {"about": "validation", "text": "val_f1 predicts the order best: rank correlation 0.86 <over 14 methods>."},
        ],
    }  # fmt: skip


def _cell(world: _World, name: str) -> dict[str, Any]:
    imported = name not in world.trained
    millions = world.parameters[name]
    return {
        "cell": name, "label": world.labels[name], "imported": imported,
        "settings": json.dumps({"model": world.labels[name]}), "network": "" if imported else "unet_bn",
        "parameters": None if imported else millions, "conv_gflop": None if imported else 2 + millions**0.6 / 300,
        "patch": "" if imported else "1 x 256 x 256", "epochs": None if imported else world.size.epochs,
        "patch_vox": None if imported else 65536, "batch_size": None if imported else 4,
    }  # fmt: skip


def _jobs(world: _World, name: str) -> Iterator[dict[str, Any]]:
    seconds = 200 + world.parameters[name] ** 0.5
    for fold in range(world.size.folds):
        failed = name == world.trained[-1] and fold == world.size.folds - 1
        yield {
            "cell": name, "fold": fold + 1, "instance": None, "seed": 0, "state": "failed" if failed else "complete",
            "message": "the loss became NaN in epoch 7; lower the learning rate" if failed else "",
            "epochs": world.size.epochs, "best_epoch": world.size.epochs - 2, "updates": 1500, "voxels_seen": 4e8,
            "train_seconds": seconds * (1 + 0.1 * fold), "predict_seconds": seconds / 60, "predict_vox": 4 << 20,
            "evaluate_seconds": 3.0, "cpu_seconds": seconds * 1.8, "peak_bytes": int(8e8 + 30 * world.parameters[name]),
            "energy_wh": seconds / 200, "energy_source": "assumed: 10 W for each busy core", "device": "cpu",
        }  # fmt: skip


def _value(world: _World, name: str, fold: int, metric: str) -> float:
    """A score of a training; each metric is some other bend of the ranked one."""
    place = METRICS.index(metric)
    base: float = world.scores[name][fold] ** (0.4 + 0.1 * (place % 9)) - 0.002 * ((place * 7 + len(name)) % 5)
    if metric == "components_TP":
        return float(round(60 * base))
    return 1 - base if metric in _LOWER else base


def _scores(world: _World) -> Iterator[dict[str, Any]]:
    for name in world.names:
        for fold in range(world.size.folds):
            for metric in METRICS:
                value = world.scores[name][fold] if metric == "Jaccard" else _value(world, name, fold, metric)
                yield {
                    "cell": name, "fold": fold + 1, "instance": None, "split": _SPLIT, "sample": "new", "volume": "all",
                    "class": "mitochondria", "metric": metric, "threshold": None, "value": value, "n": 1 << 20,
                    "unit": "ratio", "rule": "pooled; n=voxels",
                }  # fmt: skip


def _slices(world: _World) -> Iterator[dict[str, Any]]:
    for name in world.trained:
        for fold in range(world.size.folds):
            for z in range(world.size.slices):
                value = world.scores[name][fold] + world.rng.normal(0, 0.01 * (1 + z))
                yield {
                    "cell": name, "fold": fold + 1, "instance": None, "split": _SPLIT, "sample": "new",
                    "volume": f"v{fold + 1}", "slice": z, "class": "mitochondria", "F1": value**0.6, "Jaccard": value,
                }  # fmt: skip


def _epochs(world: _World) -> Iterator[dict[str, Any]]:
    for name in world.trained:
        for fold in range(world.size.folds):
            for epoch in range(1, world.size.epochs + 1):
                part = 1 - math.exp(-epoch / 6)
                score = world.scores[name][fold] * part + world.rng.normal(0, 0.01)
                yield {
                    "cell": name, "fold": fold + 1, "instance": None, "epoch": epoch, "step": 50 * epoch,
                    "train_loss": 0.9 - 0.7 * part, "learning_rate": 0.001, "val_loss": 0.95 - score,
                    "val_miou": score, "val_f1": score**0.7, "seconds": 10.0 * epoch,
                }  # fmt: skip


def _ranking(world: _World, metric: str) -> Iterator[dict[str, Any]]:
    values = {
        name: [world.scores[name][f] if metric == "Jaccard" else _value(world, name, f, metric)
               for f in range(world.size.folds)]
        for name in world.names
    }  # fmt: skip
    means = {name: float(np.mean(own)) for name, own in values.items()}
    sign = 1 if metric in _LOWER else -1
    order = sorted(world.names, key=lambda name: sign * means[name])
    for place, name in enumerate(order):
        half = 2.2 * float(np.std(values[name], ddof=1)) / math.sqrt(world.size.folds) if world.size.folds > 1 else 0.02
        # three groups that are told apart; within them nothing is
        third = max(1, math.ceil(len(order) / 3))
        low = place // third * third
        yield {
            "metric": metric, "class": "mitochondria", "split": _SPLIT, "cell": name, "label": world.labels[name],
            "rank_low": low + 1, "rank_high": min(len(order), low + third), "mean": means[name],
            "low": means[name] - half, "high": means[name] + half, "deviation": half / 0.9, "n": world.size.folds,
            "unit": "folds", "imported": name not in world.trained,
        }  # fmt: skip


def _pairs(world: _World) -> Iterator[dict[str, Any]]:
    order = world.order
    third = max(1, math.ceil(len(order) / 3))
    for place, name in enumerate(order):
        for later in range(place + 1, len(order)):
            other = order[later]
            difference = float(np.mean(world.scores[name]) - np.mean(world.scores[other]))
            decided = place // third < later // third
            p = 0.001 if decided else 0.3
            yield {
                "metric": "Jaccard", "class": "mitochondria", "split": _SPLIT, "cell": name, "other": other,
                "difference": difference, "low": difference - 0.02, "high": difference + 0.02, "p": p / 20, "p_holm": p,
                "n": world.size.folds, "unit": "folds", "method": "corrected resampled t", "reason": "",
                "verdict": "better" if decided else "undecided", "needed": None if decided else 14, "needed_reason": "",
            }  # fmt: skip


def _heat(ranking: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for metric in METRICS:
        rows = [row for row in ranking if row["metric"] == metric]
        values = [float(row["mean"]) for row in rows]
        low, high = min(values), max(values)
        for row in rows:
            share = (row["mean"] - low) / (high - low) if high > low else None
            share = 1 - share if share is not None and metric in _LOWER else share
            yield {
                "split": _SPLIT, "class": "mitochondria", "metric": metric, "cell": row["cell"], "label": row["label"],
                "value": row["mean"], "scaled": share, "higher_is_better": metric not in _LOWER,
            }  # fmt: skip


def _convergence(world: _World) -> Iterator[dict[str, Any]]:
    for name in world.trained:
        for fold in range(world.size.folds):
            for place, criterion in enumerate(_CRITERIA):
                epoch = int(world.rng.integers(8 + 3 * place, 20 + 3 * place))
                yield {
                    "cell": name, "fold": fold + 1, "instance": None, "criterion": criterion,
                    "best_value": world.scores[name][fold], "best_epoch": epoch + 4, "epoch_95": epoch,
                    "seconds_95": epoch * (8 + world.parameters[name] ** 0.5 / 60), "epochs": world.size.epochs,
                    "seconds": 900.0,
                }  # fmt: skip


def _criteria() -> list[dict[str, Any]]:
    return [
        {"criterion": name, "level": level, "correlation": 0.5 + 0.1 * place, "low": 0.1 * place, "high": 0.9, "n": 84,
         "note": ""}
        for place, name in enumerate(_CRITERIA) for level in ("jobs", "cells")
    ]  # fmt: skip


def _best_of(world: _World) -> Iterator[dict[str, Any]]:
    for name in world.trained:
        own = sorted(world.scores[name], reverse=True)
        for m in range(1, len(own) + 1):
            yield {"cell": name, "m": m, "n": len(own), "mean": float(np.mean(own[:m])),
                   "deviation": float(np.std(own[:m]))}  # fmt: skip


def _drop(world: _World, name: str) -> dict[str, Any]:
    within = float(np.mean(world.scores[name]))
    return {"cell": name, "within": within, "new": within - 0.03, "drop": 0.03, "low": 0.01, "high": 0.05, "n": 12}


def _curve(world: _World) -> Iterator[dict[str, Any]]:
    for name in world.trained[:2]:
        for slices in (1, 2, 4, 8, 16):
            mean = world.quality[name] - 0.2 * slices**-0.8
            yield {"series": world.labels[name], "cell": name, "slices": slices, "mean": mean, "low": mean - 0.02,
                   "high": mean + 0.02, "n": world.size.folds}  # fmt: skip


def _curve_fit(world: _World) -> list[dict[str, Any]]:
    return [
        {"series": world.labels[name], "asymptote": world.quality[name], "scale": 0.2, "power": 0.8, "largest": 16,
         "gain_doubling": 0.009, "low": 0.001, "high": 0.02,
         "verdict": "twice the labels would gain 0.009 (95 % 0.001 to 0.020)"}
        for name in world.trained[:2]
    ]  # fmt: skip


def _ensembles(world: _World) -> Iterator[dict[str, Any]]:
    order = [name for name in world.order if name in world.trained]
    for rule, gain in (("top-k", 0.006), ("greedy", 0.009)):
        for k in range(1, len(order) + 1):
            value = float(np.mean(world.scores[order[0]])) + gain * math.log(k) - 0.002 * (k - 1)
            yield {"name": "over methods", "rule": rule, "k": k, "members": order[:k], "value": value,
                   "low": value - 0.01, "high": value + 0.01, "n": world.size.folds, "split": _SPLIT}  # fmt: skip


def _stability(world: _World, name: str) -> dict[str, Any]:
    own = world.scores[name]
    parts = {f"quantile_{percent:02}": float(np.percentile(own, percent)) for percent in (5, 25, 50, 75, 95)}
    return {"cell": name, "metric": "Jaccard", "class": "mitochondria", **parts, "deviation": float(np.std(own)),
            "n": len(own)}  # fmt: skip


def _annotators() -> list[dict[str, Any]]:
    return [
        {"cell": "second annotator", "fold": 1, "instance": None, "split": _SPLIT, "sample": "unknown", "volume": "all",
         "class": "mitochondria", "metric": metric, "threshold": None, "value": value, "n": 1 << 20, "unit": "ratio",
         "rule": "pooled; n=voxels"}
        for metric, value in (("Jaccard", 0.845), ("F1", 0.916))
    ]  # fmt: skip


def _write(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    (folder / f"{name}.csv").write_text(records_csv(columns, rows))
    (folder / f"{name}.json").write_text(records_json(rows))
