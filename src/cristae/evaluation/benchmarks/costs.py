"""How long trainings take to get where they get, and which criterion of validation is to be trusted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from cristae.evaluation.benchmarks.trials import Trials

CRITERIA = {f"val_{name}": name for name in ("loss", "accuracy", "auc_roc", "f1", "miou")}
"""Columns of `metrics.csv` and the criteria that they are."""
_GAIN = 0.95
_FEWEST = 4
"""Pairs of values of which a correlation says something."""

Record = dict[str, Any]


def convergence(epochs: Sequence[Mapping[str, str]]) -> Iterator[Record]:
    """For each training and criterion the best epoch, and the first that has 95 % of the gain from the first to it."""
    for (cell, fold, instance), rows in _trainings(epochs).items():
        for column, criterion in CRITERIA.items():
            sign = -1 if criterion == "loss" else 1
            values = [sign * _number(row.get(column)) for row in rows]
            known = [value for value in values if not math.isnan(value)]
            if not known:
                continue
            best, first = max(known), known[0]
            reached = next(
                place for place, value in enumerate(values)
                if not math.isnan(value) and value >= first + _GAIN * (best - first)
            )  # fmt: skip
            yield {
                "cell": cell,
                "fold": fold,
                "instance": instance,
                "criterion": criterion,
                "best_value": sign * best,
                "best_epoch": int(rows[values.index(best)]["epoch"]),
                "epoch_95": int(rows[reached]["epoch"]),
                "seconds_95": _number(rows[reached].get("seconds")),
                "epochs": len(rows),
                "seconds": _number(rows[-1].get("seconds")),
            }


def late_gain(epochs: Sequence[Mapping[str, str]]) -> float | None:
    """What the best validation mIoU gains in the last fifth of the epochs, on average over trainings of five or more;
    None without any."""
    gains = []
    for rows in _trainings(epochs).values():
        known = [value for row in rows if not math.isnan(value := _number(row.get("val_miou")))]
        if len(known) >= _FEWEST + 1:
            gains.append(max(known) - max(known[: -max(1, len(known) // 5)]))
    return fmean(gains) if gains else None


def criteria(converged: Sequence[Record], trials: Trials) -> Iterator[Record]:
    """Spearman's correlation of each criterion's best validation value with the score that cells are ranked by."""
    scores = {(cell, one.fold, one.instance): one.value for cell, own in trials.items() for one in own}
    for criterion in CRITERIA.values():
        own = {(row["cell"], row["fold"], row["instance"]): row for row in converged if row["criterion"] == criterion}
        sign = -1 if criterion == "loss" else 1
        pairs = [(key[0], sign * own[key]["best_value"], scores[key]) for key in own if key in scores]
        yield _correlation(criterion, "jobs", [(x, y) for _, x, y in pairs])
        cells = dict.fromkeys(cell for cell, _, _ in pairs)
        means = [
            (fmean(x for name, x, _ in pairs if name == cell), fmean(y for name, _, y in pairs if name == cell))
            for cell in cells
        ]
        yield _correlation(criterion, "cells", means)


def _correlation(criterion: str, level: str, pairs: Sequence[tuple[float, float]]) -> Record:
    found: Record = {
        "criterion": criterion, "level": level, "correlation": None, "low": None, "high": None, "n": len(pairs),
        "note": "",
    }  # fmt: skip
    x, y = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    if len(pairs) < _FEWEST:
        return found | {"note": f"fewer than {_FEWEST}"}
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return found | {"note": "all values are the same"}
    from scipy import stats

    value = float(stats.spearmanr(x, y).statistic)
    if abs(value) > 1 - 1e-9:
        return found | {"correlation": float(np.sign(value)), "note": "the same order: no interval"}
    if len(pairs) > _FEWEST:
        # Fisher's transformation with the variance of Bonett and Wright (2000), https://doi.org/10.1007/BF02294183
        half = 1.959964 * math.sqrt((1 + value * value / 2) / (len(pairs) - 3))
        low, high = (math.tanh(math.atanh(value) + side * half) for side in (-1, 1))
        return found | {"correlation": value, "low": low, "high": high}
    return found | {"correlation": value, "note": "too few for an interval"}


def best_of(trials: Trials, validation: Mapping[tuple[str, int | None, int | None], float]) -> Iterator[Record]:
    """Mean and deviation of the m best of n trainings by validation, for each m (Meyer et al. report 10 of 15)."""
    for cell, own in trials.items():
        known = [one for one in own if (cell, one.fold, one.instance) in validation]
        ordered = sorted(known, key=lambda one: -validation[cell, one.fold, one.instance])
        for m in range(1, len(ordered) + 1):
            values = [one.value for one in ordered[:m]]
            spread = float(np.std(values, ddof=1)) if m > 1 else None
            yield {"cell": cell, "m": m, "n": len(ordered), "mean": fmean(values), "deviation": spread}


def _trainings(
    epochs: Sequence[Mapping[str, str]],
) -> Mapping[tuple[str, int | None, int | None], list[Mapping[str, str]]]:
    found: dict[tuple[str, int | None, int | None], list[Mapping[str, str]]] = defaultdict(list)
    for row in epochs:
        found[row["cell"], _whole(row["fold"]), _whole(row["instance"])].append(row)
    return found


def _whole(text: str) -> int | None:
    return int(text) if text else None


def _number(text: str | None) -> float:
    return float(text) if text else math.nan
