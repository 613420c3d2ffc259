"""The cell that ranks first, as an ensemble file that `predict` takes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from cristae.metrics.table import describe_metric
from cristae.recipe.benchmark_folder import BEST, BenchmarkFacts
from cristae.recipe.benchmark_tables import ScoreRow
from cristae.recipe.ensemble_file import open_ensemble, write_ensemble
from cristae.recipe.study import Study


def write_best(path: Path, facts: BenchmarkFacts, scores: Sequence[ScoreRow], studies: Mapping[str, Study]) -> None:
    """Write `best.yaml`: the ensemble of the best cell whose jobs are all finished; none where there is none."""
    file = path / f"{BEST}.yaml"
    file.unlink(missing_ok=True)
    finished = {name: study for name, study in studies.items() if study.ensemble_path.is_file()}
    best = best_cell(facts, [row for row in scores if row.cell in finished])
    if best is None:
        return
    members = open_ensemble(finished[best].ensemble_path).members
    held_out = [[(one.image, one.box) for one in member.held_out] for member in members]
    write_ensemble(file, [member.run for member in members], held_out=held_out)


def best_cell(facts: BenchmarkFacts, scores: Sequence[ScoreRow]) -> str | None:
    """The cell whose mean over its jobs is best; of equals the first."""
    split = "test" if any(row.split == "test" for row in scores) else "validation"
    values: dict[str, list[float]] = defaultdict(list)
    for row in scores:
        wanted = row.metric == facts.metric and (facts.class_name == "all" or row.class_name == facts.class_name)
        if wanted and row.split == split and row.volume == "all" and not math.isnan(row.value):
            values[row.cell].append(row.value)
    if not values:
        return None
    sign = -1 if describe_metric(facts.metric).better == "lower" else 1
    return max(values, key=lambda cell: sign * fmean(values[cell]))
