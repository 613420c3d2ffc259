"""Compare runs with each other: every run's score with its interval, every pair's difference with interval and p."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cristae.data.files import require_new_file, write_together
from cristae.evaluation.differences import CompareOptions, Finding, find_differences, findings_csv, findings_json
from cristae.metrics.score import score_paths
from cristae.progress import Progress


def compare(
    tables: Sequence[Path | str] | Path | str,
    *,
    out: Path | str | None = None,
    options: CompareOptions = CompareOptions(),
    progress: Progress = Progress(),
) -> tuple[Finding, ...]:
    """Compare all runs of some tables pairwise.

    Args:
        tables: One or several CSV tables of slices as `evaluate` writes them, or tidy tables with the columns run, unit
            and value.
        out: Also write the findings here, as .csv and .json.
        options: Which score, over which independent units.
        progress: Where warnings go.

    Returns:
        The score of each run, then the pairs. Below six units there is neither interval nor p, and a reason.

    Raises:
        MissingFileError: There is no such table.
        ScoreError: The tables or the options do not fit together.
        OutputExistsError: There are findings at `out` already.
    """
    if out is not None:
        for path in score_paths(Path(out)):
            require_new_file(path, what="the findings")
    paths = [Path(path) for path in ([tables] if isinstance(tables, str | Path) else tables)]
    findings = find_differences(paths, options, progress)
    if out is not None:
        table, document = score_paths(Path(out))
        write_together({table: findings_csv(findings).encode(), document: findings_json(findings).encode()})
    return findings
