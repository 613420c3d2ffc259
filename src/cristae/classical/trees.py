"""A random forest as plain arrays: fitted by scikit-learn, evaluated by compiled code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cristae.errors import RunError

_FIELDS = {"feature": "uint8", "threshold": "float32", "child": "int32", "leaf": "float32", "starts": "int64"}


@dataclass(frozen=True, eq=False)
class Trees:
    """Decision trees one after the other; a tree's root is its first node and siblings lie side by side."""

    feature: np.ndarray
    """uint8 (M,): the feature that each node tests."""
    threshold: np.ndarray
    """float32 (M,): threshold: above it a voxel continues to the second child, else to the first."""
    child: np.ndarray
    """int32 (M,): place of the first child, counted from the tree's root, the second one following; or a leaf's own."""
    leaf: np.ndarray
    """float32 (M, K): class probabilities: fractions of the training samples that reached this node."""
    starts: np.ndarray
    """int64 (T + 1,): where each tree begins, and the end of the last."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.leaf.shape[1])

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """The mean prediction of the trees, float32 (K, N).

        Args:
            features: float32 (F, N), finite.
        """
        from cristae.classical.traversal import walk

        shares = np.empty((self.n_classes, features.shape[1]), np.float32)
        walk(features, self._nodes, self.starts, self._depths, self._answers, shares)
        return shares

    @cached_property
    def _nodes(self) -> np.ndarray:
        from cristae.classical.traversal import pack

        return np.concatenate([pack(self.feature[p], self.threshold[p], self.child[p]) for p in self._parts])

    @cached_property
    def _answers(self) -> np.ndarray:
        return np.ascontiguousarray(self.leaf[:, 1:])

    @cached_property
    def _depths(self) -> np.ndarray:
        """int64 (T,): steps from each root to its furthest leaf."""
        return np.array([_depth_of(self.child[part]) for part in self._parts], np.int64)

    @property
    def _parts(self) -> list[slice]:
        """The nodes of each tree."""
        return [slice(a, b) for a, b in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)]

    def to_arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays as they are stored, each name beginning with `name`."""
        return {f"{name}.{field}": getattr(self, field) for field in _FIELDS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], name: str, *, n_features: int, n_classes: int) -> Trees:
        """What `to_arrays` gave, checked so that its evaluation stays inside the arrays and ends.

        Raises:
            RunError: An array is missing, or does not hold trees over so many features and classes.
        """
        for field, dtype in _FIELDS.items():
            found = arrays.get(f"{name}.{field}")
            if found is None or found.dtype != dtype:
                raise RunError(f"{name}.{field}: expected an array of {dtype}, found {_kind(found)}")
        trees = cls(**{field: arrays[f"{name}.{field}"] for field in _FIELDS})
        if problem := trees._problem(n_features, n_classes):
            raise RunError(f"{name}: {problem}")
        return trees

    def _problem(self, n_features: int, n_classes: int) -> str | None:
        count, starts = len(self.feature), self.starts
        shapes = (self.feature.shape, self.threshold.shape, self.child.shape, self.leaf.shape)
        if shapes != ((count,), (count,), (count,), (count, n_classes)) or starts.ndim != 1:
            return f"expected arrays of {count} nodes and {n_classes} classes, found shapes {shapes}"
        if len(starts) < 2 or starts[0] != 0 or starts[-1] != count or (np.diff(starts) < 1).any():
            return "the trees do not follow each other"
        place = np.arange(count) - np.repeat(starts[:-1], np.diff(starts))
        size = np.repeat(np.diff(starts), np.diff(starts))
        leaf = self.child == place
        # Children lie behind their parents, so that every way down ends in a leaf.
        if not (leaf | ((self.child > place) & (self.child + 1 < size))).all():
            return "a node has no proper children"
        if (self.feature >= n_features).any():
            return f"a node asks about feature {int(self.feature.max())} of {n_features}"
        if not (np.isfinite(self.threshold).all() and np.isfinite(self.leaf).all()):
            return "holds NaN or infinity"
        return None


def _depth_of(child: np.ndarray) -> int:
    """Levels below the root of a tree, followed all at once."""
    level, depth = np.zeros(1, np.int64), -1
    while len(level):
        first = child[level]
        level = np.concatenate([first[first != level], first[first != level] + 1])
        depth += 1
    return depth


def grow(
    features: np.ndarray,
    classes: np.ndarray,
    *,
    frequency: np.ndarray,
    trees: int,
    max_depth: int | None,
    smallest_leaf: int,
    seed: int,
    threads: int,
    features_per_split: int | None = None,
) -> Trees:
    """Learn a forest; the same samples and seed give the same trees with any number of threads.

    Args:
        features: float32 (N, F).
        classes: (N,) ids from 0 to K - 1; an id without samples is never answered.
        frequency: (K,) how frequent each class is where the forest will be asked, in any unit.
        trees: Number of trees.
        max_depth: Questions in a row at most; None for no limit.
        smallest_leaf: Samples at each leaf at least.
        seed: Where randomness starts.
        threads: How many trees to grow at once.
        features_per_split: Features that are tried at each question; None: the root of their number.
    """
    from sklearn.ensemble import RandomForestClassifier

    counts = np.bincount(classes, minlength=len(frequency))
    share = frequency / frequency[counts > 0].sum()
    weights = {k: float(share[k] * len(classes) / count) for k, count in enumerate(counts) if count}
    learner = RandomForestClassifier(
        trees,
        max_depth=max_depth,
        min_samples_leaf=smallest_leaf,
        max_features="sqrt" if features_per_split is None else features_per_split,
        class_weight=weights,
        n_jobs=threads,
        random_state=seed,
    )
    learner.fit(features, classes)
    return trees_of(learner, len(frequency))


def trees_of(learner: Any, n_classes: int) -> Trees:
    """The trees of a fitted scikit-learn forest, which give the probabilities that it gives."""
    columns = learner.classes_.astype(int)
    parts = [_arrays_of(estimator.tree_, columns, n_classes) for estimator in learner.estimators_]
    feature, threshold, child, leaf = (np.concatenate([part[field] for part in parts]) for field in range(4))
    starts = np.cumsum([0, *(len(part[0]) for part in parts)], dtype=np.int64)
    return Trees(feature, threshold, child, leaf, starts)


def _arrays_of(tree: Any, columns: np.ndarray, n_classes: int) -> tuple[np.ndarray, ...]:
    """One tree level by level, so that siblings lie side by side behind their parent."""
    left, right = tree.children_left.tolist(), tree.children_right.tolist()
    order: list[int] = [0]
    child: list[int] = []
    for node in order:  # grows while it is read
        child.append(len(child) if left[node] < 0 else len(order))
        if left[node] >= 0:
            order += [left[node], right[node]]
    leaf = np.zeros((len(order), n_classes), np.float32)
    leaf[:, columns] = tree.value[order, 0, :]
    ends = tree.children_left[order] < 0
    feature = np.where(ends, 0, tree.feature[order]).astype(np.uint8)
    threshold = np.where(ends, 0, _round_down(tree.threshold[order])).astype(np.float32)
    return feature, threshold, np.array(child, np.int32), leaf


def _round_down(values: np.ndarray) -> np.ndarray:
    """float64 thresholds as float32 that part the float32 numbers alike."""
    nearest = values.astype(np.float32)
    return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _kind(array: np.ndarray | None) -> str:
    return "none" if array is None else f"one of {array.dtype}"
