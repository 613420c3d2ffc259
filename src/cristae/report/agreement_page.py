"""The page of an agreement: who agrees with whom, on what, and what they take for each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from cristae.analysis.render import Rendering
from cristae.metrics.agreement import Agreement
from cristae.metrics.agreement_counts import confusion_tables, mean_iou_of_pair, subsets
from cristae.metrics.score import Score
from cristae.metrics.tally import ALL
from cristae.report.matrices import matrix_markup
from cristae.report.page import Fact, Section, build_page, fold, table
from cristae.report.scores import full_table
from cristae.report.views import side_by_side

_CLASS_TABLES = {
    "F1": "F1 (Dice), pooled over voxels",
    "F1_slice_mean": "F1 (Dice), mean over slices",
    "Jaccard": "Jaccard (IoU), pooled over voxels",
}
_OVERALL = {"kappa": "Cohen's kappa", "overall_accuracy": "Voxels of equal class"}
_OPEN_PAIRS = 6
"""With more pairs than this, their tables of confusions are folded."""


def agreement_page(name: str, agreement: Agreement, views: Mapping[str, Rendering] | None = None) -> str:
    """One page for all participants.

    Args:
        name: What the page is called.
        agreement: The counts of every pair.
        views: A picture of each participant's surfaces, all from the same place.
    """
    scores = agreement.scores()
    sections = [
        *([Section("Side by side", side_by_side(views, _foreground_colors(agreement)))] if views else []),
        Section("Mean IoU", _mean_ious(agreement)),
        Section("Each class", _classes(agreement, scores)),
        Section("Over all voxels", _overall(agreement, scores)),
        Section("Confusions", _confusions(agreement)),
        Section("Volume fractions", _fractions(scores)),
        Section("All scores", fold(f"All {len(scores)} rows", full_table(scores))),
    ]
    lead = (
        f"{', '.join(agreement.names)} on {agreement.volume}. None of them is taken for the truth: all scores but the "
        "confusions and the differences of volume fractions are the same for both orders of a pair."
    )
    return build_page(f"Agreement: {name}", sections, lead=lead, facts=_facts(agreement))


def _facts(agreement: Agreement) -> list[Fact]:
    """The pairs that agree most and least over the narrowest set of classes there is."""
    title, names = list(subsets(agreement.classes, agreement.over).items())[-1]
    values = [(mean_iou_of_pair(pair, agreement.classes, names).value, pair.name) for pair in agreement.pairs]
    defined = sorted(entry for entry in values if not math.isnan(entry[0]))
    kinds = ("Highest", "Lowest") if len(defined) > 1 else ("",)
    ends = (defined[-1], defined[0]) if defined else ()
    return [
        Fact(f"{kind} mean IoU, {title}".strip(), f"{value:.4f}", pair)
        for kind, (value, pair) in zip(kinds, ends, strict=False)
    ]


def _mean_ious(agreement: Agreement) -> Markup:
    place = {name: index for index, name in enumerate(agreement.names)}
    parts = []
    for title, names in subsets(agreement.classes, agreement.over).items():
        values = np.full((len(place), len(place)), np.nan)
        fewest = len(names)
        for pair in agreement.pairs:
            mean = mean_iou_of_pair(pair, agreement.classes, names)
            ends = place[pair.first], place[pair.second]
            values[ends] = values[ends[::-1]] = mean.value
            fewest = min(fewest, mean.n)
        caption = f"Over {title}: {', '.join(names)}"
        if fewest < len(names):
            caption += f". Classes that neither of a pair has are left out; at least {fewest} were averaged"
        parts.append(matrix_markup(values, agreement.names, kind="scores", caption=f"{caption}."))
    return Markup("").join(parts)


def _classes(agreement: Agreement, scores: Sequence[Score]) -> Markup:
    names, pairs = agreement.classes.names, [pair.name for pair in agreement.pairs]
    found = {(score.metric, score.run, score.class_name): score.value for score in scores}
    return Markup("").join(
        matrix_markup(
            np.array([[found[metric, pair, name] for name in names] for pair in pairs]),
            pairs,
            names,
            kind="scores",
            caption=caption,
            colors=_colors(agreement),
        )
        for metric, caption in _CLASS_TABLES.items()
    )


def _overall(agreement: Agreement, scores: Sequence[Score]) -> Markup:
    shown = [score for score in scores if score.metric in _OVERALL]
    rows = [
        {"Pair": pair.name}
        | {_title(score): _number(score.value) for score in shown if score.run == pair.name}
        | {"Voxels": f"{pair.amounts[0].counted:,}"}
        for pair in agreement.pairs
    ]
    return table(rows, numbers=[column for column in rows[0] if column != "Pair"])


def _confusions(agreement: Agreement) -> Markup:
    note = "A row is what the first of a pair calls a class; its cells are what the second calls those voxels."
    parts = [Markup('<p class="note">{}</p>').format(note)]
    for pair in agreement.pairs:
        tables = Markup("").join(
            matrix_markup(
                counts,
                names,
                kind="fractions",
                row_title=pair.first,
                column_title=pair.second,
                colors=_colors(agreement),
            )
            for names, counts in confusion_tables(pair, agreement.classes)
        )
        folded = len(agreement.pairs) > _OPEN_PAIRS
        parts.append(fold(pair.name, tables) if folded else Markup("<h4>{}</h4>").format(pair.name) + tables)
    return Markup("").join(parts)


def _fractions(scores: Sequence[Score]) -> Markup:
    """Of each participant, then second minus first of each pair."""
    parts = []
    for metric in ("volume_fraction", "volume_fraction_difference"):
        shown = {(score.class_name, score.run): score for score in scores if score.metric == metric}
        runs = list(dict.fromkeys(run for _, run in shown))
        signed = metric == "volume_fraction_difference"
        rows = [
            {"Class": name} | {run: _percent(shown[name, run].value, signed=signed) for run in runs}
            for name in dict.fromkeys(name for name, _ in shown)
        ]
        what = next(iter(shown.values())).rule.split("; ")[1 if signed else 0].capitalize()
        points = "Percentage points, the second minus the first, over voxels that count for both."
        caption = points if signed else f"{what}."
        parts.append(table(rows, numbers=runs, caption=caption))
    return Markup("").join(parts)


def _colors(agreement: Agreement) -> dict[str, str]:
    return {name: agreement.classes.color_of(name) for name in agreement.classes.names}


def _foreground_colors(agreement: Agreement) -> dict[str, str]:
    return {name: agreement.classes.color_of(name) for name in agreement.classes.foreground}


def _title(score: Score) -> str:
    title = _OVERALL[score.metric]
    return title if score.class_name == ALL else f"{title}: {score.class_name}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


def _percent(value: float, *, signed: bool) -> str:
    if math.isnan(value):
        return "–"
    rounded = round(100 * value, 2) + 0.0  # never -0.00
    return f"{rounded:+.2f}" if signed else f"{rounded:.2f} %"
