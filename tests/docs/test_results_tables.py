"""The tables of `docs/results` follow from the scores beside them."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from cristae.recipe.load import load_recipe

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def results() -> ModuleType:
    return script("make_results")


@pytest.fixture(scope="module")
def folds() -> ModuleType:
    return script("make_folds")


def script(name: str) -> ModuleType:
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(DOCS))


def test_an_interval_is_that_of_a_t_test(results: ModuleType) -> None:
    values = [0.61, 0.72, 0.66, 0.70]
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert results.interval(values) == f"{np.mean(values):.3f} ± {(high - low) / 2:.3f}"
    assert results.interval([0.5]) == "0.500"
    assert results.interval([0.5, math.nan]) == "-"


def test_the_best_runs_have_the_largest_sums_on_validation_regions(results: ModuleType) -> None:
    sums = {0: (0.5, 0.6), 1: (0.9, 0.1), 2: (0.4, math.nan), 3: (0.6, 0.6)}
    rows = [
        results.Row("a", seed, f"c{k}", value, 0, 0, 0, 0, 0, 1)
        for seed, pair in sums.items()
        for k, value in enumerate(pair)
    ]
    assert {row.seed for row in results.chosen(rows, 2)} == {0, 3}
    assert results.chosen(rows, None) == rows


def test_differences_are_between_runs_of_one_seed(results: ModuleType) -> None:
    scores = {("a", 0): 0.9, ("a", 1): 0.5, ("a", 2): 0.1, ("b", 0): 0.8, ("b", 1): 0.4}
    rows = [results.Row(name, seed, "c", 0, value, 0, 0, 0, 0, 1) for (name, seed), value in scores.items()]
    assert list(results.compared([("a", "b"), ("a", "none")], rows, ["c"])) == ["| a - b | 2 | +0.100 ± 0.000 |"]


def test_every_variant_is_a_recipe_of_its_own(results: ModuleType) -> None:
    for experiment in results.EXPERIMENTS.values():
        names = [results.run_name(variant, 0) for variant in experiment.variants]
        assert len({*names}) == len(names)
        for name, variant in zip(names, experiment.variants.values(), strict=True):
            changes = results.changes_of(experiment, variant, 0, name)
            assert load_recipe(results.RECIPES / variant.recipe, changes).name == name
        assert {name for pair in experiment.pairs for name in pair} <= {*experiment.variants}


def test_rows_are_kept_with_commas_in_their_names(results: ModuleType, tmp_path: Path) -> None:
    rows = [results.Row("SegET, B/F", 2, "cell membrane", 0.25, 0.5, 0.125, 0.75, 0.0625, 0.5, 3.5)]
    results.write_rows(tmp_path / "table.csv", rows)
    assert results.read_rows(tmp_path / "table.csv") == rows


@pytest.mark.parametrize("name", ["fib-sem-grain", "seget-weights"])
def test_a_page_is_made_of_its_rows(results: ModuleType, name: str) -> None:
    folder = DOCS / "results"
    if not (folder / f"{name}.csv").exists():
        pytest.skip("no trainings of this experiment are kept")
    rows = results.read_rows(folder / f"{name}.csv")
    assert (folder / f"{name}.md").read_text() == results.page(name, results.EXPERIMENTS[name], rows)


def test_every_study_is_a_recipe_with_folds(folds: ModuleType) -> None:
    for experiment in folds.STUDIES.values():
        assert load_recipe(folds.RECIPES / experiment.recipe, experiment.settings).folds.count == 5


def test_a_page_of_folds_says_means_and_intervals(folds: ModuleType, tmp_path: Path) -> None:
    """As the example of `mean_over_folds`; of two folds there is no interval."""
    rows = [
        folds.Row(fold, f"section {fold}", name, iou, 0.5, 0.5, math.nan, 400, 100, 2.0)
        for fold, iou in enumerate([0.70, 0.74, 0.72, 0.71, 0.73], 1)
        for name in ("mitochondria",)
    ]
    folds.write_rows(tmp_path / "table.csv", rows)
    text = folds.page("emnet-cardiac", folds.STUDIES["emnet-cardiac"], folds.read_rows(tmp_path / "table.csv"))
    assert "| 2 | section 2 | 0.740 | 2.0 |" in text
    assert "| mitochondria | 0.720 (0.691 to 0.749) | 0.500 (0.500 to 0.500) | 0.500 (0.500 to 0.500) | - |" in text
    assert "| mitochondria | 0.720 | 0.500 | 0.500 | - |" in folds.page("", folds.STUDIES["emnet-cardiac"], rows[:2])


@pytest.mark.parametrize("path", sorted((DOCS / "results").glob("folds-*.csv")), ids=lambda path: path.stem)
def test_a_page_of_folds_is_made_of_its_rows(folds: ModuleType, path: Path) -> None:
    name = path.stem.removeprefix("folds-")
    assert path.with_suffix(".md").read_text() == folds.page(name, folds.STUDIES[name], folds.read_rows(path))
