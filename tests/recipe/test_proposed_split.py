"""The proposed split has each class on both sides wherever one range of slices can do that."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cristae.recipe.proposed_split import split_freely, split_in_order

COUNTS = arrays(np.int64, st.tuples(st.integers(2, 14), st.integers(1, 3)), elements=st.sampled_from([0, 0, 1, 50]))


def rows(*places: int, of: int) -> np.ndarray:
    """Voxels of one class in some of `of` slices."""
    return np.array([[9 * (place in places)] for place in range(of)])


@pytest.mark.parametrize(
    ("counts", "train", "validate"),
    [
        (rows(*range(20), of=20), range(14), range(16, 20)),
        (rows(*range(7), of=10), range(3, 10), range(2)),
        (rows(*range(3, 7), of=10), [*range(5), 9], range(6, 8)),
        (rows(0, 1, of=2), [0], [1]),
        (rows(0, 1, 2, of=3), [0, 1], [2]),
    ],
)
def test_slices_by_hand(counts: np.ndarray, train: list[int], validate: list[int]) -> None:
    found = split_in_order(counts, range(len(counts)))
    assert (list(found.train), list(found.validate), found.missing) == (list(train), list(validate), ())


def test_a_class_of_one_slice_is_trained_on_and_said_to_be_missing() -> None:
    counts = np.hstack([rows(*range(10), of=10), rows(9, of=10)])
    found = split_in_order(counts, range(len(counts)))
    assert 9 in found.train
    assert found.missing == (1,)


def test_labelled_runs_are_not_cut_without_a_gap() -> None:
    numbers = [*range(10), *range(50, 60)]
    found = split_in_order(np.ones((20, 1), np.int64), numbers)
    assert [numbers[place] for place in found.validate] == [56, 57, 58, 59]
    assert [numbers[place] for place in found.train] == [*range(10), 50, 51, 52, 53]
    spread = split_in_order(np.ones((20, 1), np.int64), range(0, 100, 5))
    assert (len(spread.train), len(spread.validate)) == (16, 4)


@given(counts=COUNTS, steps=st.lists(st.sampled_from([1, 1, 1, 5]), min_size=14, max_size=14))
def test_both_sides_are_apart_and_neither_is_empty(counts: np.ndarray, steps: list[int]) -> None:
    numbers = np.cumsum(steps)[: len(counts)].tolist()
    found = split_in_order(counts, numbers)
    assert found.train
    assert found.validate
    assert not set(found.train) & set(found.validate)
    assert list(found.validate) == list(range(found.validate[0], found.validate[-1] + 1))
    if len(counts) >= 6:
        assert min(abs(numbers[a] - numbers[b]) for a in found.train for b in found.validate) > 1
    sides = [counts[list(side)].any(axis=0) for side in (found.train, found.validate)]
    assert found.missing == tuple(np.flatnonzero(~(sides[0] & sides[1])).tolist())


@given(counts=COUNTS)
def test_no_range_of_a_fifth_does_better(counts: np.ndarray) -> None:
    def classes(train: np.ndarray, validate: np.ndarray) -> tuple[int, int]:
        return int(train.any(axis=0).sum()), int(validate.any(axis=0).sum())

    found = split_in_order(counts, range(0, 3 * len(counts), 3))
    size = max(1, round(0.2 * len(counts)))
    ranges = [range(start, start + size) for start in range(len(counts) - size + 1)]
    best = max(classes(np.delete(counts, held, axis=0), counts[held]) for held in ranges)
    assert classes(counts[list(found.train)], counts[list(found.validate)]) >= best


@given(counts=COUNTS)
def test_images_are_chosen_so_that_training_lacks_nothing_it_could_have(counts: np.ndarray) -> None:
    found = split_freely(counts)
    assert found.train
    assert found.validate
    assert sorted((*found.train, *found.validate)) == list(range(len(counts)))
    twice = (counts > 0).sum(axis=0) >= 2
    if len(counts) >= 2 * counts.shape[1] + 2 and twice.all():
        assert counts[list(found.train)].any(axis=0).all()


def test_an_image_with_a_rare_class_is_validated_on() -> None:
    counts = np.array([[9, 1], [9, 0], [9, 0], [9, 1], [9, 0]])
    found = split_freely(counts)
    assert found.validate == (3,)
    assert found.missing == ()
