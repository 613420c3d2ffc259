"""What a benchmark says, in sentences; each is computed from its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from cristae.evaluation.benchmarks.comparisons import Compared, Mean
from cristae.metrics.table import describe_metric
from cristae.recipe.benchmark_tables import CRITERION_TITLES, CellRow, JobRow
from cristae.words import listed

Record = dict[str, Any]
_CHEAPER = 0.7
"""A training that takes less than this part of another one's time is worth a word."""

_STILL = 0.01
"""A gain of the validation mIoU in the last epochs that says that a training was too short."""


def sentences(
    compared: Compared,
    cells: Sequence[CellRow],
    jobs: Sequence[JobRow],
    *,
    criteria: Sequence[Record] = (),
    drops: Sequence[Record] = (),
    fits: Sequence[Record] = (),
    late_gain: float | None = None,
) -> Iterator[Record]:
    """Sentences about the ranking, what it costs, what can be trusted and what failed.

    Args:
        compared: All cells by the score that they are ranked by.
        cells: Their labels and networks.
        jobs: What trainings cost.
        criteria: How validation goes with the score.
        drops: What is lost on new samples.
        fits: Learning curves.
        late_gain: Of the validation mIoU in the last epochs.
    """
    labels = {cell.cell: cell.label for cell in cells}
    ordered = compared.ordered()
    if ordered:
        yield from _ranking(compared, ordered, labels)
        yield from _costs(ordered, labels, jobs)
    if compared.measure.split == "test":  # else it is the validation itself that is the score
        yield from _validation(criteria)
    for row in drops:
        if row["drop"] is not None:
            yield _about(
                "samples",
                f"On samples that it was not trained on, {labels[row['cell']]} scores {_signed(-row['drop'])} against "
                f"the samples that it knows ({row['new']:.3f} and {row['within']:.3f}).",
            )
    for row in fits:
        yield _about("labels", f"{row['series']}: {row['verdict']}.")
    if late_gain is not None and late_gain > _STILL:
        yield _about(
            "length",
            "The trainings were short: in the last fifth of their epochs the best validation mIoU still rose by "
            f"{late_gain:.3f} on average. Longer ones may change what is said here.",
        )
    yield from _unfinished([job for job in jobs if job.state == "failed"], labels, "failed", "failed")
    yield from _unfinished([job for job in jobs if job.state == "waiting"], labels, "waiting", "not finished yet")
    ended = {job.cell: job.message for job in jobs if job.state == "stopped"}
    if ended:
        told = listed([f"{labels[cell]} ({message})" for cell, message in ended.items()])
        yield _about("halving", f"Halving stopped methods that others were ahead of, without a score: {told}.")
    early = [job for job in jobs if job.state == "complete" and job.message]
    yield from _unfinished(early, labels, "stopped", "ended before the last epoch, by the rules of their recipes")


def _unfinished(jobs: Sequence[JobRow], labels: Mapping[str, str], about: str, said: str) -> Iterator[Record]:
    if jobs:
        names = listed([f"{labels[job.cell]}, {_training(job)}" for job in jobs])
        count = "1 training" if len(jobs) == 1 else f"{len(jobs)} trainings"
        yield _about(about, f"{count} {said}: {names}.")


def _ranking(compared: Compared, ordered: Sequence[Mean], labels: Mapping[str, str]) -> Iterator[Record]:
    best, title = ordered[0], describe_metric(compared.measure.metric).title
    of = "" if compared.measure.class_name == "all" else f" of {compared.measure.class_name}"
    said = f"{labels[best.cell]} has the best mean {title}{of}, {best.value:.3f}{_interval(best)}"
    if len(ordered) == 1:
        yield _about("ranking", f"{said}.")
        return
    pairs = {frozenset((one.cell, one.other)): one for one in compared.pairs}
    verdicts = {one.cell: pairs[frozenset((best.cell, one.cell))].verdict for one in ordered[1:]}
    open_to = [one for one in ordered[1:] if verdicts[one.cell] == "undecided"]
    if not open_to:
        yield _about("ranking", f"{said}, and is better than all others.")
        return
    yield _about("ranking", f"{said}.")
    second = open_to[0]
    pair = pairs[frozenset((best.cell, second.cell))]
    gap = abs(pair.difference)
    sure = "" if pair.low is None or pair.high is None else _range(pair.low, pair.high, flip=pair.cell != best.cell)
    if len(open_to) == len(ordered) - 1:
        yield _about("ranking", f"Nothing else is decided: no method is surely worse than {labels[best.cell]}.")
    yield _about(
        "ranking",
        f"{labels[best.cell]} and {labels[second.cell]} are not distinguishable on these data (difference "
        f"{gap:.3f}{sure}){_why(pair.reason)}.",
    )
    rest = [labels[one.cell] for one in open_to[1:]]
    if rest:
        verb = "is" if len(rest) == 1 else "are"
        yield _about("ranking", f"{listed(rest)} {verb} not surely worse either.")
    surely = [labels[one.cell] for one in ordered[1:] if verdicts[one.cell] != "undecided"]
    if surely:
        yield _about("ranking", f"Surely worse than {labels[best.cell]}: {listed(surely)}.")
    if pair.needed is not None:
        yield _about(
            "ranking",
            f"About {pair.needed} {'folds' if pair.unit == 'folds' else 'trainings of each'} would tell "
            f"{labels[best.cell]} and {labels[second.cell]} apart ({pair.needed_reason}).",
        )


def _costs(ordered: Sequence[Mean], labels: Mapping[str, str], jobs: Sequence[JobRow]) -> Iterator[Record]:
    seconds = {
        cell: fmean(found)
        for cell in labels
        if (found := [job.train_seconds for job in jobs if job.cell == cell and job.train_seconds])
    }
    best = ordered[0]
    if best.cell not in seconds:
        return
    for one in ordered[1:]:
        if one.cell in seconds and seconds[one.cell] < _CHEAPER * seconds[best.cell]:
            part = seconds[one.cell] / seconds[best.cell]
            yield _about(
                "cost",
                f"{labels[one.cell]} trains in {_part(part)} of the time of {labels[best.cell]} and scores "
                f"{abs(best.value - one.value):.3f} {'more' if one.value > best.value else 'less'}.",
            )
            return


def _validation(criteria: Sequence[Record]) -> Iterator[Record]:
    known = [row for row in criteria if row["level"] == "jobs" and row["correlation"] is not None]
    if not known:
        return
    top = max(known, key=lambda row: row["correlation"])
    interval = "" if top["low"] is None else f" ({top['low']:.2f} to {top['high']:.2f})"
    chance = top["low"] is not None and top["low"] <= 0
    name = top["criterion"]
    said = "goes with the score best, but that may be chance" if chance else "goes with the score best"
    yield _about(
        "validation",
        f"Of the validation criteria {CRITERION_TITLES.get(name, name)} {said}: Spearman's correlation "
        f"{top['correlation']:.2f}{interval} over {top['n']} trainings.",
    )


def _about(what: str, text: str) -> Record:
    return {"about": what, "text": text}


def _interval(mean: Mean) -> str:
    return "" if mean.low is None or mean.high is None else _range(mean.low, mean.high, brackets=True)


def _range(low: float, high: float, *, flip: bool = False, brackets: bool = False) -> str:
    low, high = (-high, -low) if flip else (low, high)
    return f" (95 % {low:.3f} to {high:.3f})" if brackets else f", 95 % {low:.3f} to {high:.3f}"


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


def _signed(value: float) -> str:
    return f"{abs(value):.3f} {'more' if value > 0 else 'less'}"


def _part(part: float) -> str:
    for number, word in ((2, "half"), (3, "a third"), (4, "a quarter"), (5, "a fifth"), (6, "a sixth"),
                         (7, "a seventh"), (8, "an eighth"), (10, "a tenth")):  # fmt: skip
        if abs(part * number - 1) < 0.07:
            return word
    return f"{100 * part:.0f} %"


def _training(job: JobRow) -> str:
    parts = [f"fold {job.fold}"] if job.fold is not None else []
    parts += [f"instance {job.instance}"] if job.instance is not None else []
    return ", ".join(parts) or "its training"
