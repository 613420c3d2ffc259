"""The verb that compares runs with each other, with intervals and p-values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cristae.cli.options import Json

if TYPE_CHECKING:
    from cristae.evaluation.differences import Design, Finding


def compare(
    tables: Annotated[
        list[Path],
        typer.Argument(metavar="TABLE...", help="NAME.slices.csv of evaluate, or CSV: run, unit, value."),
    ],
    metric: Annotated[str, typer.Option("--metric", metavar="M", help="Metric to compare: a column.")] = "F1",
    class_name: Annotated[str | None, typer.Option("--class", metavar="NAME", help="Only this class.")] = None,
    unit: Annotated[
        str, typer.Option("--unit", metavar="U", help="What is independent: slice, slab:500nm, volume, column:NAME.")
    ] = "slice",
    slice_spacing_nm: Annotated[
        float | None, typer.Option("--slice-spacing-nm", metavar="Z", help="Distance of slices, for slabs.")
    ] = None,
    folds: Annotated[bool, typer.Option("--folds", help="Units are folds, with train_size and test_size.")] = False,
    instances: Annotated[
        bool, typer.Option("--instances", help="Units are training runs, differing in seeds.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the resampling.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", metavar="compare.csv", help="Write the findings here.")] = None,
    as_json: Json = False,
) -> None:
    """Compare runs in pairs, on the same independent units."""
    from cristae.cli.progress import console_progress
    from cristae.evaluation.differences import CompareOptions, findings_json
    from cristae.workflows.compare import compare as compare_runs

    if folds and instances:
        raise typer.BadParameter("give either --folds or --instances")
    design: Design = "folds" if folds else "instances" if instances else "units"
    findings = compare_runs(
        tables,
        out=out,
        options=CompareOptions(metric, class_name, unit, slice_spacing_nm, design, seed),
        progress=console_progress(),
    )
    print(findings_json(findings) if as_json else findings_text(findings), end="")


def findings_text(findings: Sequence[Finding]) -> str:
    """Findings as a table for a terminal: scores, then pairs."""
    titles = [_title(finding) for finding in findings]
    width = max([30, *map(len, titles)])
    head = f"{'':{width}}{'value':>10}{'low':>10}{'high':>10}{'p':>9}{'p (Holm)':>10}{'n':>6}"
    lines = [f"{findings[0].metric}, 95 % intervals, unit {findings[0].unit}", "", head]
    for title, found in zip(titles, findings, strict=True):
        cells = "".join(f"{_number(value, 4):>10}" for value in (found.value, found.low, found.high))
        lines.append(f"{title:{width}}{cells}{_number(found.p, 4):>9}{_number(found.p_holm, 4):>10}{found.n:6}")
    notes = _notes(titles, findings)
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _notes(titles: Sequence[str], findings: Sequence[Finding]) -> list[str]:
    """One line for each reason; a reason that several rows share is printed once."""
    rows: dict[str, list[str]] = {}
    for title, found in zip(titles, findings, strict=True):
        if found.reason:
            rows.setdefault(found.reason, []).append(title.strip())
    return [f"{whose[0] if len(whose) == 1 else f'{len(whose)} rows'}: {reason}" for reason, whose in rows.items()]


def _title(finding: Finding) -> str:
    label = f" [{finding.class_name}]" if finding.class_name else ""
    match finding.quantity:
        case "score":
            return f"{finding.run}{label}"
        case "deviation":
            return f"{finding.run}: standard deviation"
        case "quantile":
            return f"{finding.run}, {finding.method}"
        case "difference":
            return f"{finding.run} - {finding.other}{label}"
        case "superiority":
            return f"P({finding.run} beats {finding.other})"
        case "needed":
            return f"training runs to distinguish {finding.run}, {finding.other}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
