"""The examples in the docstrings of what is read from probability maps."""

import doctest

import pytest

from cristae.metrics import calibration, histogram, ranking, ratio, thresholds


@pytest.mark.parametrize("module", [calibration, histogram, ranking, ratio, thresholds], ids=lambda m: m.__name__)
def test_examples_show_what_they_print(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
