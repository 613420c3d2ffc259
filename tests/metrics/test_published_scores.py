"""Pixel scores of the EM-stellar cardiac slices: the authors' notebook and their paper's Table 1."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import accuracy, dice, iou, mean_defined, mean_iou, npv, precision, recall, specificity

ROOT = Path(os.environ.get("CRISTAE_DATA", "")) / "em-stellar-cardiac"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not os.environ.get("CRISTAE_DATA") or not ROOT.is_dir(), reason="CRISTAE_DATA has no em-stellar-cardiac"
    ),
]

# F1, accuracy, sensitivity, specificity, PPV, NPV, Jaccard; mitochondria positive; then mIoU and slice-mean F1
NOTEBOOK = {
    "EM-net V1 4x": (0.97289, 0.98035, 0.96465, 0.98940, 0.98128, 0.97983, 0.94722, 0.95844, 0.97122),
    "EM-net V1 BN": (0.97468, 0.98153, 0.97254, 0.98671, 0.97683, 0.98422, 0.95061, 0.96098, 0.97234),
    "EM-net V2 2x": (0.97219, 0.97985, 0.96393, 0.98901, 0.98060, 0.97942, 0.94589, 0.95739, 0.97057),
    "CDeep3M": (0.96607, 0.97450, 0.99303, 0.96383, 0.94054, 0.99585, 0.93437, 0.94717, 0.96352),
    "ResNet": (0.96320, 0.97286, 0.97174, 0.97350, 0.95481, 0.98355, 0.92901, 0.94346, 0.95691),
    "U-net": (0.96651, 0.97580, 0.95542, 0.98754, 0.97786, 0.97465, 0.93519, 0.94900, 0.96377),
    "VGG": (0.96454, 0.97449, 0.94938, 0.98895, 0.98020, 0.97136, 0.93151, 0.94622, 0.96215),
}
# F1, accuracy, sensitivity, specificity, PPV, NPV with the background positive; Jaccard of the mitochondria
PAPER = {
    "EM-net V1 4x": (0.9846, 0.9804, 0.9894, 0.9647, 0.9798, 0.9813, 0.9472),
    "EM-net V1 BN": (0.9854, 0.9815, 0.9867, 0.9725, 0.9842, 0.9769, 0.9506),
    "EM-net V2 2x": (0.9842, 0.9798, 0.989, 0.9639, 0.9794, 0.9806, 0.9459),
    "CDeep3M": (0.9795, 0.9745, 0.9638, 0.993, 0.9958, 0.9405, 0.9344),
    "ResNet": (0.9785, 0.9729, 0.9735, 0.9717, 0.9836, 0.9548, 0.929),
    "U-net": (0.9811, 0.9758, 0.9875, 0.9554, 0.9747, 0.9778, 0.9352),
    "VGG": (0.9801, 0.9745, 0.9889, 0.9494, 0.9714, 0.9802, 0.9315),
}
SIX = (dice, accuracy, recall, specificity, precision, npv)


def masks_of(folder):
    return [np.asarray(Image.open(path)) >= 128 for path in sorted((ROOT / folder).glob("*.png"))]


@pytest.mark.parametrize("method", NOTEBOOK)
def test_published_pixel_scores(method):
    slices = [Confusion.of(t, p, 2) for t, p in zip(masks_of("Groundtruth"), masks_of(method), strict=True)]
    assert len(slices) == 4
    pooled = slices[0] + slices[1] + slices[2] + slices[3]
    foreground = [function(pooled)[1] for function in SIX]
    background = [function(pooled)[0] for function in SIX]
    jaccard = iou(pooled)[1]
    slice_mean = mean_defined([dice(part)[1] for part in slices]).value
    np.testing.assert_allclose(
        [*foreground, jaccard, mean_iou(pooled).value, slice_mean], NOTEBOOK[method], rtol=0, atol=6e-6
    )
    np.testing.assert_allclose([*background, jaccard], PAPER[method], rtol=0, atol=1e-4)
