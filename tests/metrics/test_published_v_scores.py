"""V scores of the EM-stellar cardiac slices: the authors' notebook, and values computed once with independent code."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label
from skimage.metrics import adapted_rand_error, variation_of_information
from skimage.segmentation import watershed

from cristae.metrics.contingency import Contingency
from cristae.metrics.partition import v_info, v_rand
from cristae.metrics.thinning import thin_borders
from cristae.metrics.v_scores import MAP_METRICS, THRESHOLDS, VTable

ROOT = Path(os.environ.get("CRISTAE_DATA", "")) / "em-stellar-cardiac"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not os.environ.get("CRISTAE_DATA") or not ROOT.is_dir(), reason="CRISTAE_DATA has no em-stellar-cardiac"
    ),
]

# V_rand, best t, V_info, best t (notebook; t recomputed), then V_rand split, merge, V_info split, merge at that t
NOTEBOOK = {
    "EM-net V1 4x": (0.93384, 0.0, 0.95655, 0.0, 0.89671, 0.99558, 0.93092, 0.99032),
    "EM-net V1 BN": (0.95974, 0.4, 0.96392, 0.8, 0.97007, 0.95278, 0.93554, 0.99601),
    "EM-net V2 2x": (0.97179, 0.3, 0.96931, 0.3, 0.96678, 0.97700, 0.96560, 0.97309),
    "CDeep3M": (0.96485, 0.5, 0.96845, 0.8, 0.99994, 0.93693, 0.97796, 0.95968),
    "ResNet": (0.96219, 0.7, 0.96586, 0.6, 0.97671, 0.94953, 0.97348, 0.95899),
    "U-net": (0.96448, 0.7, 0.95326, 0.7, 0.93484, 0.99646, 0.92221, 0.98657),
    "VGG": (0.96459, 0.2, 0.96355, 0.2, 0.96483, 0.96859, 0.96199, 0.96833),
}
# at t = 0.5: V_rand thin, V_info thin, V_rand raw, V_info raw, adapted Rand error, VI split, VI merge
FIXED = {
    "EM-net V1 4x": (0.92825, 0.94977, 0.89782, 0.86418, 0.10347, 0.22744, 0.16176),
    "EM-net V1 BN": (0.95828, 0.96103, 0.93945, 0.88802, 0.06158, 0.16924, 0.18191),
    "EM-net V2 2x": (0.92385, 0.94774, 0.89421, 0.85975, 0.10722, 0.23787, 0.16410),
    "CDeep3M": (0.96485, 0.96426, 0.95994, 0.94371, 0.04015, 0.23406, 0.17621),
    "ResNet": (0.92828, 0.93792, 0.91119, 0.86513, 0.08986, 0.24496, 0.22929),
    "U-net": (0.95114, 0.95256, 0.92958, 0.85279, 0.07399, 0.17113, 0.22838),
    "VGG": (0.90339, 0.93210, 0.85849, 0.81952, 0.14308, 0.27349, 0.20214),
}
CDEEP3M = {
    "V_rand": (0.41071, 0.79575, 0.86440, 0.95808, 0.96170, 0.96485, 0.95413, 0.95943, 0.96272, 0.96105, 0.61035),
    "V_info": (0, 0.81630, 0.87122, 0.95356, 0.95868, 0.96426, 0.95752, 0.96484, 0.96845, 0.96721, 0.80201),
}


@cache
def stack_of(folder):
    return [np.asarray(Image.open(path)) for path in sorted((ROOT / folder).glob("*.png"))]


@cache
def table_of(method):
    table = VTable(truth_is="grey")
    for z, (truth, scores) in enumerate(zip(stack_of("Groundtruth"), stack_of(method), strict=True)):
        table.append(table.measure(truth, scores, z=z))
    assert len(table.slices) == 4
    return table


@pytest.mark.parametrize("method", NOTEBOOK)
@pytest.mark.parametrize("rules", ["project", "fiji"])
def test_published_v_scores(method, rules):
    rand, info = (table_of(method).best(named, rules) for named in ("V_rand", "V_info"))
    assert (rand.n, info.n) == (4, 4)
    parts = (rand.parts.split, rand.parts.merge, info.parts.split, info.parts.merge)
    found = (rand.parts.value, rand.threshold, info.parts.value, info.threshold, *parts)
    np.testing.assert_allclose(found, NOTEBOOK[method], rtol=0, atol=6e-6)


@pytest.mark.parametrize("method", FIXED)
def test_scores_at_the_fixed_threshold(method):
    rows = {row.metric: row for row in table_of(method).score_rows("run", "cardiac", "mitochondria")}
    names = ("V_rand_fixed", "V_info_fixed", "V_rand_raw", "V_info_raw", "adapted_rand_error", "VI_split", "VI_merge")
    np.testing.assert_allclose([rows[name].value for name in names], FIXED[method], rtol=0, atol=6e-6)
    assert all(rows[name].threshold == 0.5 for name in names)
    np.testing.assert_allclose(rows["VI"].value, sum(FIXED[method][5:]), rtol=0, atol=1.2e-5)


def test_the_whole_curve_of_one_method_and_its_slices():
    table = table_of("CDeep3M")
    for named, values in CDEEP3M.items():
        np.testing.assert_allclose([mean.parts.value for mean in table.curve(named)], values, rtol=0, atol=6e-6)
    slices = table.parts("V_rand")[:, THRESHOLDS.index(0.5), 0]
    np.testing.assert_allclose(slices, (0.98639, 0.99939, 0.99999, 0.87362), rtol=0, atol=6e-6)


def test_scikit_image_gives_the_same_from_the_same_labels():
    record = table_of("CDeep3M").slices[1]
    truth, prediction = (label(stack_of(folder)[1] >= 128)[0] for folder in ("Groundtruth", "CDeep3M"))
    found = dict(zip(MAP_METRICS, record.maps, strict=True))
    split, merge = variation_of_information(truth, prediction)
    error, _, _ = adapted_rand_error(truth, prediction)
    assert found["VI_split"] == pytest.approx(split, abs=1e-9)
    assert found["VI_merge"] == pytest.approx(merge, abs=1e-9)
    assert found["adapted_rand_error"] == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize("method", NOTEBOOK)
def test_thinned_borders_of_real_maps_keep_the_laws(method):
    scores = stack_of(method)[0]
    for cut in (1, 26, 128, 230):
        objects, count = label(scores >= cut)
        thin = thin_borders(scores >= cut)
        np.testing.assert_array_equal(thin[objects > 0], objects[objects > 0])
        again, segments = label(thin > 0)
        assert segments == max(count, 1)
        assert len(np.unique(again.astype(np.int64) << 32 | thin)) == len(np.unique(thin))


def test_a_library_watershed_is_good_to_three_digits():
    ours, theirs = [], []
    for truth, scores in zip(stack_of("Groundtruth"), stack_of("CDeep3M"), strict=True):
        segments, objects = label(truth >= 128)[0], label(scores >= 128)[0]
        flooded = watershed(scores < 128, objects, connectivity=1, watershed_line=True)
        for labels, into in ((thin_borders(scores >= 128), ours), (flooded, theirs)):
            found = Contingency.of(segments, labels)
            into.append((v_rand(found).value, v_info(found).value))
    np.testing.assert_allclose(np.mean(ours, axis=0), np.mean(theirs, axis=0), rtol=0, atol=5e-4)
    np.testing.assert_allclose(np.mean(ours, axis=0), FIXED["CDeep3M"][:2], rtol=0, atol=6e-6)
