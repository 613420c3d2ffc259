"""The pages of benchmarks of public sets follow from the tables beside them, and each has its plan."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from cristae.benchmark.load import load_plan

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmarks() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import make_benchmarks
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return make_benchmarks


def test_every_benchmark_has_its_plan(benchmarks: ModuleType) -> None:
    for name in benchmarks.EXPERIMENTS:
        plan = load_plan(ROOT / "recipes" / "plans" / f"{name}.yaml")
        assert plan.name == name
        assert (plan.folder / plan.base).is_file()


def test_rows_are_kept_and_shown(benchmarks: ModuleType, tmp_path: Path) -> None:
    best = benchmarks.Row("U-Net", 1, 2, 0.8125, 0.75, 0.875, 3, 483153, 4.5, 400, 2.5, 1.5)
    alone = replace(best, cell="SegET", rank_low=2, low=math.nan, high=math.nan, peak_gib=math.nan)
    benchmarks.write_rows(tmp_path / "rows.csv", iter([best, alone]))
    first, second = benchmarks.read_rows(tmp_path / "rows.csv")
    assert first == best
    assert math.isnan(second.low)
    text = benchmarks.page("emnet-cardiac-quick", [first, second], ["U-Net and SegET are not told apart."])
    assert "| U-Net | 1 to 2 | 0.812 | 0.750 to 0.875 | 483,153 | 4.5 | 400 | 2.5 | 1.5 |" in text
    assert "| SegET | 2 | 0.812 | - | 483,153 | 4.5 | 400 | 2.5 | - |" in text
    assert "- U-Net and SegET are not told apart." in text


def test_pages_are_made_of_their_tables(benchmarks: ModuleType) -> None:
    for name in benchmarks.EXPERIMENTS:
        table = ROOT / "docs" / "results" / f"benchmark-{name}.csv"
        if table.exists():
            said = benchmarks.read_said(table)
            assert table.with_suffix(".md").read_text() == benchmarks.page(name, benchmarks.read_rows(table), said)
            assert table.with_suffix(".html").is_file()
