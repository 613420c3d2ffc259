"""Agreement: worked examples, scikit-learn as the reference, blocks against the whole."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from cristae.data.classes import Classes
from cristae.errors import ScoreError
from cristae.metrics.agreement import Agreement, confusion_rows
from cristae.metrics.agreement_counts import Amounts, cohen_kappa
from cristae.metrics.confusion import Confusion

THREE = Classes(names=("background", "cell", "granule"))
FOUR = Classes(names=("background", "cell", "mito", "core"))
BINARY = Classes(names=("background", "mito"))
MASKS = Classes(names=("membrane", "mito"), exclusive=False)


def agreement_of(classes, labels, *, valid=None, **options):
    """Labels by participant: (Z, Y, X) ids, or (K, Z, Y, X) masks."""
    agreement = Agreement("v", classes, tuple(labels), **options)
    stacks = [np.asarray(stack, np.uint8) for stack in labels.values()]
    stacks = [stack if stack.ndim == 4 else stack[None] for stack in stacks]
    valid = valid or [None] * len(stacks)
    for z in range(stacks[0].shape[1]):
        agreement.count(z, [list(stack[:, z]) for stack in stacks], [None if v is None else v[z] for v in valid])
    return agreement


def row(values):
    return np.array(values, np.uint8).reshape(1, 1, -1)


def find(scores, metric, class_name, run="a vs b"):
    found = [s for s in scores if (s.run, s.metric, s.class_name) == (run, metric, class_name)]
    assert len(found) == 1, found
    return found[0]


def test_mean_iou_of_three_classes_by_hand():
    agreement = agreement_of(THREE, {"a": row([0, 0, 1, 1, 2, 2]), "b": row([0, 1, 1, 1, 2, 0])})
    scores = agreement.scores()
    jaccards = [find(scores, "Jaccard", name).value for name in THREE.names]
    assert jaccards == pytest.approx([1 / 3, 2 / 3, 1 / 2])
    assert (find(scores, "mIoU", "all").value, find(scores, "mIoU", "all").n) == (pytest.approx(0.5), 3)
    assert find(scores, "mIoU", "foreground").value == pytest.approx(7 / 12)


def test_means_over_chosen_classes_say_how_many_were_defined():
    a, b = row([0, 0, 0, 0, 1, 1, 1, 2, 2, 3]), row([0, 0, 0, 1, 1, 1, 2, 2, 3, 3])
    five = Classes(names=(*FOUR.names, "golgi"))
    scores = agreement_of(five, {"a": a, "b": b}, over=("mito", "core", "golgi")).scores()
    organelles = find(scores, "mIoU", "mito+core+golgi")
    assert (organelles.value, organelles.n) == (pytest.approx(0.416667, abs=1e-6), 2)
    assert organelles.rule == "mean over mito, core, golgi; pooled; n=classes"
    assert (find(scores, "mIoU", "all").value, find(scores, "mIoU", "all").n) == (pytest.approx(0.520833, abs=1e-6), 4)
    assert math.isnan(find(scores, "F1", "golgi").value)


def test_slice_mean_and_pooled_f1_of_the_worked_example():
    a, b = np.zeros((2, 3, 4, 5), np.uint8)
    for z, (tp, fp, fn) in enumerate([(8, 2, 2), (1, 1, 3), (0, 0, 0)]):
        a[z].flat[: tp + fn] = 1
        b[z].flat[fn : fn + tp + fp] = 1
    scores = agreement_of(BINARY, {"a": a, "b": b}).scores()
    assert find(scores, "F1", "mito").value == pytest.approx(0.692308, abs=1e-6)
    mean = find(scores, "F1_slice_mean", "mito")
    assert (mean.value, mean.n) == (pytest.approx(0.566667, abs=1e-6), 2)


def test_volume_fractions_inside_a_mask_and_their_difference():
    a, b = row([1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 2, 2, 2, 0]), row([1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 2, 2, 2, 0])
    mask = row([1] * 10 + [0] * 4)
    for cell in ("mask", "labelled"):
        agreement = Agreement("v", FOUR, ("a", "b"), cell=cell, over=("mito", "core"))
        agreement.count(0, [[a[0]], [b[0]]], [None, None], mask[0])
        scores = agreement.scores()
        first = [find(scores, "volume_fraction", name, run="a").value for name in ("mito", "core", "mito+core")]
        assert first == pytest.approx([0.3, 0.1, 0.4])
        assert find(scores, "volume_fraction", "mito", run="b").value == pytest.approx(0.2)
        difference = find(scores, "volume_fraction_difference", "mito")
        assert (difference.value, difference.n) == (pytest.approx(-0.1), 10)
        assert difference.rule.startswith("b minus a; ")


def test_fractions_of_the_cell_and_of_all_voxels_differ_by_the_background():
    labels = {"a": row([0, 0, 1, 2]), "b": row([0, 1, 1, 1])}
    cell = agreement_of(THREE, labels).scores()
    everything = agreement_of(THREE, labels, cell="counted").scores()
    assert find(cell, "volume_fraction", "granule", run="a").value == 0.5
    assert find(cell, "volume_fraction", "granule", run="a").n == 2
    assert find(everything, "volume_fraction", "granule", run="a").value == 0.25
    nothing = agreement_of(THREE, {"a": row([0, 0]), "b": row([1, 2])}).scores()
    assert math.isnan(find(nothing, "volume_fraction", "granule", run="a").value)


def test_kappa_by_hand_and_where_it_is_undefined():
    assert cohen_kappa(Confusion(np.array([[20, 5], [10, 15]]))) == pytest.approx(0.4)
    assert cohen_kappa(Confusion(np.array([[7, 0], [0, 3]]))) == 1
    assert cohen_kappa(Confusion(np.array([[0, 5], [5, 0]]))) == -1
    assert math.isnan(cohen_kappa(Confusion(np.array([[9, 0], [0, 0]]))))
    assert math.isnan(cohen_kappa(Confusion.empty(3)))
    assert cohen_kappa(Confusion(np.array([[20, 5], [10, 15]]) * 10**12)) == pytest.approx(0.4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 60))
def test_counts_and_kappa_are_those_of_scikit_learn(seed, n_classes, size):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, n_classes, size)
    b = np.where(rng.random(size) < 0.5, a, rng.integers(0, n_classes, size))
    assume(len({*a, *b}) > 1)
    classes = Classes(names=tuple(f"c{i}" for i in range(n_classes)))
    agreement = agreement_of(classes, {"a": row(a), "b": row(b)})
    expected = confusion_matrix(a, b, labels=range(n_classes))
    np.testing.assert_array_equal(agreement.pair("a", "b").tables[0].counts, expected)
    scores = agreement.scores()
    assert find(scores, "kappa", "all").value == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    normalised = confusion_matrix(a, b, labels=range(n_classes), normalize="true")
    rows = confusion_rows(agreement)
    assert [r["voxels"] for r in rows] == expected.ravel().tolist()
    for entry, share, total in zip(rows, normalised.ravel(), np.repeat(expected.sum(axis=1), n_classes), strict=True):
        assert math.isnan(entry["share"]) if total == 0 else entry["share"] == pytest.approx(share)


def test_symmetric_scores_are_the_same_for_both_orders_and_the_others_turn_round():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 4, (2, 3, 8, 9)).astype(np.uint8)
    there = agreement_of(FOUR, {"a": a, "b": b}).scores()
    back = agreement_of(FOUR, {"b": b, "a": a}).scores()
    turned = {(s.metric, s.class_name): s.value for s in back if s.run == "b vs a"}
    own = [s for s in there if s.run == "a vs b"]
    assert len(own) == len(turned) > 15
    for score in own:
        sign = -1 if score.metric == "volume_fraction_difference" else 1
        assert score.value == pytest.approx(sign * turned[score.metric, score.class_name], abs=1e-15)
    assert {s.run for s in there} == {"a vs b", "a", "b"}


def test_a_pair_counts_where_both_are_valid_and_the_others_do_not_matter():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, (3, 2, 6, 7)).astype(np.uint8)
    valid = [None, rng.integers(0, 2, (2, 6, 7)).astype(np.uint8), rng.integers(0, 2, (2, 6, 7)).astype(np.uint8) * 9]
    valid[2][1] = 0
    labels[1][valid[1] == 0] = 77
    agreement = agreement_of(THREE, dict(zip("abc", labels, strict=True)), valid=valid)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        keep = np.ones((2, 6, 7), bool)
        for index in (first, second):
            keep &= True if valid[index] is None else valid[index] != 0
        pair = agreement.pair("abc"[first], "abc"[second])
        expected = confusion_matrix(labels[first][keep], labels[second][keep], labels=range(3))
        np.testing.assert_array_equal(pair.tables[0].counts, expected)
        np.testing.assert_array_equal(pair.amounts[0].voxels, expected.sum(axis=1))
        np.testing.assert_array_equal(pair.amounts[1].voxels, expected.sum(axis=0))
        assert sorted(pair.slices) == ([0, 1] if second == 1 else [0])
    assert agreement.alone["a"].counted == 84
    assert agreement.alone["c"].counted == np.count_nonzero(valid[2])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 5), st.integers(1, 6))
def test_blocks_in_any_order_add_up_to_the_whole(seed, exclusive, height, width):
    rng = np.random.default_rng(seed)
    classes = THREE if exclusive else MASKS
    shape = (3, 1 if exclusive else 2, 2, 5, 6)
    labels = rng.integers(0, 3 if exclusive else 2, shape).astype(np.uint8)
    valid = [None, (rng.random((2, 5, 6)) < 0.7).astype(np.uint8), None]
    whole = agreement_of(classes, dict(zip("abc", labels, strict=True)), valid=valid)
    parts = Agreement("v", classes, ("a", "b", "c"))
    places = [(z, y, x) for z in range(2) for y in range(0, 5, height) for x in range(0, 6, width)]
    for index in rng.permutation(len(places)):
        z, y, x = places[index]
        part = np.s_[z, y : y + height, x : x + width]
        parts.count(z, [[m[part] for m in one] for one in labels], [None if v is None else v[part] for v in valid])
    assert repr(parts.scores()) == repr(whole.scores())
    assert repr(confusion_rows(parts)) == repr(confusion_rows(whole))


def test_overlapping_classes_have_tables_of_their_own():
    a = np.array([[[[1, 1, 0, 0]]], [[[1, 0, 0, 0]]]], np.uint8)
    b = np.array([[[[1, 0, 0, 0]]], [[[1, 1, 0, 0]]]], np.uint8)
    agreement = agreement_of(MASKS, {"a": a, "b": b}, over=("mito",), cell="counted")
    scores = agreement.scores()
    assert find(scores, "Jaccard", "membrane").value == 0.5
    assert find(scores, "F1_slice_mean", "mito").value == pytest.approx(2 / 3)
    assert (find(scores, "mIoU", "all").value, find(scores, "mIoU", "mito").value) == (0.5, 0.5)
    assert find(scores, "kappa", "membrane").value == pytest.approx(cohen_kappa_score([1, 1, 0, 0], [1, 0, 0, 0]))
    assert find(scores, "volume_fraction", "membrane", run="a").value == 0.5
    rows = [tuple(entry.values()) for entry in confusion_rows(agreement)]
    assert rows[:4] == [
        ("a", "b", "not membrane", "not membrane", 2, 1.0),
        ("a", "b", "not membrane", "membrane", 0, 0.0),
        ("a", "b", "membrane", "not membrane", 1, 0.5),
        ("a", "b", "membrane", "membrane", 1, 0.5),
    ]
    assert agreement.alone["a"].labelled == 2


def test_a_single_overlapping_class_is_not_taken_for_two():
    one = Classes(names=("mito",), exclusive=False)
    agreement = agreement_of(one, {"a": row([1, 1, 0, 0])[None], "b": row([1, 0, 0, 0])[None]}, cell="counted")
    scores = agreement.scores()
    assert [s.value for s in scores if s.metric == "F1_slice_mean"] == [pytest.approx(2 / 3)]


@pytest.mark.parametrize(
    ("names", "over", "message"),
    [
        (("a",), (), "at least two participants, there is only 'a'"),
        ((), (), "there is none"),
        (("a", "b", "a"), (), "two participants are called 'a'"),
        (("a", ""), (), "has no name"),
        (("a", "b"), ("golgi",), "no class 'golgi'.*background, cell, granule"),
        (("a", "b"), ("cell", "cell"), "named twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(names, over, message):
    with pytest.raises(ScoreError, match=message):
        Agreement("v", THREE, names, over=over)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int64, np.uint64])
def test_ids_of_any_integer_type_are_counted(dtype):
    ids = np.array([[0, 1, 1, 0, 1]]).astype(dtype)
    amounts = Amounts.of([ids], BINARY, np.array([[1, 1, 1, 1, 0]]))
    assert (amounts.voxels.tolist(), amounts.labelled, amounts.counted) == ([2, 2], 2, 4)


def test_what_is_no_class_id_is_told_with_whose_it_is():
    with pytest.raises(ScoreError, match="'b' holds 7, but there are 3 classes"):
        agreement_of(THREE, {"a": row([0, 1]), "b": row([0, 7])})
    with pytest.raises(ScoreError, match="'b' must hold class ids"):
        Agreement("v", THREE, ("a", "b")).count(0, [[row([0, 1])[0]], [np.array([[0.0, 1.0]])]], [None, None])
    with pytest.raises(ScoreError, match="holds -1"):
        Amounts.of([np.array([-1, 0])], THREE)
