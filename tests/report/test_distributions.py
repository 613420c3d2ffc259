"""Histograms of objects: every object counted once, the median of those that are whole."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.report.distributions import Sample, _edges, histograms, median


def sample(values, pale=(), color="#3cb44b"):
    values = np.array(values, float)
    return Sample(values, np.isin(np.arange(len(values)), pale), color)


def test_the_median_is_that_of_whole_objects():
    assert median(sample([1, 2, 3, 100, 200], pale=[3, 4])) == 2
    assert median(sample([1, 3], pale=[0, 1])) == 2
    assert np.isnan(median(sample([])))


@given(st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=40), st.booleans())
def test_every_value_has_a_bin(values, logarithmic):
    edges = _edges(np.array(values), logarithmic)
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


def test_zero_distances_have_a_bin():
    assert np.histogram([0.0, 0.0], _edges(np.zeros(2), False))[0].sum() == 2


def test_titles_count_and_classes_without_objects_are_left_out():
    samples = {"mito <x>": sample([0.1, 0.2, 0.4], pale=[2]), "none": sample([]), "vessel": sample([0.3])}
    markup = histograms(samples, axis="volume", unit="µm³", logarithmic=True)
    shown = [element.text for element in ElementTree.fromstring(markup).iter() if element.tag.endswith("text")]
    assert {"mito <x> (3)", "vessel (1)", "median 0.15 µm³", "volume (µm³)"} <= set(shown)
    assert not any("none" in (text or "") for text in shown)
    assert markup == histograms(samples, axis="volume", unit="µm³", logarithmic=True)
    assert histograms({"none": sample([])}, axis="volume", unit="µm³", logarithmic=True) == ""


@pytest.mark.parametrize(("values", "pale", "bars"), [([5, 5, 5, 5], [], (4, 0)), ([5, 5, 5, 5], [0], (3, 1))])
def test_bars_are_as_high_as_there_are_objects(values, pale, bars):
    markup = histograms({"a": sample(values, pale)}, axis="distance", unit="nm", logarithmic=False)
    heights = {}
    for color in ("#3cb44b", "#bde6c2"):
        found = re.findall(rf'<path d="([^"]*)"[^>]*style="fill: {color}', markup)
        corners = [np.array(re.findall(r"-?\d+(?:\.\d+)?", one), float).reshape(-1, 2) for one in found]
        heights[color] = max(np.ptp(points[:, 1]) for points in corners)
    total = sum(heights.values())
    assert heights["#3cb44b"] / total == pytest.approx(bars[0] / 4, abs=0.01)
    assert heights["#bde6c2"] / total == pytest.approx(bars[1] / 4, abs=0.01)
