"""Detection of components: by hand, against the definition in words, and the published percentages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.metrics.components import label_components
from cristae.metrics.contingency import Contingency
from cristae.metrics.detection import Detection, detection

TRUTH = """
111110001111
111110001111
000001000000
000000000000
111110011111
111110011111"""
PREDICTION = """
111110001111
111110001110
000000000000
000000000000
100000011110
000000011110"""


def mask_of(text):
    return np.array([[int(letter) for letter in line] for line in text.split()])


@pytest.mark.parametrize(("connectivity", "expected"), [(8, Detection(2, 0, 2)), (4, Detection(2, 1, 2))])
def test_both_limits_belong_to_under_detected(connectivity, expected):
    truth, _ = label_components(mask_of(TRUTH), connectivity)
    assert detection(Contingency.of(truth, mask_of(PREDICTION))) == expected
    assert detection(Contingency.of(truth, label_components(mask_of(PREDICTION), 4)[0])) == expected


@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1)), max_size=8), st.integers(1, 3))
def test_as_defined(parts, n_prediction):
    truth, prediction = [0, 0, 0], [0, 1, 1]
    counts = {"tp": 0, "fn": 0, "ud": 0}
    for number, (size, share) in enumerate(parts):
        hit = round(share * size)
        truth += [3 * number + 1] * size
        prediction += [1 + k % n_prediction for k in range(hit)] + [0] * (size - hit)
        counts["tp" if hit * 100 > 80 * size else "fn" if hit * 100 < 10 * size else "ud"] += 1
    assert detection(Contingency.of(truth, prediction)) == Detection(**counts)


@pytest.mark.parametrize(
    ("counts", "percent"),
    [
        ((179, 9, 5), (92.7, 4.7, 2.6)),
        ((0, 95, 98), (0.0, 49.2, 50.8)),
        ((485, 198, 351), (46.9, 19.1, 33.9)),
        ((0, 850, 184), (0.0, 82.2, 17.8)),
        ((13, 5, 37), (23.6, 9.1, 67.3)),
        ((323, 22, 18), (89.0, 6.1, 5.0)),
        ((228, 17, 118), (62.8, 4.7, 32.5)),
        ((824, 316, 328), (56.1, 21.5, 22.3)),
        ((0, 889, 579), (0.0, 60.6, 39.4)),
        ((18, 13, 37), (26.5, 19.1, 54.4)),
    ],
)
def test_percentages_of_the_published_table(counts, percent):
    np.testing.assert_allclose(Detection(*counts).percent, percent, rtol=0, atol=0.0501)


def test_slices_add_up_and_nothing_is_undefined():
    assert Detection(1, 2, 3) + Detection(10, 20, 30) == Detection(11, 22, 33)
    assert detection(Contingency.empty()) == detection(Contingency.of([0, 0], [0, 4])) == Detection(0, 0, 0)
    assert np.isnan(Detection(0, 0, 0).percent).all()
