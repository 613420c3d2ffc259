"""What is said of a benchmark's tables: against hand-worked values, planted winners, and word by word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from benchmarks.example_benchmark import example_tables
from scipy import stats

from cristae.evaluation.benchmarks.comparisons import compare_cells
from cristae.evaluation.benchmarks.costs import best_of, convergence, criteria, late_gain
from cristae.evaluation.benchmarks.ensembles import Ensemble, ensemble_rows, ensemble_sentence
from cristae.evaluation.benchmarks.learning_curve import curve, fits
from cristae.evaluation.benchmarks.statistics import write_statistics
from cristae.evaluation.benchmarks.summary import sentences
from cristae.evaluation.benchmarks.trials import Measure, Trial, Trials, fold_sizes, trials_of
from cristae.metrics.uncertainty.folds import folds_needed
from cristae.recipe.benchmark_folder import BenchmarkFacts
from cristae.recipe.benchmark_tables import (
    CellRow,
    JobRow,
    ScoreRow,
    read_json,
    row_records,
    write_table,
)

IOU = Measure("validation", "all", "Jaccard")
SIZES = (4.0, 1.0)


def of_folds(**cells: Sequence[float]) -> Trials:
    return {cell: tuple(Trial(fold, None, value) for fold, value in enumerate(own, 1)) for cell, own in cells.items()}


def cell(name: str, *, slices: int | None = None, parameters: int = 1000) -> CellRow:
    label = name.upper() if slices is None else f"{name.upper()}, {slices} slices"
    place = name if slices is None else f"{name}-{slices}"
    return CellRow(place, label, False, "{}", slices, "unet_bn", parameters, 1.0, "1 x 16 x 16", 2, 256, 8)


def score(name: str, value: float, **changes: object) -> ScoreRow:
    given: dict[str, object] = {
        "cell": name, "fold": 1, "instance": None, "split": "validation", "sample": "unknown", "volume": "all",
        "class_name": "mito", "metric": "Jaccard", "threshold": None, "value": value, "n": 10, "unit": "ratio",
        "rule": "pooled",
    }  # fmt: skip
    return ScoreRow(**(given | changes))  # type: ignore[arg-type]


def test_cells_of_folds_have_the_mean_and_the_interval_of_nadeau_and_bengio() -> None:
    values = [0.70, 0.74, 0.72, 0.71, 0.73]
    found = compare_cells(IOU, of_folds(a=values), SIZES, None)
    mean = found.means["a"]
    half = stats.t.ppf(0.975, 4) * math.sqrt((1 / 5 + 1 / 4) * np.var(values, ddof=1))
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.72, 0.72 - half, 0.72 + half))
    assert (mean.n, mean.unit) == (5, "folds")


def test_instances_of_a_fold_are_one_value() -> None:
    """Seeds are no independent folds: ten seeds of the same folds do not make the interval ten times narrower."""
    seeds = {"a": tuple(Trial(f, i, 0.7 + 0.01 * f + 0.001 * i) for f in (1, 2, 3) for i in (1, 2, 3, 4))}
    found = compare_cells(IOU, seeds, SIZES, None).means["a"]
    alone = compare_cells(IOU, of_folds(a=[0.7125, 0.7225, 0.7325]), SIZES, None).means["a"]
    assert (found.value, found.low, found.n) == pytest.approx((alone.value, alone.low, 3))


def test_a_large_difference_over_six_folds_is_found_and_a_small_one_is_not() -> None:
    rng = np.random.default_rng(0)
    folds = rng.normal(0.8, 0.02, 6)
    cells = of_folds(a=folds, b=folds - 0.05 + rng.normal(0, 0.004, 6), c=folds - 0.001 + rng.normal(0, 0.01, 6))
    found = compare_cells(IOU, cells, (5, 1), None)
    verdicts = {(one.cell, one.other): one.verdict for one in found.pairs}
    assert verdicts == {("a", "b"): "better", ("a", "c"): "undecided", ("b", "c"): "worse"}
    assert {cell: found.ranks(cell) for cell in cells} == {"a": (1, 2), "c": (1, 2), "b": (3, 3)}
    lower = compare_cells(Measure("validation", "all", "VI"), cells, (5, 1), None)
    assert {one.cell: lower.ranks(one.cell) for one in lower.ordered()} == {"b": (1, 1), "a": (2, 3), "c": (2, 3)}


def test_sizes_of_folds_are_those_of_what_is_scored() -> None:
    """Of nested folds the part that is tested, not the one that epochs are chosen on."""
    jobs = [
        JobRow("a", fold, None, 0, "complete", "", train_vox=train, validate_vox=100, test_vox=test)
        for fold, train, test in ((1, 500, 40), (2, 700, 80))
    ]
    jobs.append(JobRow("a", 3, None, 0, "failed", "out of memory"))
    assert fold_sizes(jobs, "test") == (600, 60)
    assert fold_sizes(jobs, "validation") == (600, 100)
    assert fold_sizes(jobs[2:], "test") == (1, 1)


def test_folds_that_would_decide_are_told() -> None:
    folds = np.array([0.80, 0.82, 0.81, 0.83, 0.79, 0.81])
    noise = np.array([0.02, -0.01, 0.01, -0.02, 0.03, 0.0])
    found = compare_cells(IOU, of_folds(a=folds + 0.01 + noise, b=folds), (5, 1), None, needed=True)
    pair = found.pairs[0]
    needed = folds_needed(0.01 + noise, 5, 1)
    assert (pair.verdict, pair.needed, pair.needed_reason) == ("undecided", needed.n, needed.reason)
    said = [one["text"] for one in sentences(found, [cell("a"), cell("b")], [])]
    assert said[-1] == f"About {needed.n} folds would tell A and B apart ({needed.reason})."
    assert compare_cells(IOU, of_folds(a=folds, b=folds + noise), (5, 1), None).pairs[0].needed is None


def test_two_folds_decide_nothing() -> None:
    found = compare_cells(IOU, of_folds(a=[0.9, 0.9], b=[0.1, 0.2]), SIZES, None)
    assert (found.pairs[0].p, found.pairs[0].verdict) == (None, "undecided")
    assert "needs at least 6" in found.pairs[0].reason
    assert found.means["a"].low is None


def test_equal_networks_are_told_apart_in_at_most_one_of_twenty_benchmarks() -> None:
    """Folds share training data: correlated errors, as in the model behind the corrected test."""
    rng, wrong, rounds = np.random.default_rng(1), 0, 300
    for _ in range(rounds):
        shared = rng.normal(0.8, 0.03, 6)
        cells = of_folds(**{name: shared + rng.normal(0, 0.01, 6) for name in "abcd"})
        wrong += any(one.verdict != "undecided" for one in compare_cells(IOU, cells, (5, 1), None).pairs)
    assert wrong <= stats.binom.ppf(0.999, rounds, 0.05)


def test_intervals_end_where_scores_do() -> None:
    cells = of_folds(a=[0.99, 0.7, 0.995], b=[0.01, 0.4, 0.0])
    shares = compare_cells(Measure("validation", "mito", "Jaccard"), cells, (2, 1), None).means
    assert (shares["b"].low, shares["a"].high) == (0, 1)
    bits = compare_cells(Measure("validation", "mito", "VI"), cells, (2, 1), None).means
    assert bits["b"].low == pytest.approx(2 * bits["b"].value - (bits["b"].high or 0))
    assert (bits["b"].low or 0) < 0


def test_the_planted_winner_is_in_the_first_group() -> None:
    rng, first, alone, rounds = np.random.default_rng(2), 0, 0, 100
    for _ in range(rounds):
        shared = rng.normal(0.8, 0.03, 6)
        gains = {"a": 0.03, "b": 0.0, "c": -0.02}
        cells = of_folds(**{name: shared + gain + rng.normal(0, 0.008, 6) for name, gain in gains.items()})
        found = compare_cells(IOU, cells, (5, 1), None)
        first += found.ranks("a")[0] == 1
        alone += found.ranks("a") == (1, 1)
    assert first >= 95
    assert alone >= 50


def test_the_mean_of_a_fold_is_over_the_classes_that_all_cells_have_there() -> None:
    """In fold 2 one cell has found none of the ER that is not there, and the other one some."""
    rows = [
        score("a", 0.6), score("a", 0.8, class_name="er"), score("a", 0.5, fold=2),
        score("a", 0.7, volume="cell"), score("a", math.nan, class_name="er", fold=2),
        score("b", 0.4), score("b", 0.2, class_name="er"), score("b", 0.9, fold=2),
        score("b", 0.0, class_name="er", fold=2), score("c", 0.1), score("c", 0.2, fold=2),
    ]  # fmt: skip
    found = trials_of(rows)
    assert found[Measure("validation", "all", "Jaccard")] == {
        "a": (Trial(1, None, 0.7), Trial(2, None, 0.5)),
        "b": (Trial(1, None, pytest.approx(0.3)), Trial(2, None, 0.9)),
        "c": (Trial(2, None, 0.2),),
    }
    found = trials_of([row for row in rows if row.cell == "a"])
    assert found[Measure("validation", "mito", "Jaccard")] == {"a": (Trial(1, None, 0.6), Trial(2, None, 0.5))}


def test_convergence_is_the_first_epoch_with_95_percent_of_the_gain() -> None:
    values = [(0.2, 2.0), (0.9, 1.0), (0.955, 0.9), (1.0, 0.5)]
    rows = [
        {"cell": "a", "fold": "1", "instance": "", "epoch": str(k), "val_miou": str(miou), "val_loss": str(loss),
         "seconds": str(10 * k)}
        for k, (miou, loss) in enumerate(values, 1)
    ]  # fmt: skip
    found = {row["criterion"]: row for row in convergence(rows)}
    assert (found["miou"]["epoch_95"], found["miou"]["seconds_95"], found["miou"]["best_epoch"]) == (4, 40, 4)
    assert (found["loss"]["epoch_95"], found["loss"]["best_value"]) == (4, 0.5)
    rows[2]["val_miou"] = "0.965"
    assert {row["criterion"]: row for row in convergence(rows)}["miou"]["epoch_95"] == 3


def test_what_the_last_epochs_gain_tells_short_trainings() -> None:
    curves = {"a": [0.1, 0.3, 0.4, 0.5, 0.7], "b": [0.6, 0.7, 0.65, 0.6, 0.6], "c": [0.1, 0.9]}
    rows = [
        {"cell": name, "fold": "1", "instance": "", "epoch": str(k), "val_miou": str(value)}
        for name, values in curves.items()
        for k, value in enumerate(values, 1)
    ]
    assert late_gain(rows) == pytest.approx((0.2 + 0.0) / 2)
    assert late_gain(rows[-2:]) is None
    compared = compare_cells(IOU, of_folds(a=[0.5, 0.6, 0.7]), (2, 1), None)
    said = [one["text"] for one in sentences(compared, [cell("a")], [], late_gain=0.1)]
    assert any("were short" in one and "the best validation mIoU still rose by 0.100" in one for one in said)
    assert not any("were short" in one["text"] for one in sentences(compared, [cell("a")], [], late_gain=0.005))


def test_the_criterion_that_goes_with_the_score_is_found() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(12)
    rows = [
        {"cell": f"c{k}", "fold": 1, "instance": None, "criterion": name, "best_value": value}
        for k, true in enumerate(truth)
        for name, value in (("miou", true), ("loss", rng.random()))
    ]
    trials = {f"c{k}": (Trial(1, None, float(true)),) for k, true in enumerate(truth)}
    found = {(row["criterion"], row["level"]): row for row in criteria(rows, trials)}
    assert (found["miou", "jobs"]["correlation"], found["miou", "jobs"]["low"]) == (1, None)
    assert found["miou", "jobs"]["note"] == "the same order: no interval"
    assert abs(found["loss", "jobs"]["correlation"]) < 0.9
    assert found["f1", "jobs"]["note"] == "fewer than 4"


def test_best_m_of_n_are_chosen_by_validation_alone() -> None:
    trials = {"a": tuple(Trial(None, k, value) for k, value in enumerate([0.1, 0.9, 0.5], 1))}
    validation = {("a", None, 1): 0.7, ("a", None, 2): 0.1, ("a", None, 3): 0.6}
    found = [(row["m"], round(row["mean"], 6)) for row in best_of(trials, validation)]
    assert found == [(1, 0.1), (2, 0.3), (3, 0.5)]


def test_a_power_law_is_found_again() -> None:
    numbers = (1, 2, 4, 8, 16)
    trials = {
        f"a-{n}": tuple(Trial(f, None, 0.9 - 0.4 * n**-0.5 + 0.002 * (f - 2)) for f in (1, 2, 3)) for n in numbers
    }
    (law,) = fits([cell("a", slices=n) for n in numbers], trials, "Jaccard")
    assert (law["asymptote"], law["scale"], law["power"]) == pytest.approx((0.9, 0.4, 0.5), abs=0.02)
    gain = 0.4 * (16**-0.5 - 32**-0.5)
    assert law["gain_doubling"] == pytest.approx(gain, abs=0.002)
    assert law["low"] <= law["gain_doubling"] <= law["high"]
    assert law["verdict"].endswith("more labels would help")
    assert set(example_tables()["curve_fit"][0]) <= set(law), "what the page is tested with is what it gets"
    means = compare_cells(IOU, trials, (2, 1), None).means
    rows = list(curve([cell("a", slices=n) for n in numbers], means, trials))
    assert set(example_tables()["curve"][0]) <= set(rows[0])
    flat = {f"a-{n}": tuple(Trial(f, None, 0.8 + 0.001 * f) for f in (1, 2, 3)) for n in numbers}
    (law,) = fits([cell("a", slices=n) for n in numbers], flat, "Jaccard")
    assert law["verdict"].endswith("0.000 from 3 folds or trainings alone): more labels would hardly help")


def test_the_interval_of_a_gain_knows_that_trainings_differ() -> None:
    """Folds that are alike leave no doubt, if their trainings are alike, too."""
    numbers, rng = (1, 2, 4, 8, 16), np.random.default_rng(1)

    def width(noise: float) -> float:
        trials = {
            f"a-{n}": tuple(
                Trial(f, k, 0.9 - 0.4 * n**-0.5 + noise * float(rng.normal())) for f in range(6) for k in (1, 2)
            )
            for n in numbers
        }
        (law,) = fits([cell("a", slices=n) for n in numbers], trials, "Jaccard")
        assert "alone" not in law["verdict"]
        return float(law["high"] - law["low"])

    assert width(0.0) < 1e-9
    assert width(0.02) > 0.005


def test_sentences_word_by_word() -> None:
    folds = np.array([0.80, 0.82, 0.81, 0.83, 0.79, 0.81])
    noise = np.array([0.004, -0.003, 0.002, -0.004, 0.001, 0.0])
    cells = of_folds(a=folds, b=folds - 0.002 + noise, c=folds - 0.1 + noise)
    found = compare_cells(IOU, cells, (5, 1), None)
    seconds = {"a": 70, "b": 65, "c": 10}
    jobs = [JobRow(name, 1, None, 0, "complete", "", train_seconds=took) for name, took in seconds.items()]
    jobs.append(JobRow("b", 2, None, 0, "failed", "out of memory"))
    said = [one["text"] for one in sentences(found, [cell(name) for name in "abc"], jobs)]
    pair = next(one for one in found.pairs if (one.cell, one.other) == ("a", "b"))
    assert pair.low is not None
    assert pair.high is not None
    mean = found.means["a"]
    assert said == [
        f"A has the best mean Jaccard (IoU), 0.810 (95 % {mean.low:.3f} to {mean.high:.3f}).",
        f"A and B are not distinguishable on these data (difference 0.002, 95 % {pair.low:.3f} to {pair.high:.3f}).",
        "Surely worse than A: C.",
        "C trains in a seventh of the time of A and scores 0.100 less.",
        "1 training failed: B, fold 2.",
    ]


def test_a_table_says_the_same_as_csv_json_and_parquet(tmp_path: Path) -> None:
    from pyarrow import parquet

    records = [
        {"cell": "a", "n": 1, "value": 0.5, "ok": True},
        {"cell": "b", "n": None, "value": math.nan, "note": "x"},
    ]
    write_table(tmp_path, "table", records)
    plain = [{"cell": "a", "n": 1, "value": 0.5, "ok": True}, {"cell": "b", "n": None, "value": None, "note": "x"}]
    assert read_json(tmp_path / "table.json") == plain
    found = parquet.read_table(tmp_path / "table.parquet").to_pylist()
    assert [{key: row[key] for key in one} for row, one in zip(found, plain, strict=True)] == plain
    assert (tmp_path / "table.csv").read_text() == "cell,n,value,ok,note\na,1,0.5,True,\nb,,nan,,x\n"


def test_all_tables_are_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    scores = [
        score(name, float(rng.normal(0.8, 0.01)), fold=fold, metric=metric, **place)
        for name in "ab"
        for fold in range(1, 7)
        for metric in ("Jaccard", "VI")
        for place in ({}, {"volume": "v", "sample": "within"}, {"volume": "w", "sample": "new", "split": "test"})
    ]
    tables = {
        "cells": row_records([cell("a"), cell("b")]),
        "jobs": row_records([JobRow(name, fold, None, 0, "complete", "") for name in "ab" for fold in range(1, 7)]),
        "scores": row_records(scores),
        "slices": [],
        "epochs": [],
    }
    for name, rows in tables.items():
        write_table(tmp_path, name, rows)
    best = write_statistics(tmp_path, BenchmarkFacts("x", "", (), "Jaccard", "mito"))
    means = {
        name: fmean(one.value for one in scores if (one.cell, one.volume, one.metric) == (name, "all", "Jaccard"))
        for name in "ab"
    }
    assert best is None, "the cells are ranked by test scores, and no test score is pooled"
    heat = [row for row in read_json(tmp_path / "heat.json") if row["metric"] == "VI" and row["class"] == "mito"]
    assert sorted(row["scaled"] for row in heat) == [0.0, 1.0]
    assert min(heat, key=lambda row: row["value"])["scaled"] == 1.0, "the variation of information is better if lower"
    ranking = [
        row for row in read_json(tmp_path / "ranking.json") if (row["metric"], row["class"]) == ("Jaccard", "mito")
    ]
    assert {row["cell"]: row["mean"] for row in ranking} == pytest.approx(means)
    drop = {row["cell"]: row["drop"] for row in read_json(tmp_path / "drop.json")}
    assert set(drop) == {"a", "b"}


def of_ensembles(**values: Sequence[float]) -> list[ScoreRow]:
    return [score(name, value, fold=fold) for name, own in values.items() for fold, value in enumerate(own, 1)]


def ensembles(single: str = "a") -> list[Ensemble]:
    return [
        Ensemble("single", "single", (single,), (1,)),
        Ensemble("top", "top-k", ("b", "a"), (1, 1)),
        Ensemble("greedy", "greedy", ("b", "a", "c"), (3, 1, 1)),
    ]


def test_ensembles_are_compared_with_the_best_cell_fold_by_fold() -> None:
    single = np.array([0.80, 0.82, 0.81, 0.83, 0.79, 0.81])
    gain = np.array([0.030, 0.024, 0.028, 0.031, 0.027, 0.026])
    scores = of_ensembles(single=single, top=single + 0.001, greedy=single + gain)
    wanted = Measure("validation", "mito", "Jaccard")
    rows = ensemble_rows(ensembles(), wanted, scores, [], (5, 1), "other folds")
    assert [(row["rule"], row["k"], row["members"], row["chosen"]) for row in rows] == [
        ("top-k", 2, "b, a", False), ("greedy", 3, "b, a, c", True),
    ]  # fmt: skip
    found, mean = rows[1], single + gain
    half = stats.t.ppf(0.975, 5) * math.sqrt((1 / 6 + 1 / 5) * np.var(gain, ddof=1))
    assert (found["value"], found["against_value"]) == pytest.approx((mean.mean(), single.mean()))
    assert (found["difference_low"], found["difference_high"]) == pytest.approx(
        (gain.mean() - half, gain.mean() + half)
    )
    assert (found["verdict"], rows[0]["verdict"]) == ("better", "")
    labels = {name: name.upper() for name in "abc"}
    assert ensemble_sentence(found, labels)["text"] == (
        "The ensemble of B (weight 3), A and C is better than A alone, the best trained method (Jaccard (IoU) 0.838 "
        f"against 0.810, difference +0.028, 95 % {gain.mean() - half:+.3f} to {gain.mean() + half:+.3f}). Each fold is "
        "scored with the members that the other folds choose."
    )
    distances = [replace(one, metric="VI") for one in scores]
    lower = ensemble_rows(ensembles(), replace(wanted, metric="VI"), distances, [], (5, 1), "other folds")
    assert lower[1]["verdict"] == "worse"


def test_few_folds_leave_it_undecided_whether_an_ensemble_is_better() -> None:
    scores = of_ensembles(single=[0.8, 0.7, 0.8], top=[0.8, 0.8, 0.8], greedy=[0.81, 0.72, 0.83])
    wanted = Measure("validation", "mito", "Jaccard")
    found = ensemble_rows(ensembles(), wanted, scores, [], (2, 1), "validation regions")[1]
    said = ensemble_sentence(found, {name: name.upper() for name in "abc"})["text"]
    assert said.startswith(
        "Whether the ensemble of B (weight 3), A and C is better than A alone, the best trained method, is undecided "
        "(Jaccard (IoU) 0.787 against 0.767, difference +0.020): 3 folds; a comparison needs at least 6"
    )
    assert said.endswith("Its members were chosen on the validation regions.")
    alone = {**found, "members": "a", "weights": "1"}
    assert ensemble_sentence(alone, {"a": "A"})["text"] == (
        "No ensemble of methods was found that does better on the validation regions than A alone."
    )
    other = ensemble_sentence({**found, "members": "c", "weights": "2"}, {"a": "A", "c": "C"})["text"]
    assert other.startswith("Whether C alone is better than A alone, the best trained method, is undecided")


def test_cells_without_a_value_for_every_class_are_not_ranked_by_the_mean(tmp_path: Path) -> None:
    """As where a rare class is in none of the scored regions: the scores of the other class are told all the same."""
    scores = [score(name, value) for name, value in (("a", 0.6), ("b", 0.8))]
    scores += [score(name, math.nan, class_name="er") for name in "ab"]
    scores += [score("a", 0.3, class_name="er", metric="F1"), score("b", 0.4, metric="F1")]
    tables = {"cells": row_records([cell("a"), cell("b")]), "scores": row_records(scores)}
    for name in ("cells", "jobs", "scores", "slices", "epochs"):
        write_table(tmp_path, name, tables.get(name, []))
    assert trials_of(scores).keys() == {
        Measure("validation", "mito", "Jaccard"), Measure("validation", "all", "Jaccard"),
        Measure("validation", "er", "F1"), Measure("validation", "mito", "F1"),
    }  # fmt: skip
    assert write_statistics(tmp_path, BenchmarkFacts("x", "", (), "F1", "all")) is None
    heat = read_json(tmp_path / "heat.json")
    assert {(row["class"], row["cell"]): row["value"] for row in heat if row["metric"] == "Jaccard"} == {
        ("mito", "a"): 0.6, ("mito", "b"): 0.8, ("all", "a"): 0.6, ("all", "b"): 0.8,
    }  # fmt: skip
