"""A small finished run, made without training."""

import json
from pathlib import Path

import numpy as np

from cristae.data.classes import Classes
from cristae.metrics.score import write_scores
from cristae.metrics.tally import Tally, scores_of
from cristae.report.preview import PredictedSlice, write_preview

CLASSES = Classes(names=("background", "cell", "granule <b>"), colors={"cell": "#123456"})
RECIPE = """\
name: discs
description: "Cells & granules, <i>quickly</i>"
data:
  volumes:
    - {name: a, image: a.tif, labels: {kind: ids, path: a-labels.tif}, voxel_size_nm: [50, 10, 10]}
  train: [{volume: a, slices: 15:20}]
  validate: [{volume: a, slices: [0, 3]}]
"""


def write_run(folder: Path, *, n_slices: int = 8, voxel_size_nm=(50.0, 10.0, 10.0)) -> Path:
    """Slices whose prediction gets worse with z; the left edge of odd ones is not annotated."""
    rng = np.random.default_rng(0)
    tally = Tally("a", CLASSES)
    for z in range(n_slices):
        truth = np.zeros((60, 90), np.uint8)
        truth[10:50, 20:70] = 1
        truth[20:30, 30:50] = 2
        prediction = np.roll(truth, z, axis=1)
        valid = np.ones_like(truth)
        valid[:, :5] = 1 - z % 2
        tally.count(z, [truth], [prediction], valid)
        image = 100.0 + 50 * truth + rng.normal(0, 5, truth.shape)
        kept = PredictedSlice(
            volume="a",
            z=z,
            image=image,
            truth=truth,
            valid=valid,
            prediction=prediction,
            voxel_size_nm=voxel_size_nm,
        )
        write_preview(folder / "preview", kept, CLASSES)
    write_scores(folder / "scores.csv", scores_of([tally], run="discs-1", threshold=0.5))
    (folder / "recipe.yaml").write_text(RECIPE)
    rows = ["epoch,step,train_loss,learning_rate,val_miou,val_iou_cell,seconds"]
    rows += [f"{e},{8 * e},{1 / e},{0.001 / e},{'' if e == 2 else 1 - 1 / e},{1 - 1 / e},{e}" for e in range(1, 6)]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    summary = {"best_epoch": 5, "training_seconds": 3725, "peak_memory_bytes": {"ram": 3 << 30}, "device": "cpu"}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "provenance.json").write_text(json.dumps({"python": "3.11.9", "written": "2026-01-02T03:04:05+00:00"}))
    return folder
