"""The page of a choice of ensemble members."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from cristae.report.figures import SOFT, STYLE, figure_markup
from cristae.report.matrices import matrix_markup
from cristae.report.page import Fact, Section, build_page, fold, table
from cristae.words import short_names

Facts = Mapping[str, Any]
_NAMES = {"miou": "mIoU", "f1": "F1", "accuracy": "accuracy"}
_COLORS = {"validation": "#0072b2", "test": "#d55e00"}
_FLATTERS = (
    "The validation score of what was chosen is that on the very voxels that it was chosen by, so it flatters, and the "
    "more so the more members there were. Intervals (95 %, from resampled slices) take slices for "
    "independent; neighbouring slices of a stack are not, and the intervals are then too narrow."
)


def ensemble_page(name: str, facts: Facts) -> str:
    """One page about the members and the choice.

    Args:
        name: What the page is called.
        facts: What `ChosenEnsemble.to_dict` gives, as it stands in the JSON file beside.
    """
    regions = {where: facts[where] for where in ("validation", "test") if where in facts}
    runs = short_names(facts["runs"])
    score = _NAMES[facts["criterion"]]
    sections = [
        Section("Members", _members(facts, regions, runs, score)),
        Section("Averages of the best runs", _top_k(regions, runs, score)),
        Section("Errors in common", _errors(regions, runs)),
        Section("Disagreement and error", _disagreement(regions)),
    ]
    chosen = sum(weight > 0 for weight in facts["weights"])
    lead = f"{chosen} of {len(runs)} runs, chosen by the rule '{facts['rule']}' for their {score}. {_FLATTERS}"
    return build_page(f"Ensemble: {name}", sections, lead=lead, facts=_large(facts, regions, score))


def _large(facts: Facts, regions: Mapping[str, Facts], score: str) -> list[Fact]:
    singles = regions["validation"]["single"]
    return [
        Fact(f"Validation {score} of the ensemble", _number(facts["score"])),
        Fact("Mean of single runs", _number(singles["mean"]), f"standard deviation {_number(singles['sd'])}"),
        Fact("Best single run", _number(max((one for one in singles["scores"] if one is not None), default=None))),
    ]


def _members(facts: Facts, regions: Mapping[str, Facts], runs: Sequence[str], score: str) -> Markup:
    columns = {where: f"{score}, {where}" for where in regions}
    rows = [
        {"Run": run, "Weight": weight or "–"}
        | {columns[where]: _number(found["single"]["scores"][place]) for where, found in regions.items()}
        for place, (run, weight) in enumerate(zip(runs, facts["weights"], strict=True))
    ]
    shown = table(rows, numbers=["Weight", *columns.values()])
    if not facts["steps"]:
        return shown
    steps = [
        {"Step": number, "Run": runs[step["member"]], score: _number(step["score"])}
        for number, step in enumerate(facts["steps"], start=1)
    ]
    return shown + fold("Steps of the greedy selection", table(steps, numbers=["Step", score]))


def _top_k(regions: Mapping[str, Facts], runs: Sequence[str], score: str) -> Markup:
    rows = [
        {"k": k, "With": runs[one["members"][-1]]}
        | {
            f"{score}, {where}": f"{_number(found['top_k'][k - 1]['score'])}{_interval(found['top_k'][k - 1])}"
            for where, found in regions.items()
        }
        for k, one in enumerate(regions["validation"]["top_k"], start=1)
    ]
    note = Markup('<p class="note">Runs are ordered by their validation score; k is how many are averaged.</p>')
    return note + _curves(regions, score) + table(rows, numbers=["k", *(f"{score}, {where}" for where in regions)])


def _curves(regions: Mapping[str, Facts], score: str) -> Markup:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 3.2), layout="constrained")
        axes = figure.subplots()
        for where, found in regions.items():
            k = np.array([one["k"] for one in found["top_k"]])
            value, low, high = (
                np.array([math.nan if one[key] is None else one[key] for one in found["top_k"]])
                for key in ("score", "low", "high")
            )
            axes.plot(k, value, "o-", color=_COLORS[where], label=f"average of the best k, {where}")
            axes.vlines(k, low, high, color=_COLORS[where], alpha=0.4)
            if found["single"]["mean"] is not None:
                label = f"mean of single runs, {where}"
                axes.axhline(found["single"]["mean"], color=_COLORS[where], linestyle=(0, (4, 3)), label=label)
        axes.set(xlabel="k", ylabel=score, xticks=k)
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), labelcolor=SOFT, fontsize=9.5)
        return figure_markup(figure, label=f"{score} of the average of the best k runs")


def _errors(regions: Mapping[str, Facts], runs: Sequence[str]) -> Markup:
    note = "Correlation of being wrong, voxel by voxel (Pearson); the lower, the more an average gains."
    parts = [Markup('<p class="note">{}</p>').format(note)]
    for where, found in regions.items():
        values = np.array(found["error_correlation"], float)
        parts.append(matrix_markup(values, runs, kind="scores", caption=f"On the {where} regions."))
    return Markup("").join(parts)


def _disagreement(regions: Mapping[str, Facts]) -> Markup:
    found = {where: one["disagreement"] for where, one in regions.items() if one["disagreement"] is not None}
    if not found:
        return Markup('<p class="note">A single run was chosen; it has nobody to disagree with.</p>')
    note = (
        "Disagreement is the mutual information of label and member, 0 to 1. AUROC: the chance that a wrong voxel has "
        "more of it than a right one. AURC: the mean error rate over all shares of voxels that are kept when those of "
        "most disagreement are left out; excess AURC is what is above the least that there can be."
    )
    rows = [
        {
            "Regions": where,
            "Error rate": _number(one["error_rate"]),
            "AUROC": _number(one["auroc"]),
            "AURC": _number(one["aurc"]),
            "Excess AURC": _number(one["excess_aurc"]),
        }
        for where, one in found.items()
    ]
    parts = [Markup('<p class="note">{}</p>').format(note), table(rows, numbers=list(rows[0])[1:])]
    for where, one in found.items():
        quantiles = [
            {
                "Disagreement up to": f"{part['doubt']:.3f}",
                "Share of voxels": f"{100 * part['share']:.2f} %",
                "Error rate": _number(part["error_rate"]),
            }
            for part in one["quantiles"]
        ]
        caption = f"Voxels of the {where} regions by rising disagreement."
        parts.append(table(quantiles, numbers=list(quantiles[0]), caption=caption))
    return Markup("").join(parts)


def _interval(one: Facts) -> str:
    return "" if one["low"] is None else f" ({one['low']:.4f} to {one['high']:.4f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
