"""V scores slice by slice: synthetic cases with known values, a plain second way, and what tables make of them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_dilation, label

from cristae.errors import ScoreError
from cristae.metrics import v_slice
from cristae.metrics.contingency import Contingency
from cristae.metrics.partition import adapted_rand_error, partition_sums, v_info, v_rand, variation_of_information
from cristae.metrics.thinning import thin_borders
from cristae.metrics.v_scores import COLUMNS, MAP_METRICS, THRESHOLDS, VTable, slice_v
from cristae.metrics.v_slice import plan_thresholds

UNHURRIED = settings(deadline=None)  # the first call may have to compile
TRUE, FOUND = COLUMNS.index("true objects"), COLUMNS.index("predicted objects")


def squares(*corners, size=10):
    plane = np.zeros((64, 64), bool)
    for y, x in corners:
        plane[y : y + size, x : x + size] = True
    return plane


def table_of(pairs, truth_is="mask", **kwargs):
    table = VTable(truth_is=truth_is, **kwargs)
    for z, (truth, prediction) in enumerate(pairs):
        table.append(table.measure(truth, prediction, z=z))
    return table


TWO, ONE, NONE = squares((10, 10), (40, 40)), squares((27, 27)), squares()
SPLIT = squares((20, 20), size=20)
SPLIT[:, 30] = False
SYNTHETIC = {
    "perfect": (TWO, TWO, 1, 1),
    "one more": (TWO, TWO | squares((45, 10)), 1, 1),
    "dilated": (TWO, binary_dilation(TWO, np.ones((11, 11))), 1, 1),
    "points": (TWO, squares((15, 15), (45, 45), size=1), 1, 1),
    "one missed": (TWO, squares((10, 10)), 0.666667, 0),
    "empty": (TWO, NONE, 0.666667, 0),
    "all": (TWO, ~NONE, 0.666667, 0),
    "one object, perfect": (ONE, ONE, 1, 0),
    "one object, empty": (ONE, NONE, 1, 0),
    "no object": (NONE, TWO, 0, 0),
    "nothing at all": (NONE, NONE, 0, 0),
    "split": (squares((20, 20), size=20), SPLIT, 0.623182, 0),
}


@pytest.mark.parametrize("case", SYNTHETIC)
def test_synthetic_cases_as_fiji_scores_them(case):
    truth, prediction, rand, info = SYNTHETIC[case]
    table = table_of([(truth, prediction)])
    assert table.at(0.5, "V_rand", rules="fiji").parts.value == pytest.approx(rand, abs=5e-7)
    assert table.at(0.5, "V_info", rules="fiji").parts.value == pytest.approx(info, abs=5e-7)
    assert table.best("V_rand", "fiji").threshold == 0  # a mask is the same at every threshold: the lowest of equals


@pytest.mark.parametrize(
    ("case", "rand", "info"),
    [
        ("one object, perfect", 1, math.nan),
        ("one object, empty", 1, math.nan),
        ("split", 0.623182, math.nan),
        ("no object", math.nan, math.nan),
        ("empty", 0.666667, 0),
        ("perfect", 1, 1),
    ],
)
def test_undefined_scores_are_nan_and_not_averaged(case, rand, info):
    table = table_of([SYNTHETIC[case][:2], (TWO, TWO)])
    for named, value in (("V_rand", rand), ("V_info", info)):
        mean = table.at(0.5, named)
        defined = [1.0] if math.isnan(value) else [value, 1.0]
        assert mean.parts.value == pytest.approx(sum(defined) / len(defined), abs=5e-7)
        assert mean.n == len(defined)
    assert table.few_objects(0.5) == ("object" in case or case == "split")


def test_thinned_and_raw_scores_of_a_small_plane():
    rows = ["1110011", "1110011", "0000011", "0000000", "0011000", "0011000"]
    mask = np.array([[sign == "1" for sign in row] for row in rows])
    rows = ["1110222", "1110222", "1110222", "0000000", "3333333", "3333333"]
    truth = np.array([[int(sign) for sign in row] for row in rows])
    table = table_of([(truth, mask)], "instances")
    for form, rand, info in (
        ("thin", (0.776316, 0.659218, 0.944), (0.731132, 0.609953, 0.912396)),
        ("raw", (0.450216, 0.290503, 1), (0.581863, 0.410301, 1)),
    ):
        np.testing.assert_allclose(table.parts("V_rand", form)[0, 5], rand, rtol=0, atol=1e-6)
        np.testing.assert_allclose(table.parts("V_info", form)[0, 5], info, rtol=0, atol=1e-6)
    assert table.sums("thin")[0, 5, [0, TRUE, FOUND]].tolist() == [32, 3, 3]


def test_thresholds_by_repeated_addition():
    expected = []
    threshold = 0.0
    while threshold <= 1.0:
        expected.append(threshold)
        threshold += 0.1
    assert list(THRESHOLDS) == expected
    assert len(expected) == 11
    assert THRESHOLDS[5] == 0.5
    assert THRESHOLDS[10] == 0.9999999999999999


def test_integers_are_divided_in_32_and_compared_in_64_bits():
    ramp = np.arange(256, dtype=np.uint8)[None]
    table = table_of([(np.ones((1, 256), bool), ramp)])
    unlabelled = [1, 26, 51, 77, 102, 128, 153, 179, 204, 230, 255]
    # one predicted segment: sum of squares is (256 - c)^2 + c
    expected = [((256 - c) ** 2 + c) / 256**2 for c in unlabelled]
    np.testing.assert_allclose(table.sums("raw")[0, :, COLUMNS.index("A")], expected, rtol=0, atol=1e-12)
    as_floats = table_of([(np.ones((1, 256), bool), ramp.astype(np.float32) / np.float32(255))])
    np.testing.assert_array_equal(as_floats.sums("raw"), table.sums("raw"))
    in_double = table_of([(np.ones((1, 256), bool), ramp / 255)])  # ties there: 51, 102 and 153 are no more than t
    differs = (in_double.sums("raw") != table.sums("raw")).any(axis=-1)[0]
    assert np.flatnonzero(differs).tolist() == [2, 4, 6]


def test_masks_keep_their_ones_at_every_threshold():
    as_bytes = [table_of([(TWO, TWO)]).sums("thin")]
    for kind in (np.uint8, np.int64):
        record = slice_v(TWO.astype(kind), TWO.astype(kind), highest=1)
        as_bytes.append(record.thin[None])
    as_bytes.append(table_of([(TWO.astype(np.uint8) * 255, TWO.astype(float))], "grey").sums("thin"))
    as_bytes.append(table_of([(TWO, TWO)], thresholds=plan_thresholds(1.0)).sums("thin")[:, :11])
    for found in as_bytes:
        np.testing.assert_array_equal(found, np.repeat(found[:, :1], 11, axis=1))
        np.testing.assert_array_equal(found, as_bytes[0])
    at_one = table_of([(TWO, TWO)], thresholds=(0.5, 1.0))
    assert at_one.sums("raw")[0, 1, [0, TRUE, FOUND]].tolist() == [200, 2, 0]  # no score is above 1, the truth stays


SCORES = st.sampled_from([0, 26, 51, 60, 127, 128, 200, 254, 255])
PLANES = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(
        arrays(np.uint8, shape, elements=SCORES),
        arrays(np.uint8, shape, elements=SCORES),
        arrays(bool, shape),
        arrays(np.int64, shape, elements=st.sampled_from([0, 1, 2, 2**40])),
    )
)


@UNHURRIED
@given(PLANES, st.sampled_from(["grey", "mask", "instances"]), st.booleans())
def test_agrees_with_the_plain_way(planes, truth_is, masked):
    grey, scores, valid, ids = planes
    truth = ids if truth_is == "instances" else grey
    valid = valid if masked else None
    record = slice_v(truth, scores, valid, truth_is=truth_is)
    keep = np.ones(truth.shape, bool) if valid is None else valid
    assert record.voxels == np.count_nonzero(keep)
    for place, t in enumerate(np.array(THRESHOLDS)):
        as_scores = grey.astype(np.float32) / np.float32(255)
        mask = scores.astype(np.float32) / np.float32(255) > t
        foreground = keep & ((as_scores > t) if truth_is == "grey" else grey != 0)
        segments = ids if truth_is == "instances" else label(foreground)[0]
        raw = Contingency.of(segments, label(mask)[0], keep)
        thin = Contingency.of(segments, thin_borders(mask), keep)
        objects = len(set(segments[keep].tolist()) - {0})
        for found, expected, n in ((record.raw, raw, label(mask)[1]), (record.thin, thin, max(label(mask)[1], 1))):
            np.testing.assert_allclose(found[place, :7], partition_sums(expected), rtol=0, atol=1e-12)
            assert found[place, [TRUE, FOUND]].tolist() == [objects, n]
        if t == 0.5:
            voi, inside = variation_of_information(raw), variation_of_information(raw, foreground=True)
            maps = [voi.value, voi.split, voi.merge, inside.value, adapted_rand_error(raw).error]
            np.testing.assert_allclose(record.maps, maps, rtol=0, atol=1e-12)


@UNHURRIED
@given(PLANES, arrays(np.uint8, (9, 9)), st.sampled_from(["grey", "mask", "instances"]))
def test_truth_that_is_not_valid_changes_nothing(planes, noise, truth_is):
    grey, scores, valid, ids = planes
    truth = ids if truth_is == "instances" else grey
    other = np.where(valid, truth, noise[: truth.shape[0], : truth.shape[1]])
    one, two = (slice_v(t.astype(truth.dtype), scores, valid, truth_is=truth_is) for t in (truth, other))
    for field in ("thin", "raw", "maps"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))


def test_many_segments_and_windings():
    rng = np.random.default_rng(5)
    scores = rng.random((120, 131))
    truth = rng.integers(0, 3000, scores.shape)
    record = slice_v(truth, scores, truth_is="instances", thresholds=(0.5,))
    for form, labels in (("raw", label(scores > 0.5)[0]), ("thin", thin_borders(scores > 0.5))):
        sums = partition_sums(Contingency.of(truth, labels))
        np.testing.assert_allclose(getattr(record, form)[0, :7], sums, rtol=0, atol=1e-10)


def test_thresholds_that_cut_alike_are_computed_once(monkeypatch):
    calls = []
    original = v_slice._score_cut
    monkeypatch.setattr(v_slice, "_score_cut", lambda *args: calls.append(args[-1]) or original(*args))
    scores = np.zeros((64, 64), np.uint8)
    scores[TWO] = 140  # alike up to 0.5, then nothing
    slice_v(TWO, scores)
    assert calls == [0, 6]
    slice_v(scores, scores, truth_is="grey")
    assert calls == [0, 6, 0, 6]


def curve_table():
    """Two slices whose best thresholds for the two scores differ, and a third without objects."""
    rng = np.random.default_rng(1)
    truth = np.repeat(np.repeat(rng.random((6, 6)) < 0.5, 8, 0), 8, 1)
    noisy = [np.clip(truth * 0.6 + rng.random(truth.shape) * s, 0, 1) for s in (0.5, 0.7)]
    return table_of([(truth, noisy[0]), (truth, noisy[1]), (np.zeros_like(truth), noisy[0])])


def test_best_threshold_of_the_slice_mean():
    table = curve_table()
    for named in ("V_rand", "V_info"):
        curve = [np.nanmean(table.parts(named)[:, place, 0]) for place in range(11)]
        best = table.best(named)
        assert best.parts.value == pytest.approx(max(curve), abs=1e-12)
        assert best.threshold == THRESHOLDS[int(np.argmax(curve))]
        assert best.n == 2
        assert table.at(best.threshold, named) == best
        fiji = table.best(named, "fiji")
        assert fiji.parts.value == pytest.approx(2 / 3 * max(curve), abs=1e-12)
        assert (fiji.threshold, fiji.n) == (best.threshold, 3)
        assert [mean.parts.value for mean in table.curve(named)] == pytest.approx(curve, abs=1e-12)


def test_nan_is_no_maximum_and_other_thresholds_are_not_searched():
    truth = np.zeros((64, 64), np.uint8)
    truth[TWO] = 140  # no object from 0.6 on: undefined there
    table = VTable(thresholds=plan_thresholds(0.55), truth_is="grey")
    table.append(table.measure(truth, np.where(TWO, 141, 0).astype(np.uint8)))
    table.append(table.measure(truth, np.where(squares((10, 10)), 0.52, 0.0) + np.where(TWO, 0.001, 0)))
    assert len(table.thresholds) == 12
    best = table.best("V_info")
    assert (best.threshold, best.parts.value, best.n) == (0.0, 1.0, 2)
    assert table.at(0.55, "V_info").n == 0
    nothing = table_of([(NONE, NONE)]).best("V_rand")
    assert math.isnan(nothing.parts.value)
    assert math.isnan(nothing.threshold)
    assert nothing.n == 0


def test_a_better_threshold_between_the_eleven_is_not_taken():
    between = VTable(thresholds=plan_thresholds(0.55))
    between.append(between.measure(TWO, np.where(TWO, 0.58, 0.54)))  # apart only between 0.54 and 0.58
    assert between.at(0.55, "V_info").parts.value == 1
    assert (between.best("V_info").parts.value, between.best("V_info").threshold) == (0, 0)


def test_slices_where_nothing_counts_are_in_no_mean():
    table = table_of([(TWO, TWO)])
    table.append(table.measure(TWO, TWO, np.zeros((64, 64)), z=1))
    for rules in ("project", "fiji"):
        assert table.best("V_rand", rules).n == 1
        assert table.best("V_info", rules).parts.value == 1
    assert table.few_objects(0.5) == 0
    assert table.map_units("VI").tolist() == [[0, 1], [0, 0]]


def test_units_give_the_mean_over_any_slices():
    table = curve_table()
    units = table.units("V_info")
    assert units.shape == (3, 11, 2)
    mean = units[:, :, 0].sum(axis=0) / units[:, :, 1].sum(axis=0)
    assert mean.max() == pytest.approx(table.best("V_info").parts.value, abs=1e-12)
    assert units[2, :, 1].sum() == 0
    assert not np.isnan(units).any()
    for metric in MAP_METRICS:
        assert table.map_units(metric).shape == (3, 2)


def test_tables_are_kept_as_arrays_and_add_up():
    table = curve_table()
    again = VTable.from_arrays({name: array.copy() for name, array in table.arrays().items()})
    assert [*again.score_rows("r", "v", "c")].__repr__() == [*table.score_rows("r", "v", "c")].__repr__()
    assert [s.z for s in again.slices] == [0, 1, 2]
    empty = VTable.from_arrays(VTable(truth_is="grey").arrays())
    assert (empty.slices, empty.truth_is, empty.best("V_rand").n) == ([], "grey", 0)
    parts = [VTable(slices=table.slices[:1]), VTable(slices=table.slices[1:])]
    assert VTable.total(parts).best("V_rand") == table.best("V_rand")
    with pytest.raises(ScoreError, match="same thresholds"):
        VTable.total([VTable(), VTable(truth_is="grey")])


def test_rows_say_everything():
    table = curve_table()
    rows = {row.metric: row for row in table.score_rows("run", "cell", "mito", validated={"V_rand": THRESHOLDS[3]})}
    both = [f"{name}{kind}{part}" for name in ("V_rand", "V_info") for kind in ("", "_fiji", "_fixed", "_raw")
            for part in ("", "_split", "_merge")]  # fmt: skip
    validated = ["V_rand_validated", "V_rand_validated_split", "V_rand_validated_merge"]
    assert set(rows) == {*both, *validated, *MAP_METRICS}
    best = rows["V_rand"]
    assert (best.run, best.volume, best.class_name, best.n, best.unit) == ("run", "cell", "mito", 2, "ratio")
    assert best.threshold == table.best("V_rand").threshold
    for said in ("positive=mito", "thinned", "4 neighbours", "mean over slices", "best of 11 thresholds", "optimistic",
                 "1 of 3 slices with fewer than 2 true objects", "n=slices"):  # fmt: skip
        assert said in best.rule
    assert "as in Fiji" in rows["V_rand_fiji"].rule
    assert "fixed threshold 0.5" in rows["V_rand_fixed"].rule
    assert "validation" in rows["V_rand_validated"].rule
    assert rows["V_rand_validated"].value == table.at(THRESHOLDS[3], "V_rand").parts.value
    assert rows["V_info_raw"].value == table.at(0.5, "V_info", "raw").parts.value
    assert (rows["VI"].unit, rows["VI_fg"].unit, rows["adapted_rand_error"].unit) == ("bits", "bits", "ratio")
    assert (rows["VI"].n, rows["VI_fg"].n) == (3, 2)
    curve = list(table.curve_rows("run", "cell", "mito"))
    assert [(row.metric, row.threshold) for row in curve] == [(n, t) for n in ("V_rand", "V_info") for t in THRESHOLDS]
    with pytest.raises(ScoreError, match=r"not at 0\.33"):
        list(table.score_rows("run", "cell", "mito", validated={"V_info": 0.33}))


def test_predictions_without_scores():
    table = VTable.of_masks("instances")
    table.append(table.measure(label(TWO)[0], TWO))
    rows = {row.metric: row for row in table.score_rows("run", "cell", "mito")}
    assert rows["V_rand"].value == 1
    assert all(row.threshold is None for row in rows.values())
    assert not any("threshold" in row.rule for row in rows.values())
    assert "V_rand_fixed" not in rows
    assert "labelled objects" in rows["V_rand"].rule
    assert list(table.curve_rows("run", "cell", "mito")) == []


@pytest.mark.parametrize(
    ("truth", "prediction", "options", "said"),
    [
        (TWO, TWO[:60], {}, "shape"),
        (TWO[None], TWO[None], {}, "one plane"),
        (TWO, np.where(TWO, np.nan, 0.5), {}, "nan"),
        (TWO, np.where(TWO, 1.01, 0.5), {}, "1.01"),
        (TWO, np.where(TWO, -1, 3), {}, "-1"),
        (TWO, np.where(TWO, 256, 3), {}, "256"),
        (TWO, TWO * 255, {"highest": 1}, "from 0 to 1"),
        (TWO.astype(complex), TWO, {"truth_is": "grey"}, "complex"),
        (-1 * TWO, TWO, {"truth_is": "instances"}, "-1"),
        (TWO * 1.0, TWO, {"truth_is": "instances"}, "integers"),
        (TWO, TWO, {"thresholds": (0.5, 0.2)}, "rise"),
        (TWO, TWO, {"thresholds": (0.5, 1.2)}, "rise"),
        (TWO, TWO, {"fixed": 0.45}, "0.45"),
    ],
)
def test_what_cannot_be_scored(truth, prediction, options, said):
    with pytest.raises(ScoreError, match=said):
        slice_v(truth, prediction, **options)


def test_single_scores_agree_with_the_table():
    rng = np.random.default_rng(2)
    truth, scores = rng.integers(0, 4, (20, 20)), rng.random((20, 20))
    table = table_of([(truth, scores)], "instances")
    found = Contingency.of(truth, thin_borders(scores > 0.5))
    for named, function in (("V_rand", v_rand), ("V_info", v_info)):
        assert table.at(0.5, named).parts.value == pytest.approx(function(found).value, abs=1e-12)
