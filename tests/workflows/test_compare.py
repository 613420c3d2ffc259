"""The verb compare: tables in, findings out, refusals typed."""

import csv
import json
import statistics

import numpy as np
import pytest
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.errors import CristaeError, MissingFileError, OutputExistsError, ScoreError
from cristae.evaluation.differences import CompareOptions
from cristae.metrics.uncertainty.bootstrap import interval
from cristae.metrics.uncertainty.paired import permutation_p
from cristae.metrics.uncertainty.statistic import pooled_score
from cristae.progress import Progress
from cristae.workflows.compare import compare

F1 = pooled_score("F1")
HEADER = ["run", "volume", "slice", "class", "TP", "FP", "FN", "TN", "F1", "V_rand", "animal"]


class Heard(Progress):
    def __init__(self):
        self.messages = []

    def say(self, message):
        self.messages.append(message)


def slice_table(path, runs=("A", "B"), volumes=("v1",), n=12, edit=None, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for volume in volumes:
        sizes = rng.integers(400, 900, n)
        for number, run in enumerate(runs):
            for z in range(n):
                counts = [sizes[z], *rng.poisson(20 + 40 * number, 2), 9000]
                v_rand = "nan" if z == 3 else f"{0.9 - 0.1 * number + 0.01 * rng.random():.6f}"
                rows.append(
                    [run, volume, z, "mito", *counts, f"{F1(np.array(counts, float)):.6f}", v_rand, volume + "m"]
                )
    rows = edit(rows) if edit else rows
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path, rows


def tidy_table(path, values, sizes=None):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "unit", "value", *(["train_size", "test_size"] if sizes else [])])
        for run, own in values.items():
            writer.writerows([run, unit, value, *(sizes or [])] for unit, value in enumerate(own))
    return path


def counts_of(rows, run):
    return np.array([row[4:8] for row in rows if row[0] == run], float)


def test_pooled_scores_come_from_the_counts(tmp_path):
    path, rows = slice_table(tmp_path / "x.slices.csv")
    first, second, pair = compare([path])
    a, b = counts_of(rows, "A"), counts_of(rows, "B")
    assert (first.run, second.run, pair.run, pair.other) == ("A", "B", "A", "B")
    assert first.value == pytest.approx(F1(a.sum(axis=0)))
    assert pair.value == pytest.approx(F1(a.sum(axis=0)) - F1(b.sum(axis=0)))
    assert pair.p == pair.p_holm == permutation_p(a, b, F1)
    known = interval(a, F1)
    assert (first.low, first.high, first.n) == (known.low, known.high, 12)


def test_slice_means_leave_out_what_is_undefined(tmp_path):
    path, rows = slice_table(tmp_path / "x.slices.csv")
    for metric, column in (("F1_slice_mean", 8), ("V_rand", 9)):
        found = compare([path], options=CompareOptions(metric=metric))[0]
        values = [float(row[column]) for row in rows if row[0] == "A" and row[column] != "nan"]
        assert found.value == pytest.approx(np.mean(values))


def test_slabs_volumes_and_animals_are_units(tmp_path):
    path, rows = slice_table(tmp_path / "x.slices.csv", volumes=[f"v{i}" for i in range(7)])
    slab = compare([path], options=CompareOptions(unit="slab:200nm", slice_spacing_nm=50))[2]
    volume = compare([path], options=CompareOptions(unit="volume"))[2]
    animal = compare([path], options=CompareOptions(unit="column:animal"))[2]
    assert (slab.n, volume.n, animal.n) == (21, 7, 7)
    a, b = (counts_of(rows, run).reshape(7, 12, 4).sum(axis=1) for run in "AB")
    assert volume.p == permutation_p(a, b, F1) == 2 / 2**7
    assert (volume.value, volume.p, volume.low) == (animal.value, animal.p, animal.low)


def test_slices_of_a_stack_are_warned_of(tmp_path):
    def drift(rows):
        for row in rows:
            row[5] = 20 + 30 * (row[2] // 10 % 2)
        return rows

    path, _ = slice_table(tmp_path / "x.slices.csv", n=60, edit=drift)
    heard = Heard()
    compare([path], progress=heard)
    assert "taken as independent" in heard.messages[0]
    assert "is correlated over about" in heard.messages[1]
    quiet = Heard()
    compare([path], progress=quiet, options=CompareOptions(unit="slab:500nm", slice_spacing_nm=50))
    assert quiet.messages == []


def test_few_units_have_no_p(tmp_path):
    path, _ = slice_table(tmp_path / "x.slices.csv", n=5)
    for finding in compare([path]):
        assert (finding.low, finding.high, finding.p, finding.p_holm) == (None, None, None, None)
        assert "at least 6" in finding.reason


def test_three_runs_are_corrected(tmp_path):
    path, _ = slice_table(tmp_path / "x.slices.csv", runs=("A", "B", "C"), n=6)
    pairs = [finding for finding in compare([path]) if finding.quantity == "difference"]
    assert [(pair.run, pair.other) for pair in pairs] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert all(pair.p == 2 / 2**6 for pair in pairs)
    assert all(pair.p_holm == pytest.approx(6 / 2**6) for pair in pairs)


def test_tables_of_several_files_are_taken_together_in_any_order(tmp_path):
    together, _ = slice_table(tmp_path / "x.slices.csv")
    one, _ = slice_table(tmp_path / "a.csv", edit=lambda rows: [row for row in rows if row[0] == "A"])
    two, _ = slice_table(tmp_path / "b.csv", edit=lambda rows: [row for row in rows if row[0] == "B"][::-1])
    assert compare([one, two])[2].p == compare([together])[2].p


def test_tidy_units_folds_and_trainings(tmp_path):
    rng = np.random.default_rng(0)
    values = {"A": list(rng.normal(0.62, 0.02, 12)), "B": list(rng.normal(0.6, 0.02, 12))}
    path = tidy_table(tmp_path / "t.csv", values, sizes=(9, 1))
    difference = np.mean(values["A"]) - np.mean(values["B"])
    units, folds = compare([path]), compare([path], options=CompareOptions(design="folds"))
    assert units[2].value == pytest.approx(difference)
    assert folds[2].value == pytest.approx(difference)
    assert folds[2].method == "corrected resampled t"
    assert "share training data" in folds[0].reason
    trainings = compare([path], options=CompareOptions(design="instances"))
    assert [finding.quantity for finding in trainings[-3:]] == ["difference", "superiority", "needed"]
    assert trainings[2].quantity == "deviation"
    assert trainings[2].value == pytest.approx(statistics.stdev(values["A"]))
    assert trainings[5].value == pytest.approx(np.median(values["A"]))
    assert trainings[-2].value == pytest.approx(np.mean([a > b for a in values["A"] for b in values["B"]]))


def test_trainings_need_not_be_equally_many(tmp_path):
    path = tidy_table(tmp_path / "t.csv", {"A": [0.5, 0.6, 0.55, 0.52, 0.58, 0.57], "B": [0.4, 0.5, 0.45] * 3})
    assert compare([path], options=CompareOptions(design="instances"))[-1].n == 6
    with pytest.raises(ScoreError, match="do not have the same units"):
        compare([path])


def _twice(rows):
    return [*rows, rows[0]]


def _cell(column, text):
    def edit(rows):
        rows[2][column] = text
        return rows

    return edit


@pytest.mark.parametrize(
    ("edit", "options", "message"),
    [
        (_twice, {}, "each may occur once"),
        (lambda rows: rows[:-1], {}, "do not have the same units"),
        (lambda rows: rows[:-1], {"unit": "volume"}, "do not have the same units"),
        (_cell(4, "nan"), {}, "TP is 'nan'"),
        (_cell(4, "-3"), {}, "cannot be negative"),
        (_cell(9, "high"), {"metric": "V_rand"}, "V_rand is 'high'"),
        (_cell(2, "1.5"), {}, "whole number"),
        (_cell(10, " "), {"unit": "column:animal"}, "is empty"),
        (
            lambda rows: [[*row[:9], "" if row[0] == "A" else row[9], *row[10:]] for row in rows],
            {"metric": "V_rand"},
            "'A' was not evaluated for V_rand of '.*': the column is empty; evaluate it again, .* with partition among",
        ),
        (None, {"metric": "V_rnad"}, "unknown metric 'V_rnad'"),
        (None, {"seed": -1}, r"the seed of the resampling is -1; give 0 or more \(--seed\)"),
        (None, {"metric": "TP"}, "unknown metric 'TP'"),
        (None, {"class_name": "vesicle"}, "no row is of class 'vesicle'"),
        (None, {"unit": "column:mouse"}, "no column 'mouse'"),
        (None, {"unit": "slab:200nm"}, "give --slice-spacing-nm"),
        (None, {"unit": "slab:20nm", "slice_spacing_nm": 50}, "thinner"),
        (None, {"unit": "tile"}, "is not a unit"),
        (None, {"design": "folds"}, "from tidy tables"),
        (lambda rows: [], {}, "no rows"),
    ],
)
def test_refusals_of_slices(tmp_path, edit, options, message):
    path, _ = slice_table(tmp_path / "x.slices.csv", edit=edit)
    with pytest.raises(ScoreError, match=message):
        compare([path], options=CompareOptions(**options))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("run,unit,value\nA,1,0.5\nA,1,0.6\n", {}, "occurs twice"),
        ("run,unit,value\nA,1,nan\n", {}, "value is 'nan'"),
        ("run,unit,value\nA,1,inf\n", {}, "value is 'inf'"),
        ("run,unit,value\nA,1\n", {}, "number of columns"),
        ("run,unit,value\nA,1,0.5\n", {"design": "folds"}, "needs the columns train_size"),
        ("run,unit,value\nA,1,0.5\n", {"class_name": "mito"}, "has no classes"),
        (
            "run,unit,value,train_size,test_size\nA,1,1,9,1\nB,2,1,9,1\n",
            {"design": "folds"},
            "do not have the same folds",
        ),
        ("run,value\nA,0.5\n", {}, "expected the columns run, unit, value"),
        ("", {}, "found none"),
        ('run,unit,value\n"A,1', {}, "not a CSV table"),
    ],
)
def test_refusals_of_tidy_tables(tmp_path, text, options, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ScoreError, match=message):
        compare([path], options=CompareOptions(**options))


def test_refusals_of_files(tmp_path):
    path, _ = slice_table(tmp_path / "x.slices.csv")
    tidy = tidy_table(tmp_path / "t.csv", {"A": [1.0]})
    with pytest.raises(ScoreError, match="not both"):
        compare([path, tidy])
    with pytest.raises(MissingFileError, match="no such table"):
        compare([tmp_path / "none.csv"])
    with pytest.raises(ScoreError, match="at least one"):
        compare([])
    compare([path], out=tmp_path / "out.csv")
    with pytest.raises(OutputExistsError):
        compare([path], out=tmp_path / "out.csv")
    assert issubclass(ScoreError, CristaeError)


def test_findings_are_written_as_csv_and_json(tmp_path):
    path, _ = slice_table(tmp_path / "x.slices.csv")
    found = compare([path], out=tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    document = json.loads((tmp_path / "out.json").read_text())
    assert [float(row["value"]) for row in rows] == [finding.value for finding in found]
    assert [row["class"] for row in document] == ["mito"] * 3
    assert document[0]["p"] is None
    assert rows[0]["p"] == ""
    assert document[2]["p_holm"] == found[2].p_holm


def test_the_command(tmp_path):
    path, _ = slice_table(tmp_path / "x.slices.csv", runs=("A", "B", "C"))
    shown = CliRunner().invoke(app, ["compare", str(path), "--unit", "slab:100nm", "--slice-spacing-nm", "50"])
    assert shown.exit_code == 0
    assert "A - B [mito]" in shown.stdout
    assert "p (Holm)" in shown.stdout
    as_json = CliRunner().invoke(app, ["compare", str(path), "--class", "mito", "--json"])
    assert len(json.loads(as_json.stdout)) == 6
    wrong = CliRunner().invoke(app, ["compare", str(path), "--unit", "tile"])
    assert wrong.exit_code == 2
    assert "ScoreError" in wrong.stderr
    both = CliRunner().invoke(app, ["compare", str(path), "--folds", "--instances"])
    assert both.exit_code == 2


def test_one_table_needs_no_list(tmp_path):
    path, _ = slice_table(tmp_path / "a.csv")
    assert compare(str(path)) == compare(path) == compare([path])


def test_an_unknown_design_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("run,unit,value\na,1,0.5\nb,1,0.6\n")
    with pytest.raises(ScoreError, match="'trainings' is no design; there are units, folds, instances"):
        compare(path, options=CompareOptions(design="trainings"))
