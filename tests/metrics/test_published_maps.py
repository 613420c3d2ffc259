"""Score maps of the EM-stellar cardiac slices: ranking, threshold curves and calibration of seven methods."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sk

from cristae.metrics.histogram import ProbabilityHistogram
from cristae.metrics.ranking import auc_roc, average_precision
from cristae.metrics.thresholds import BINARY_MIOU, F1, threshold_curve

ROOT = Path(os.environ.get("CRISTAE_DATA", "")) / "em-stellar-cardiac"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not os.environ.get("CRISTAE_DATA") or not ROOT.is_dir(), reason="CRISTAE_DATA has no em-stellar-cardiac"
    ),
]

# AUC-ROC and AP of the 8-bit values; mIoU and F1 at 0.5
EXPECTED = {
    "EM-net V1 4x": (0.98118, 0.96677, 0.95844, 0.97289),
    "EM-net V1 BN": (0.99604, 0.99334, 0.96098, 0.97468),
    "EM-net V2 2x": (0.99724, 0.99560, 0.95739, 0.97219),
    "CDeep3M": (0.99844, 0.99666, 0.94717, 0.96607),
    "ResNet": (0.99617, 0.99352, 0.94346, 0.96320),
    "U-net": (0.99381, 0.99144, 0.94900, 0.96651),
    "VGG": (0.99611, 0.99374, 0.94622, 0.96454),
}


@cache
def slices_of(folder):
    return np.stack([np.asarray(Image.open(path)) for path in sorted((ROOT / folder).glob("*.png"))])


@pytest.mark.parametrize("method", EXPECTED)
def test_published_maps(method):
    truth, scores = slices_of("Groundtruth") >= 128, slices_of(method)
    found = ProbabilityHistogram.total(ProbabilityHistogram.of(t, s) for t, s in zip(truth, scores, strict=True))
    ours = [auc_roc(found), average_precision(found), *(threshold_curve(found, m, [0.5])[0] for m in (BINARY_MIOU, F1))]
    np.testing.assert_allclose(ours, EXPECTED[method], rtol=0, atol=6e-6)


def test_the_maps_equal_scikit_learn():
    truth, scores = slices_of("Groundtruth") >= 128, slices_of("CDeep3M")
    found = ProbabilityHistogram.of(truth, scores)
    flat = truth.ravel(), scores.ravel()
    assert auc_roc(found) == pytest.approx(sk.roc_auc_score(*flat), abs=1e-9)
    assert average_precision(found) == pytest.approx(sk.average_precision_score(*flat), abs=1e-9)
    curve = threshold_curve(found, BINARY_MIOU)
    calls = [(scores / np.float32(255)).astype(np.float64) > k / 10 for k in range(11)]
    each = [sk.jaccard_score(flat[0], call.ravel(), average="macro") for call in calls]
    np.testing.assert_allclose(curve, each, atol=1e-12)
    assert curve[10] == pytest.approx((~truth).mean() / 2)
