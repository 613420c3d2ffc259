"""The tables about organelle estimates are those of the figures that are kept beside them."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.organelle_estimates import HARD, SCENARIOS, table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def estimates() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import make_estimates
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return make_estimates


def test_the_page_shows_what_was_simulated() -> None:
    kept = json.loads((ROOT / "benchmarks/results/organelle_estimates.json").read_text())
    assert list(kept["scenarios"]) == [scenario.name for scenario in (*SCENARIOS, *HARD)]
    assert table(kept["scenarios"]) in (ROOT / "docs/explanation/organelle-estimates.md").read_text()


def test_corrected_intervals_hold_the_truth_where_the_page_says_so() -> None:
    kept = json.loads((ROOT / "benchmarks/results/organelle_estimates.json").read_text())["scenarios"]
    for scenario in SCENARIOS:
        assert 0.93 <= kept[scenario.name]["coverage"]["tuned"] <= 0.972, scenario.name


def test_the_table_of_real_volumes_is_that_of_its_figures(estimates: ModuleType) -> None:
    with (ROOT / "docs/results/organelle-estimates.csv").open() as file:
        rows = [
            estimates.Figures(
                **{
                    field.name: {"str": str, "int": int, "float": float}[field.type](row[field.name])
                    for field in fields(estimates.Figures)
                }
            )
            for row in csv.DictReader(file)
        ]
    assert estimates.page(rows) == (ROOT / "docs/results/organelle-estimates.md").read_text()
    assert {row.data_set for row in rows} == {study.data_set for study in estimates.STUDIES}
