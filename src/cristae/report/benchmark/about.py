"""What the results rest on and lead to: the summary, the commands that use them, failed jobs, data, versions, plan."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cristae.recipe.benchmark_folder import BEST, CELLS, ENSEMBLE_OF
from cristae.recipe.folder import RECIPE, STUDY
from cristae.recipe.study import plan_rows
from cristae.report.benchmark.ensembles import best_ensemble, members_of
from cristae.report.benchmark.files import SUMMARY, BenchmarkFiles, number, settings_of
from cristae.report.benchmark.tables import Column, numbers, sortable
from cristae.report.page import Section, fold, table
from cristae.report.scores import format_value

_PROVENANCE = "provenance.json"


def summary_section(files: BenchmarkFiles) -> Section | None:
    """The computed sentences; None where there are none."""
    items = [Markup("<li>{}</li>").format(row["text"]) for row in files[SUMMARY] if row.get("text")]
    if not items:
        return None
    return Section("Summary", Markup('<ul class="plain">{}</ul>').format(Markup("").join(items)))


def use_section(files: BenchmarkFiles) -> Section | None:
    """The commands that predict with what was found; None where there is nothing to predict with."""
    parts = []
    there = {name: (files.path / f"{name}.yaml").is_file() for name in (BEST, ENSEMBLE_OF)}
    own = [row for row in files.ranking if not files.is_imported(row["cell"])]
    if own and (there[BEST] or not there[ENSEMBLE_OF]):
        text = f"{files.label(own[0]['cell'])}, the trained method with the best mean:"
        parts.append(_command(text, f"cristae predict VOLUME --run {files.path.name}:{BEST} --out labels.zarr"))
    best = best_ensemble(files)
    if best is not None:
        names = ", ".join(members_of(files, best))
        score = f"{files.metric_title} {format_value(number(best, 'value'))}"
        text = f"The best ensemble found, {number(best, 'k'):.0f} members ({names}), {score}:"
        parts.append(_command(text, f"cristae predict VOLUME --run {files.path.name}:{ENSEMBLE_OF} --out labels.zarr"))
    return Section("Use it", Markup("").join(parts)) if parts else None


def unfinished_section(files: BenchmarkFiles) -> Section | None:
    """Jobs that failed, were stopped or wait; None where all are finished."""
    rows = [row for row in files["jobs"] if row["state"] != "complete"]
    if not rows:
        return None
    columns = [
        Column("Method", [files.label(row["cell"]) for row in rows]),
        numbers("Fold", rows, "fold", ".0f"),
        numbers("Instance", rows, "instance", ".0f"),
        Column("State", [str(row["state"]) for row in rows]),
        Column("Why", [str(row.get("message") or "") for row in rows]),
    ]
    return Section("Not finished", sortable(columns, caption="Trainings that are not in the results, and why."))


def about_section(files: BenchmarkFiles) -> Section:
    """Notes, methods, folds, versions and the plan."""
    parts = [_methods(files)]
    if files.facts.notes:
        items = [Markup("<li>{}</li>").format(note) for note in files.facts.notes]
        parts.insert(0, Markup("<ul>{}</ul>").format(Markup("").join(items)))
    if rows := plan_rows(_fold_plan(files)):
        parts.append(
            fold("Folds", table(rows, caption="What each fold validates and trains on, the same for all methods."))
        )
    if versions := _versions(files):
        parts.append(fold("Versions", table(versions, caption="Programs and machines of the trainings.")))
    parts.append(fold("Plan", Markup("<pre>{}</pre>").format(files.plan)))
    where = (
        "All numbers are in the folder <code>results</code> (CSV, JSON), figures in <code>figures</code> (SVG, PNG)."
    )
    parts.append(Markup(f'<p class="note">{where}</p>'))
    return Section("Data, splits and plan", Markup("").join(parts))


def _command(text: str, command: str) -> Markup:
    return Markup("<p>{}</p><pre>{}</pre>").format(text, command)


def _methods(files: BenchmarkFiles) -> Markup:
    rows = files["cells"]
    settings = [settings_of(row) for row in rows]
    varied = list(dict.fromkeys(key for one in settings for key in one))
    columns = [
        Column("Method", [str(row["label"]) for row in rows]),
        Column("Network", [str(row.get("network") or "") for row in rows]),
        *(Column(key, [str(one.get(key, "")) for one in settings]) for key in varied),
        Column("Patch (z, y, x)", [str(row.get("patch") or "") for row in rows]),
        numbers("Batch", rows, "batch_size", ".0f"),
        numbers("Epochs", rows, "epochs", ".0f"),
        Column("Made by", ["another program" if row.get("imported") else "Cristae" for row in rows]),
    ]
    return sortable(columns, caption="Methods that are compared, and what they differ in.")


def _runs(files: BenchmarkFiles) -> Iterator[Path]:
    """Run folders of all cells, in order."""
    for cell in files.facts.cells:
        study = files.path / CELLS / cell.name
        for member in _json(study / STUDY).get("members", ()):
            if (study / member["run"] / RECIPE).is_file():
                yield study / member["run"]


def _fold_plan(files: BenchmarkFiles) -> Mapping[str, Any]:
    for cell in files.facts.cells:
        if plan := _json(files.path / CELLS / cell.name / STUDY).get("plan"):
            found: Mapping[str, Any] = plan
            return found
    return {}


def _versions(files: BenchmarkFiles) -> list[dict[str, str]]:
    """What ran the trainings, each combination once with how many it ran."""
    counts: dict[tuple[tuple[str, str], ...], int] = {}
    for run in _runs(files):
        found = _json(run / _PROVENANCE)
        if not found:
            continue
        libraries = ", ".join(f"{name} {version}" for name, version in (found.get("libraries") or {}).items())
        row = {
            "Cristae": str((found.get("cristae") or {}).get("version", "")),
            "Commit": str((found.get("cristae") or {}).get("git_commit") or ""),
            "Python": str(found.get("python", "")),
            "Libraries": libraries,
            "Platform": str(found.get("platform", "")),
            "Device": str(found.get("device", "")),
        }
        key = tuple(row.items())
        counts[key] = counts.get(key, 0) + 1
    return [{**dict(key), "Trainings": str(count)} for key, count in counts.items()]


def _json(path: Path) -> Mapping[str, Any]:
    """The content of a file that may be missing."""
    if not path.is_file():
        return {}
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
