"""Edge-preserving weights against the numbers of the dense-cell paper and its code, and against direct sums."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.targets import INVALID, EdgeDiffusion, EdgePreserving
from cristae.targets.diffusion import diffuse
from cristae.targets.edge_preserving import blur
from cristae.targets.edges import EdgeField, Sides

CELL = Classes(names=("background", "cell", "mito", "granule"))
ONE = Classes(names=("background", "mito"))


def sides_of(field: EdgeField, labels: np.ndarray) -> Sides:
    return field._sides(labels)


def paper_slice() -> np.ndarray:
    labels = np.zeros((64, 64), np.uint8)
    labels[16:48, 16:48] = 1
    labels[28:36, 28:36] = 3
    return labels


def code_slice() -> np.ndarray:
    labels = np.zeros((12, 12), np.uint8)
    labels[3:9, 3:9] = 1
    labels[5:7, 5:7] = 2
    return labels


def reference_sum(labels: np.ndarray, config: EdgePreserving, groups: dict[str, tuple[int, ...]]) -> np.ndarray:
    """S of the paper by SciPy's filter."""
    mode = {"wrap": "wrap", "nearest": "nearest"}[config.boundary]
    total = np.zeros(labels.shape)
    for a, b in (("background", "cell"), ("cell", "background"), ("cell", "organelles"), ("organelles", "cell")):
        if a in groups and b in groups:
            source = np.isin(labels, groups[a]).astype(float)
            near = gaussian_filter(source, config.sigma_vox, truncate=4, mode=mode)
            total += 0.882 * near * np.isin(labels, groups[b])
    return total


def test_fact_7_the_papers_weights_of_a_slice_with_a_cell_and_a_granule() -> None:
    """m, S, W_ep, its sum, W_cb and W at the places that dense-cell fact 7 gives, to all of its digits."""
    config, labels = EdgePreserving(cell="cell"), paper_slice()
    field = config.field(CELL)
    total = reference_sum(labels, config, dict(field.groups))
    edges = config.edge_weights(sides_of(field, labels), ())
    places = {
        (0, 0): (5.3e-5, 0),
        (15, 32): (0.400557, 0.236633),
        (16, 32): (0.427060, 0.278289),
        (22, 32): (0.201398, 0),
        (27, 32): (0.200531, 0),
        (28, 32): (0.672057, 0.663354),
        (32, 32): (0.653085, 0.633536),
    }
    assert total.max() == pytest.approx(0.687278, abs=5e-7)
    for place, (s, weight) in places.items():
        assert total[place] == pytest.approx(s, abs=5e-7)
        assert edges[place] == pytest.approx(weight, abs=5e-7)
    assert edges.sum() == pytest.approx(190.4074, abs=5e-5)
    weights = field.weights(labels, {"class_counts": [3072, 960, 0, 64]})
    assert weights.dtype == np.float32
    for place, weight in {(16, 32): 0.354956, (32, 32): 1.643536, (0, 0): 0.030833}.items():
        assert weights[place] == pytest.approx(weight, abs=5e-7)


def test_fact_6_without_edges_the_field_is_the_class_balance() -> None:
    """Dense-cell fact 6: class values 0.2, 0.5, 1, here plus w; 'm' of this slice is not above alpha = 0.9."""
    labels = np.array([[0, 0, 0, 1], [0, 0, 1, 2]], np.uint8)
    field = EdgePreserving(cell="cell", alpha=0.9).field(CELL)
    found = field.weights(labels, {"class_counts": [5, 2, 1, 0]})
    np.testing.assert_allclose(found, np.array([0.2, 0.5, 1.0])[labels] + 0.01, rtol=1e-6)


def test_fact_8_the_codes_weights_of_a_slice_with_two_squares() -> None:
    """Row, maximum and sum of one directed term, sum and values of both symmetric terms of dense-cell fact 8.

    Sums agree to seven digits: the last ones of the fact are of single precision.
    """
    config, labels = EdgeDiffusion(cell="cell"), code_slice()
    sides = sides_of(config.field(CELL), labels)
    peaks = config.peaks(sides)
    one = config._terms(sides)[0] * (25 / peaks[0])
    row = [0, 0, 0, 18.819910, 10.180887, 0, 0, 10.180887, 18.819910, 0, 0, 0]
    np.testing.assert_allclose(one[5], row, atol=5e-7)
    assert one.max() == pytest.approx(25)
    assert one.sum() == pytest.approx(549.4067, rel=1e-7)
    both = config.edge_weights(sides, peaks)
    assert both.sum() == pytest.approx(1562.1980, rel=1e-7)
    for place, value in {(5, 5): 25, (3, 3): 25, (4, 4): 21.392940}.items():
        assert both[place] == pytest.approx(value, abs=5e-7)


def test_fact_8_one_step_from_a_single_voxel() -> None:
    source = np.zeros((5, 5), bool)
    source[2, 2] = True
    found = diffuse(source, 1, 0.2, 0.98, "wrap")
    near, diagonal = 0.98 * 0.2 / 6, 0.98 * 0.2 / 12
    assert (round(near, 6), round(diagonal, 6)) == (0.032667, 0.016333)
    expected = [[diagonal, near, diagonal], [near, 1, near], [diagonal, near, diagonal]]
    np.testing.assert_allclose(found[1:4, 1:4], expected, rtol=1e-12)
    assert found[0].max() == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 40), st.integers(1, 70)), st.sampled_from([0.7, 2.5, 6.0]))
def test_blurring_is_scipys_filter(seed: int, shape: tuple[int, int], sigma: float) -> None:
    """Also where the kernel is longer than the slice, which it then goes round several times."""
    mask = np.random.default_rng(seed).random(shape) < 0.4
    for mode in ("wrap", "nearest"):
        expected = gaussian_filter(mask.astype(float), sigma, truncate=4, mode=mode)
        np.testing.assert_allclose(blur(mask, sigma, mode), expected, atol=1e-13)


def direct_diffusion(source: np.ndarray, steps: int, rate: float, decay: float, boundary: str) -> np.ndarray:
    """Voxel by voxel, as the description reads."""
    kernel = np.array([[1 / 12, 1 / 6, 1 / 12], [1 / 6, -1, 1 / 6], [1 / 12, 1 / 6, 1 / 12]])
    height, width = source.shape
    values = source.astype(float)
    for _ in range(steps):
        changed = np.zeros_like(values)
        for y, x in np.ndindex(source.shape):
            change = 0.0
            for dy, dx in product((-1, 0, 1), repeat=2):
                if boundary == "wrap":
                    at = (y + dy) % height, (x + dx) % width
                else:
                    at = min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)
                change += kernel[dy + 1, dx + 1] * values[at]
            changed[y, x] = max(decay * (values[y, x] + rate * change), 0)
        values = np.where(source, 1.0, changed)
    return values


@pytest.mark.parametrize("boundary", ["wrap", "nearest"])
@pytest.mark.parametrize("shape", [(7, 9), (1, 6), (2, 2)])
def test_diffusion_is_the_description_by_loops(boundary, shape) -> None:
    source = np.random.default_rng(3).random(shape) < 0.3
    source.flat[0] = True
    found = diffuse(source, 12, 0.2, 0.98, boundary)
    np.testing.assert_allclose(found, direct_diffusion(source, 12, 0.2, 0.98, boundary), rtol=1e-12)


@pytest.mark.parametrize("config", [EdgePreserving(cell="cell"), EdgeDiffusion(cell="cell")])
def test_a_voxel_that_does_not_count_is_neither_source_nor_target(config) -> None:
    """It weighs 0, and its neighbours weigh what they do beside a class that has no edges."""
    labels = paper_slice()
    unknown, other = labels.copy(), labels.copy()
    unknown[20:40, 10:25], other[20:40, 10:25] = INVALID, 2
    field = config.field(CELL)
    without_mito = type(config)(cell="cell", organelles=("granule",)).field(CELL)
    statistics = {"class_counts": [3072, 960, 300, 64], "peaks": field.peaks(unknown)}
    assert without_mito.peaks(other) == field.peaks(unknown)
    found, expected = field.weights(unknown, statistics), without_mito.weights(other, statistics)
    assert (found[unknown == INVALID] == 0).all()
    np.testing.assert_array_equal(found[unknown != INVALID], expected[unknown != INVALID])


@pytest.mark.parametrize("kind", [EdgePreserving, EdgeDiffusion])
def test_one_foreground_class_has_edges_to_the_background(kind) -> None:
    labels = (paper_slice() > 0).astype(np.uint8)
    field = kind().field(ONE)
    assert dict(field.groups) == {"background": (0,), "cell": (1,)}
    sides = sides_of(field, labels)
    weights = field.config.edge_weights(sides, field.config.peaks(sides))
    assert weights[15, 32] > 0 < weights[16, 32]
    assert weights[32, 32] == 0 == weights[0, 0]


def test_without_a_cell_all_foreground_classes_together_have_edges_to_the_background() -> None:
    labels = paper_slice()
    together = sides_of(EdgePreserving().field(ONE), (labels > 0).astype(np.uint8))
    apart = sides_of(EdgePreserving().field(CELL), labels)
    for config in (EdgePreserving(), EdgeDiffusion()):
        peaks = config.peaks(together)
        assert peaks == config.peaks(apart)
        np.testing.assert_array_equal(config.edge_weights(together, peaks), config.edge_weights(apart, peaks))


def test_the_papers_thresholding_stretches_the_rest_to_the_maximum_again() -> None:
    config, labels = EdgePreserving(cell="cell"), paper_slice()
    field = config.field(CELL)
    total = reference_sum(labels, config, dict(field.groups))
    weights = config.edge_weights(sides_of(field, labels), ())
    assert weights.max() == pytest.approx(total.max())
    assert (weights == 0).sum() == (total <= 0.25).sum()
    shallow = EdgePreserving(cell="cell", alpha=0.69)  # above m = 0.687278
    assert (shallow.edge_weights(sides_of(field, labels), ()) == 0).all()


def test_terms_of_the_code_are_scaled_to_all_training_labels_and_may_be_missing() -> None:
    config, labels = EdgeDiffusion(cell="cell"), code_slice()
    field = config.field(CELL)
    sides = sides_of(field, labels)
    peaks = config.peaks(sides)
    double = config.edge_weights(sides, [2 * peak for peak in peaks])
    np.testing.assert_allclose(double, config.edge_weights(sides, peaks) / 2)
    no_organelle = sides_of(field, np.where(labels == 2, 1, labels).astype(np.uint8))
    assert config.peaks(no_organelle)[2:] == (0, 0)
    assert np.isfinite(config.edge_weights(no_organelle, config.peaks(no_organelle))).all()


@pytest.mark.parametrize(
    ("classes", "settings", "text"),
    [
        (Classes(names=("a", "b"), exclusive=False), {}, "need.* exclusive"),
        (CELL, {"cell": "nucleus"}, "'nucleus' is not one of"),
        (CELL, {"cell": "background"}, "'background' is not one of"),
        (CELL, {"cell": "cell", "organelles": ("cell",)}, "named twice"),
        (CELL, {"organelles": ("mito",)}, "need a `cell`"),
        (Classes(names=("a", "b"), background=False), {}, "needs a `cell`"),
        (Classes(names=("a", "b"), background=False), {"cell": "a", "organelles": ()}, "has no edge"),
    ],
)
@pytest.mark.parametrize("kind", [EdgePreserving, EdgeDiffusion])
def test_classes_without_such_edges_are_refused(kind, classes, settings, text) -> None:
    with pytest.raises(RecipeError, match=text):
        kind(**settings).check(classes)


def test_without_a_background_a_cell_has_edges_to_its_organelles() -> None:
    field = EdgePreserving(cell="a").field(Classes(names=("a", "b"), background=False))
    assert dict(field.groups) == {"cell": (0,), "organelles": (1,)}
