"""Curves of scores: what they say, the same bytes each time, several on a page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from cristae.metrics.calibration import Reliability
from cristae.report.curves import precision_recall_curves, reliability_diagram, roc_curves, threshold_curves

THRESHOLDS = np.arange(11) / 10
VALUES = {
    "run <1>": (THRESHOLDS, [0.1, 0.3, 0.5, 0.7, 0.9, 0.8, 0.9, 0.5, 0.3, 0.2, np.nan]),
    "run 2": (THRESHOLDS, [np.nan] * 11),
}
BINS = Reliability(
    edges=np.array([0, 0.25, 0.5, 0.75, 1]),
    voxels=np.array([100, 0, 10, 1000]),
    mean_probability=np.array([0.1, np.nan, 0.6, 0.9]),
    observed=np.array([0.2, np.nan, 0.5, 0.95]),
)
FIGURES = {
    "threshold": lambda: threshold_curves(VALUES, metric="F1"),
    "roc": lambda: roc_curves({"a": ([0, 0.2, 1], [0, 0.7, 1])}, {"a": 0.75}),
    "precision": lambda: precision_recall_curves({"a": ([0, 0.5, 1], [1, 0.8, 0.3])}, {"a": 0.55}, foreground=0.3),
    "reliability": lambda: reliability_diagram({"a": BINS, "b": BINS}, {"a": 0.0471}),
}


def texts(markup):
    return [element.text for element in ElementTree.fromstring(markup).iter() if element.tag.endswith("text")]


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_content_gives_the_same_bytes_without_a_date(name):
    one, two = FIGURES[name](), FIGURES[name]()
    assert one == two
    assert "<dc:date>" not in one
    ElementTree.fromstring(one)


def test_figures_on_one_page_share_no_names():
    together = "".join(draw() for draw in FIGURES.values())
    ids = re.findall(r' id="([^"]*)"', together)
    assert ids
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r'(?:url\(#|href="#)([^")]+)', together))
    assert referred == set(ids)


def test_the_best_threshold_is_told_the_lowest_of_equals():
    shown = texts(threshold_curves(VALUES, metric="F1"))
    assert "run <1>: 0.9000 at 0.4" in shown
    assert "run 2: undefined" in shown
    assert "F1" in shown
    lower = texts(threshold_curves(VALUES, metric="VI (bits)", better="lower"))
    assert "run <1>: 0.1000 at 0" in lower


def test_curves_tell_their_areas():
    assert "a: AUC 0.7500" in texts(FIGURES["roc"]())
    assert "a: AP 0.5500" in texts(FIGURES["precision"]())
    assert {"a: ECE 0.0471", "b"} <= set(texts(FIGURES["reliability"]()))


def test_precision_is_drawn_in_steps():
    markup = precision_recall_curves({"a": ([0, 0.5, 1], [1, 0.8, 0.3])})
    line = re.search(r'd="([^"]*)"[^>]*stroke: #0072b2', markup)
    points = np.array(re.findall(r"-?\d+(?:\.\d+)?", line[1]), float).reshape(-1, 2)
    # Each piece runs straight up or across.
    steps = np.diff(points, axis=0)
    assert np.isclose(steps, 0, atol=0.02).any(axis=1).all()
    assert len(points) == 5


def test_many_runs_differ_in_colour_or_dash():
    curves = {f"run {number}": ([0, 1], [0, 1]) for number in range(20)}
    markup = roc_curves(curves)
    styles = set(re.findall(r'style="(fill: none; stroke[^"]*)"', markup))
    assert len({style for style in styles if "stroke-width: 1.8" in style}) >= 20
