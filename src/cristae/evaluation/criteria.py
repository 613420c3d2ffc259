"""The numbers that epochs are judged by, from what was counted of the validation data."""

from __future__ import annotations

from collections.abc import Mapping

from cristae.data.classes import Classes
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import accuracy, mean_defined, overall_accuracy
from cristae.metrics.ranking import auc_roc_of
from cristae.metrics.table import metric_named
from cristae.metrics.tally import class_values, mean_iou_of
from cristae.training.epoch_end import Counts


def scores_of_epoch(counts: Counts, classes: Classes) -> dict[str, float]:
    """`val_loss`, `val_accuracy`, `val_auc_roc`, `val_f1`, `val_miou`, then the scores of each class; all pooled.

    Accuracy is the share of voxels of the right class; of overlapping classes, the mean over them of the share of
    voxels whose mask is right. AUC-ROC and F1 are plain means over the foreground classes where they are defined: the
    background is left out, and so is a class that is nowhere, or for AUC-ROC everywhere. Mean IoU is over all
    classes, the background included. Where there are several foreground classes, theirs are listed too.
    """
    tables = tuple(Confusion(table) for table in counts["tables"])
    names = classes.foreground
    auc = dict(zip(names, map(float, auc_roc_of(counts["ranks"])), strict=True))
    f1 = {name: value for name, value in class_values(tables, classes, metric_named("F1")).items() if name in names}
    iou = class_values(tables, classes, metric_named("Jaccard"))
    right = [overall_accuracy(tables[0])] if classes.exclusive else [float(accuracy(one)[1]) for one in tables]
    losses, weight = counts["loss"].tolist()
    scores = {
        "val_loss": losses / weight if weight else float("nan"),
        "val_accuracy": mean_defined(right).value,
        "val_auc_roc": _mean(auc),
        "val_f1": _mean(f1),
        "val_miou": mean_iou_of(tables, classes).value,
    }
    scores |= {f"val_iou_{name}": value for name, value in iou.items()}
    if len(names) > 1:
        scores |= {f"val_f1_{name}": value for name, value in f1.items()}
        scores |= {f"val_auc_roc_{name}": value for name, value in auc.items()}
    return scores


def _mean(values: Mapping[str, float]) -> float:
    return mean_defined(list(values.values())).value
