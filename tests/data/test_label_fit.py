"""The share of labels that an image explains is that of a linear regression, at every displacement."""

import numpy as np
import pytest

from cristae.data.label_fit import LabelFit, add_window, features_of, marks_of, outlines, standardized

RNG = np.random.default_rng(0)


def regression(features: np.ndarray, mark: np.ndarray) -> float:
    """R squared by least squares, of a mark about its own mean."""
    flat = features.reshape(len(features), -1).T.astype(np.float64)
    found, *_ = np.linalg.lstsq(flat, mark.ravel().astype(np.float64), rcond=None)
    return float(((flat @ found) ** 2).sum() / (mark.astype(np.float64) ** 2).sum())


def test_outlines_by_hand() -> None:
    mask = np.array([[[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]], bool)
    expected = [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(outlines(mask), np.array(expected, bool))


def test_the_explained_share_is_that_of_least_squares() -> None:
    plane = RNG.normal(size=(40, 50))
    features = standardized(features_of(plane))
    marks = marks_of(np.stack([plane > 0.5, plane < -1]), None)
    fit = LabelFit()
    add_window(fit, features, marks, (0, 0))
    expected = [regression(features, mark) for mark in marks]
    np.testing.assert_allclose(fit.shares()[:, 0, 0], expected, rtol=0.02)
    assert fit.explained()[0, 0] == pytest.approx(np.mean(expected), rel=0.02)


def test_all_displacements_at_once_are_those_one_by_one() -> None:
    """Labels displaced by d show at x what was at x - d."""
    plane, reach = RNG.normal(size=(30, 34)), (3, 2)
    features = standardized(features_of(plane))
    marks = RNG.normal(size=(2, 36, 38)).astype(np.float32)
    fit = LabelFit()
    add_window(fit, features, marks, reach)
    crossed = np.asarray(fit.crossed)
    for y in range(-3, 4):
        for x in range(-2, 3):
            moved = marks[:, 3 - y : 33 - y, 2 - x : 36 - x]
            expected = np.einsum("kyx,fyx->kf", moved, features)
            np.testing.assert_allclose(crossed[..., 3 + y, 2 + x], expected, atol=1e-2)


def test_windows_add_up_to_the_whole() -> None:
    planes = RNG.normal(size=(2, 20, 22))
    marks = [marks_of(planes[i : i + 1] > 0, None) for i in range(2)]
    both, tall = LabelFit(), LabelFit()
    for i in range(2):
        add_window(both, standardized(features_of(planes[i])), marks[i], (0, 0))
    features = np.concatenate([standardized(features_of(plane)) for plane in planes], axis=1)
    add_window(tall, features, np.concatenate(marks, axis=1), (0, 0))
    np.testing.assert_allclose(both.explained(), tall.explained(), rtol=1e-4)


def test_neither_contrast_nor_brightness_matters() -> None:
    plane = RNG.normal(size=(40, 40))
    marks, shares = marks_of(plane[None] > 0.3, None), []
    for grey in (plane, 1000 - 7 * plane):
        fit = LabelFit()
        add_window(fit, standardized(features_of(grey)), marks, (0, 0))
        shares.append(float(fit.explained()[0, 0]))
    assert shares[0] == pytest.approx(shares[1], rel=1e-3)


def test_what_does_not_count_changes_nothing() -> None:
    plane = RNG.normal(size=(20, 20))
    valid = np.ones((20, 20), bool)
    valid[5:9] = False
    masks = plane[None] > 0
    other = masks.copy()
    other[:, 6:8] = ~other[:, 6:8]
    np.testing.assert_array_equal(marks_of(masks, valid)[0], marks_of(other, valid)[0])
    assert not marks_of(masks, valid)[:, 5:9].any()


def test_a_mask_that_is_nowhere_says_nothing() -> None:
    fit = LabelFit()
    plane = RNG.normal(size=(20, 20))
    add_window(fit, standardized(features_of(plane)), marks_of(np.zeros((2, 20, 20), bool), None), (0, 0))
    assert fit.explained()[0, 0] == 0
    assert not fit.relation((0, 0)).any()
