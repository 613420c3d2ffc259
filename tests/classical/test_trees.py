"""The forest as plain arrays answers what scikit-learn answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.ensemble import RandomForestClassifier

from cristae.classical.traversal import as_ordered
from cristae.classical.trees import Trees, grow, trees_of
from cristae.errors import RunError


def problem(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 7), coarse so that many lie on thresholds, and three classes."""
    rng = np.random.default_rng(seed)
    features = (rng.standard_normal((n, 7)) * 4).round(0 if seed % 2 else 3).astype(np.float32)
    first = features[:, 0] + features[:, 1] * features[:, 2] > 0
    return features, first.astype(np.uint8) + (features[:, 3] > 4)


@pytest.mark.parametrize(("depth", "leaf"), [(None, 1), (3, 1), (1, 1), (16, 2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_probabilities_are_those_of_scikit_learn(depth: int | None, leaf: int, seed: int) -> None:
    features, classes = problem(3000, seed)
    learner = RandomForestClassifier(12, max_depth=depth, min_samples_leaf=leaf, random_state=0).fit(features, classes)
    others = np.concatenate([problem(1001, seed + 2)[0], features[:50], np.zeros((1, 7), np.float32)])
    found = trees_of(learner, 3).probabilities(np.ascontiguousarray(others.T))
    assert found.dtype == np.float32
    assert np.abs(found.T - learner.predict_proba(others)).max() < 1e-6


def test_values_on_a_threshold_go_where_scikit_learn_sends_them() -> None:
    """Thresholds are float64, features float32: the numbers on both sides of each threshold must part alike."""
    features, classes = problem(2000)
    learner = RandomForestClassifier(5, random_state=0).fit(features, classes)
    tree = learner.estimators_[0].tree_
    inside = tree.children_left >= 0
    near = tree.threshold[inside].astype(np.float32)
    rows = np.repeat(features[:1], 3 * len(near), axis=0)
    up = np.nextafter(near, np.float32(np.inf))
    down = np.nextafter(near, np.float32(-np.inf))
    rows[np.arange(len(rows)), np.tile(tree.feature[inside], 3)] = np.concatenate([near, up, down])
    found = trees_of(learner, 3).probabilities(np.ascontiguousarray(rows.T))
    assert np.abs(found.T - learner.predict_proba(rows)).max() < 1e-6


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, 2, elements=st.floats(width=32, allow_nan=False)))
def test_whole_numbers_are_ordered_as_their_floats(pair: np.ndarray) -> None:
    a, b = as_ordered(pair).tolist()
    assert (a < b, a == b) == (pair[0] < pair[1], pair[0] == pair[1])


def test_the_same_seed_gives_the_same_trees_with_any_threads() -> None:
    features, classes = problem(500)

    def trees(threads: int, seed: int = 3) -> Trees:
        return grow(
            features, classes, frequency=np.ones(3), trees=8, max_depth=9, smallest_leaf=2, seed=seed, threads=threads
        )

    one, two, other = trees(1).to_arrays("t"), trees(2).to_arrays("t"), trees(1, seed=4).to_arrays("t")
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert any(not np.array_equal(one[name], other[name]) for name in one)


def test_classes_are_as_likely_as_they_are_frequent() -> None:
    """Features without meaning, and as many samples of each class: only the frequency can be learned."""
    rng = np.random.default_rng(0)
    features, classes = rng.standard_normal((4000, 3)).astype(np.float32), np.arange(4000) % 2
    trees = grow(
        features, classes, frequency=np.array([9, 1]), trees=40, max_depth=2, smallest_leaf=200, seed=0, threads=1
    )
    found = trees.probabilities(rng.standard_normal((3, 2000)).astype(np.float32)).mean(axis=1)
    assert found == pytest.approx([0.9, 0.1], abs=0.02)


def test_a_class_without_samples_is_never_answered() -> None:
    features, classes = problem(300)
    trees = grow(
        features[classes != 1], classes[classes != 1],
        frequency=np.array([2, 0, 1]), trees=5, max_depth=4, smallest_leaf=1, seed=0, threads=1,
    )  # fmt: skip
    found = trees.probabilities(np.ascontiguousarray(features.T))
    assert found.shape == (3, 300)
    assert not found[1].any()
    assert np.allclose(found.sum(axis=0), 1, atol=1e-6)


def damaged(arrays: dict[str, np.ndarray], field: str, place: int, value: float) -> dict[str, np.ndarray]:
    changed = {name: array.copy() for name, array in arrays.items()}
    changed[f"t.{field}"][place] = value
    return changed


def test_damaged_arrays_are_refused() -> None:
    features, classes = problem(300)
    trees = grow(features, classes, frequency=np.ones(3), trees=3, max_depth=4, smallest_leaf=1, seed=0, threads=1)
    arrays = trees.to_arrays("t")
    again = Trees.from_arrays(arrays, "t", n_features=7, n_classes=3)
    grid = np.ascontiguousarray(features.T)
    assert np.array_equal(again.probabilities(grid), trees.probabilities(grid))
    for field, place, value, message in (
        ("feature", 0, 7, "asks about feature 7 of 7"),
        ("child", 1, 0, "no proper children"),
        ("child", 0, 10**6, "no proper children"),
        ("child", 0, -1, "no proper children"),
        ("threshold", 0, np.nan, "NaN or infinity"),
        ("leaf", 0, np.inf, "NaN or infinity"),
        ("starts", 1, 0, "do not follow"),
        ("starts", -1, 5, "do not follow"),
    ):
        with pytest.raises(RunError, match=message):
            Trees.from_arrays(damaged(arrays, field, place, value), "t", n_features=7, n_classes=3)
    with pytest.raises(RunError, match=r"t\.leaf: expected an array of float32, found none"):
        Trees.from_arrays({k: v for k, v in arrays.items() if k != "t.leaf"}, "t", n_features=7, n_classes=3)
    with pytest.raises(RunError, match="4 classes"):
        Trees.from_arrays(arrays, "t", n_features=7, n_classes=4)
