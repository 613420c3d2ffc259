"""The page of a study: its members, their mean scores, their learning curves and the plan of the folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cristae.metrics.score import Score, read_scores
from cristae.metrics.table import describe_metric
from cristae.recipe.ensemble_file import members_named
from cristae.recipe.folder import read_epochs
from cristae.recipe.study import DEVIATION, MEAN, SCORES, MemberState, Study, open_study, plan_rows
from cristae.recipe.text import recipe_to_yaml
from cristae.report.figures import STYLE, curve, figure_markup
from cristae.report.page import Fact, Section, build_page, fold, table
from cristae.report.scores import SHOWN, format_value, full_table, headline
from cristae.training.validation_config import CRITERION_NAMES

_COLORS = ("#0a5a8a", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#be123c", "#0f766e", "#4338ca")


@dataclass(frozen=True, eq=False)
class StudyFiles:
    """What a study folder holds that a page can show; what is missing is empty."""

    study: Study
    scores: Sequence[Score]
    epochs: Mapping[str, Sequence[Mapping[str, str]]]
    """Rows of `metrics.csv` by member."""


def read_study(folder: Path) -> StudyFiles:
    """Read what there is.

    Raises:
        RunError: The folder is not a study, or a file of it is damaged.
        ScoreError: Its table of scores is damaged.
    """
    study = open_study(folder)
    scores = folder / SCORES
    epochs = {one.run: read_epochs(folder / one.run) for one in study.members}
    return StudyFiles(study, read_scores(scores) if scores.is_file() else (), epochs)


def study_page(files: StudyFiles) -> str:
    """The page: mean scores, members, curves, plan, settings."""
    study = files.study
    means = [row for row in files.scores if row.run == MEAN]
    sections = [Section("Members", _members(files))]
    if means:
        sections.insert(0, Section("Scores", _scores(files, means)))
    if any(files.epochs.values()):
        sections.append(Section("Learning", _curves(files.epochs)))
    if study.plan:
        sections.append(Section("Folds", _plan(study.plan)))
    recipe = Markup("<pre>{}</pre>").format(recipe_to_yaml(study.recipe))
    sections.append(Section("Settings", fold("Complete recipe", recipe)))
    return build_page(study.recipe.name, sections, lead=study.recipe.description, facts=_facts(files, means))


def _facts(files: StudyFiles, means: Sequence[Score]) -> list[Fact]:
    study, facts = files.study, []
    if (score := headline(means)) is not None:
        title = f"IoU of {score.class_name}" if score.metric == "Jaccard" else "Mean IoU"
        facts.append(Fact(title, format_value(score.value), _interval(score) or score.rule.split("; ")[-2]))
    if study.plan:
        facts.append(Fact("Folds", str(len(study.plan["folds"])), f"by {study.plan['by']}"))
    done = sum(member.state == "complete" for member in study.members)
    facts.append(Fact("Trained", f"{done} of {len(study.members)}"))
    return facts


def _interval(score: Score) -> str:
    return "" if score.low is None or score.high is None else f"{score.low:.4f} to {score.high:.4f}"


def _scores(files: StudyFiles, means: Sequence[Score]) -> Markup:
    """Mean, deviation and interval of the usual metrics of each class, then a row for each member."""
    spreads = {
        (row.class_name, row.metric, row.rule.split(";")[0]): row.value for row in files.scores if row.run == DEVIATION
    }
    rows = [
        {
            "Class": row.class_name,
            "Metric": describe_metric(row.metric).title,
            "Mean": format_value(row.value),
            "Deviation": format_value(spreads.get((row.class_name, row.metric, row.rule.split(";")[0]), math.nan)),
            "95 % interval": _interval(row) or "–",
            "n": str(row.n),
        }
        for row in means
        if row.metric in (*SHOWN, "mIoU")
    ]
    numbers = ("Mean", "Deviation", "95 % interval", "n")
    return (
        Markup("<p>{}</p>").format(_about_scores(files.study))
        + table(rows, numbers=numbers)
        + fold(f"All {len(files.scores)} rows", full_table(files.scores))
    )


def _about_scores(study: Study) -> str:
    """What was scored, how sure the means are, and what flatters them."""
    instances = study.recipe.instances
    best = None if instances is None or instances.best is None else f"{instances.best} of {instances.number} instances"
    if not study.plan:
        text = "Means of validation scores over the instances of the ensemble, which differ in their seeds alone."
        return f"{text} The best {best} were chosen by these, which flatters." if best else text
    text = (
        "Means over the folds, each scored on what it was not trained on. The intervals are Student's t with the "
        "variance of Nadeau and Bengio (2003), since folds share most of their training data. "
    )
    chosen = f"the best {best}" if best else ""
    if study.nested:
        chosen = ", ".join(part for part in ("the epoch of each fold", "values of post-processing", chosen) if part)
        return (
            f"{text}Scored is the part that each fold tests, after the post-processing; {chosen} were chosen on the "
            "part that it validates. Test regions of the recipe were left out."
        )
    text += (
        "The epoch of each fold was chosen on the data that it is scored on, which flatters a little; test regions "
        "were left out."
    )
    return f"{text} The best {best} were chosen by these, which flatters." if best else text


def _members(files: StudyFiles) -> Markup:
    study = files.study
    criteria = study.recipe.training.criteria
    name = CRITERION_NAMES[criteria[0]] if any(files.epochs.values()) else "mIoU"
    chosen = members_named(study.ensemble_path) if study.ensemble_path.is_file() else ()
    rows = [
        {
            "Member": member.run,
            "Seed": str(member.seed),
            "State": member.state,
            "Epochs": str(len(files.epochs[member.run])),
            f"Validation {name}": format_value(math.nan if member.validation is None else member.validation),
            **_iou(files.scores, member, "Test IoU" if study.nested else "IoU"),
            "In the ensemble": "yes" if member.run in chosen else "",
        }
        for member in study.members
    ]
    return table(rows, numbers=list(rows[0])[3:-1])


def _iou(scores: Sequence[Score], member: MemberState, what: str) -> dict[str, str]:
    """IoU of each class, of all volumes of a member together."""
    own = [row for row in scores if row.run == member.run and row.metric == "Jaccard"]
    pooled = [row for row in own if row.volume == "all"] or own
    names = dict.fromkeys(row.class_name for row in scores if row.metric == "Jaccard")
    values = {row.class_name: row.value for row in pooled}
    return {f"{what} {name}": format_value(values.get(name, math.nan)) for name in names}


def _curves(epochs: Mapping[str, Sequence[Mapping[str, str]]]) -> Markup:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14.5, 3.5), layout=ConstrainedLayoutEngine(wspace=0.05))
        shown = {"train_loss": "Training loss", "val_loss": "Validation loss", "val_miou": "Validation mean IoU"}
        for axes, (column, title) in zip(figure.subplots(1, 3), shown.items(), strict=True):
            for place, (name, rows) in enumerate(epochs.items()):
                x, values = curve(rows, column)
                marker = "o" if len(x) < 15 else ""
                axes.plot(x, values, color=_COLORS[place % len(_COLORS)], linewidth=1.2, marker=marker, markersize=3,
                          label=name)  # fmt: skip
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(epochs) <= len(_COLORS):
            axes.legend(loc="lower right", fontsize=9.5)
        return figure_markup(figure, label="Losses and validation IoU of each member over the epochs")


def _plan(plan: Mapping[str, Any]) -> Markup:
    guards = "; ".join(f"{name} {' x '.join(map(str, vox))}" for name, vox in plan["guard_vox"].items())
    nested = any("tests" in one for one in plan["folds"])
    holds_out = "tests, validates" if nested else "validates"
    lead = Markup("<p>{} folds by {}: {}. Gap (z, y, x) in voxels: {}: {}.</p>").format(
        plan["count"], plan["by"], plan["why"], guards, plan["guard_rule"]
    )
    return lead + table(plan_rows(plan), caption=f"What each fold {holds_out} and trains on, voxels by class")
