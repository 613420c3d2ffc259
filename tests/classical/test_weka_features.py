"""The rest of Weka's features: by hand, against scikit-image and plain loops, in blocks, and refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage
from skimage.filters import gabor_kernel, rank
from skimage.morphology import disk
from test_features import noise, plan_of, whole

from cristae.classical.config import WEKA, WEKA_DEFAULT, FeaturesConfig, RandomForestConfig, without_later_settings
from cristae.classical.pixels import mirrored, smooth_all
from cristae.data.box import Box

NONE: dict[str, object] = {"intensity": False} | dict.fromkeys(("gaussian", "gradient", "structure", "hessian"), ())
SMALL = {
    "hessian_measures": [0.7],
    "derivatives": [0.7],
    "entropy": [1.0],
    "gabor": [2.0],
    "neighbours": [2],
    "bilateral": [[2.0, 60.0]],
    "kuwahara": 5,
    "lipschitz": [90.0],
    "diffusion": [50.0],
    "grey_range": [-2, 2],
}


def found(grey: np.ndarray, ndim: int = 2, step: tuple[float, float, float] = (1, 1, 1), **features: object):
    """The features of a volume by their names."""
    plan = plan_of(ndim, step, FeaturesConfig.model_validate({**NONE, **features}))
    return dict(zip(plan.names, whole(plan, grey.astype(np.float32)), strict=True))


def bytes_image() -> np.ndarray:
    return (np.random.default_rng(0).random((30, 32)) * 255).astype(np.uint8)


def test_entropy_is_that_of_scikit_image_and_one_bit_for_two_values() -> None:
    image = bytes_image() // 8 * 8
    answers = found(image[None] / 255, entropy=[3.0])
    expected = rank.entropy(image, disk(3))
    np.testing.assert_allclose(answers["entropy 3, 256 bins"][0][3:-3, 3:-3], expected[3:-3, 3:-3], atol=1e-5)
    stripes = np.zeros((1, 4, 64))
    stripes[..., 1::2] = 1
    # A disc of radius 1 has 3 of its 5 voxels in one column: a share of 3/5 and one of 2/5.
    share = -(0.6 * math.log2(0.6) + 0.4 * math.log2(0.4))
    for bins in (32, 64, 128, 256):
        assert found(stripes, entropy=[1.0])[f"entropy 1, {bins} bins"][0, 2, 20] == pytest.approx(share)


def test_bilateral_means_are_those_of_scikit_image() -> None:
    """Its bounds are strict, and its means are rounded down."""
    image = bytes_image()
    answers = found(image[None] / 255, bilateral=[[3.0, 50.0]])["bilateral 3 50"][0]
    expected = rank.mean_bilateral(image, disk(3), s0=51, s1=51)
    np.testing.assert_array_equal(np.floor(answers * 255 + 1e-3)[3:-3, 3:-3], expected[3:-3, 3:-3])


def test_gabor_filters_are_those_of_scikit_image_and_answer_to_their_wavelength() -> None:
    image = np.random.default_rng(0).random((1, 61, 61)).astype(np.float32)
    answers = found(image, gabor=[4.0])
    even, odd = [], []
    for angle in np.arange(10) * np.pi / 10:
        sigma = 0.56 * 4
        kernel = gabor_kernel(1 / 4, theta=angle, sigma_x=sigma, sigma_y=sigma, n_stds=4)
        y, x = (np.arange(side) - side // 2 for side in kernel.shape)
        bell = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * sigma**2))
        real = kernel.real - kernel.real.sum() * bell / bell.sum()
        even.append(ndimage.correlate(image[0].astype(float), real))
        odd.append(np.abs(ndimage.correlate(image[0].astype(float), kernel.imag)))
    inner = (slice(12, -12), slice(12, -12))
    for name, expected in (("bright", np.max(even, 0)), ("dark", np.min(even, 0)), ("edge", np.max(odd, 0))):
        np.testing.assert_allclose(answers[f"gabor 4 {name}"][0][inner], expected[inner], atol=0.01)
    assert max(np.abs(one).max() for one in found(np.full((1, 40, 40), 0.7), gabor=[4.0]).values()) < 1e-6
    wave = (0.5 + 0.4 * np.cos(2 * np.pi / 8 * np.arange(80)))[None, None] * np.ones((1, 80, 1))
    answers = found(wave, gabor=[4.0, 8.0])
    assert answers["gabor 8 bright"][0, 40, 40] > 0.19  # half of the amplitude, in one of its two directions
    assert answers["gabor 4 bright"][0, 40, 40] < 0.05


def test_neighbours_are_moved_images() -> None:
    grey = noise(2, 20, 24)
    answers = found(grey, neighbours=[3])
    assert set(answers) == {f"neighbour {y:+d} {x:+d}" for y in (-3, 0, 3) for x in (-3, 0, 3)} - {"neighbour +0 +0"}
    np.testing.assert_array_equal(answers["neighbour -3 +0"][:, 3:], grey[:, :-3])
    np.testing.assert_array_equal(answers["neighbour +3 -3"][:, :-3, 3:], grey[:, 3:, :-3])


def test_lines_of_least_variance_keep_edges() -> None:
    """Beside a straight edge there is a line that lies along it, so that nothing is blurred; noise is."""
    edge = np.full((1, 41, 41), 0.2)
    edge[..., 21:] = 0.8
    for one in found(edge, kuwahara=19).values():
        np.testing.assert_allclose(one[0, 12:-12], edge[0, 12:-12], atol=1e-6)
    grey = edge + np.random.default_rng(0).normal(0, 0.05, edge.shape)
    smooth = found(grey, kuwahara=19)["kuwahara variance"]
    assert np.abs(smooth - edge)[0, 12:-12].std() < 0.5 * 0.05
    black = found(np.zeros((1, 9, 9)), kuwahara=5)
    assert all((one == 0).all() for one in black.values())


@pytest.mark.parametrize(("ndim", "step"), [(2, (1, 1, 1)), (3, (1, 1, 1)), (3, (2.5, 1, 1))])
def test_the_cover_by_cones_by_brute_force(ndim: int, step: tuple[float, float, float]) -> None:
    grey = np.random.default_rng(0).random((4, 9, 11))
    answers = found(grey, ndim, step, lipschitz=[40.0])
    places = np.argwhere(np.ones(grey.shape))
    for voxel in places[::17]:
        away = np.abs(places - voxel)
        rise = 40 / 255 * (away * step).sum(1) + np.where((ndim == 2) & (away[:, 0] > 0), np.inf, 0)
        own = grey[tuple(voxel)]
        below, above = (grey.ravel() + rise).min(), (grey.ravel() - rise).max()
        assert answers["lipschitz 40 bright"][tuple(voxel)] == pytest.approx(own - below, abs=1e-6)
        assert answers["lipschitz 40 dark"][tuple(voxel)] == pytest.approx(above - own, abs=1e-6)


@pytest.mark.parametrize("ndim", [2, 3])
def test_diffusion_by_plain_loops(ndim: int) -> None:
    """Perona, Malik (1990), equations 7 and 8, on a torus, which keeps the sum."""
    grey, edge = np.random.default_rng(0).random((6, 7, 8)), 60.0
    step = (1.5, 1.0, 1.0)
    expected = grey.copy()
    for _ in range(20):
        change = np.zeros_like(grey)
        for axis in range(3 - ndim, 3):
            for shift in (-1, 1):
                rise = (np.roll(expected, shift, axis) - expected) / step[axis]
                change += rise / (1 + (rise * 255 / edge) ** 2) / step[axis]
        expected = expected + change / (2 * ndim)
    tiled = np.tile(grey, (9, 9, 9) if ndim == 3 else (1, 9, 9))
    answer = found(tiled, ndim, step, diffusion=[edge])["diffusion 60"]
    z = slice(24, 30) if ndim == 3 else slice(0, 6)
    np.testing.assert_allclose(answer[z, 28:35, 32:40], expected, atol=1e-6)
    assert expected.sum() == pytest.approx(grey.sum())
    assert expected.std() < 0.7 * grey.std()


def test_diffusion_keeps_steps_that_are_larger_than_its_edges() -> None:
    grey = np.zeros((1, 9, 60))
    grey[..., 30:] = 0.5
    kept, blurred = (found(grey, diffusion=[edge])[f"diffusion {edge:g}"][0, 4] for edge in (5.0, 200.0))
    assert kept[30] - kept[29] > 0.4
    assert blurred[30] - blurred[29] < 0.15


def test_derivatives_of_powers_are_factorials() -> None:
    """The n-th derivative of x^n is n!, smoothed or not."""
    for order in (2, 3, 4, 5):
        line = ((np.arange(41) - 20) / 5.0) ** order
        answers = found(np.ones((1, 41, 1)) * line, derivatives=[1.0])
        across = found(np.ones((1, 1, 41)) * line[None, :, None], derivatives=[1.0])
        expected = math.factorial(order) / 5**order
        assert answers[f"derivatives 1 x{order}"][0, 20, 20] == pytest.approx(expected, rel=2e-2, abs=1e-5)
        assert across[f"derivatives 1 y{order}"][0, 20, 20] == pytest.approx(expected, rel=2e-2, abs=1e-5)
        assert abs(answers[f"derivatives 1 y{order}"][0, 20, 20]) < 1e-5


def test_measures_of_the_hessian_of_a_quadratic_form_by_hand() -> None:
    """3 x² + 4 x y + y²: a = 6, b = 4, d = 2; eigenvalues are 4 ± sqrt(20), the direction is half of atan2(8, 4)."""
    y, x = np.mgrid[-12:13, -12:13].astype(float)
    answers = found((3 * x * x + 4 * x * y + y * y)[None], hessian_measures=[1.0], hessian=[1.0], laplacian=[1.0])
    value = {name: float(one[0, 12, 12]) for name, one in answers.items()}
    high, low = 4 + math.sqrt(20), 4 - math.sqrt(20)
    assert value["hessian 1 [0]"] == pytest.approx(high, rel=1e-4)
    assert value["laplacian 1"] == pytest.approx(8, rel=1e-4)
    assert value["hessian_measures 1 module"] == pytest.approx(math.hypot(high, low), rel=1e-4)
    assert value["hessian_measures 1 determinant"] == pytest.approx(high * low, rel=1e-3)
    assert value["hessian_measures 1 orientation"] == pytest.approx(0.5 * math.atan2(8, 4), rel=1e-4)
    assert value["hessian_measures 1 square difference"] == pytest.approx((high - low) ** 2, rel=1e-3)
    assert value["hessian_measures 1 difference of squares"] == pytest.approx((high**2 - low**2) ** 2, rel=1e-3)


@pytest.mark.parametrize(("ndim", "step"), [(2, (1, 1, 1)), (3, (1.4, 1, 1))])
@pytest.mark.parametrize("name", [name for name in SMALL if name != "grey_range"])
def test_a_voxel_changes_nothing_beyond_the_reach(ndim: int, step: tuple[float, float, float], name: str) -> None:
    """And something on it, but for covers and diffusion, which reach as far at most."""
    plan = plan_of(ndim, step, FeaturesConfig.model_validate({**NONE, name: SMALL[name], "grey_range": [-2, 2]}))
    still = np.random.default_rng(0).uniform(-1, 1, [2 * reach + 5 for reach in plan.reach]).astype(np.float32)
    if name == "entropy":
        still = np.sign(still)  # of values that all differ, no change changes the entropy
    other, middle = still.copy(), tuple(reach + 2 for reach in plan.reach)
    other[middle] = -1.9
    changed = np.argwhere((whole(plan, still) != whole(plan, other)).any(axis=0)) - middle
    farthest = np.abs(changed).max(axis=0)
    assert (farthest <= plan.reach).all()
    assert name in ("lipschitz", "diffusion") or tuple(farthest) == plan.reach


@settings(max_examples=6, deadline=None)
@given(
    ndim=st.sampled_from([2, 3]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 15), st.integers(1, 15)),
    block=st.tuples(st.integers(1, 4), st.integers(3, 15), st.integers(3, 15)),
)
def test_blocks_give_the_bits_of_the_whole(ndim: int, shape: tuple[int, int, int], block: tuple[int, int, int]) -> None:
    plan, grey = plan_of(ndim, (1.4, 1, 1), FeaturesConfig.model_validate(NONE | SMALL)), noise(*shape)
    expected = whole(plan, grey)
    assert np.isfinite(expected).all()
    for box in Box.of_shape(shape).blocks(block):
        seen = box.grow(plan.reach).intersect(Box.of_shape(shape))
        around = mirrored(grey[seen.slices], box.relative_to(seen.start), plan.reach)
        answer = plan.stack(around, smooth_all(around, plan), Box.of_shape(box.shape))
        assert np.array_equal(answer, expected[(slice(None), *box.slices)])


def test_words_and_names_stand_for_wekas_lists() -> None:
    """Weka's beginning: the grey value, 5 Gaussians, 5 edges, 10 differences, 5 projections, and of the Hessian at 5
    scales trace, 2 eigenvalues and 5 measures."""
    weka, everything, chosen, beginning = (
        RandomForestConfig.model_validate({"features": features}).features
        for features in ("weka", "weka_all", ["gaussian", "gabor"], list(WEKA_DEFAULT))
    )
    assert weka.n_channels(2) == 1 + 5 + 5 + 10 + 5 + 5 * (1 + 2 + 5) == len(plan_of(2, config=weka).names)
    assert beginning == weka
    assert chosen.n_channels(2) == 1 + 5 + 3 * 3
    names = plan_of(2, config=everything).names
    assert everything.n_channels(2) == len(names) == len(set(names)) == 229
    assert everything.n_channels(3) == len(plan_of(3, config=everything).names) == 239
    assert len(WEKA) == 20
    dumped = RandomForestConfig(features=everything).model_dump(mode="json")
    assert RandomForestConfig.model_validate(dumped).features == everything
    plain = without_later_settings(RandomForestConfig().model_dump(mode="json"))["features"]
    assert not {"gabor", "grey_range"} & set(plain)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (["gaussian", "gabour"], "there is no feature 'gabour' in Weka's list; there are gaussian, hessian"),
        ({"kuwahara": 8}, "must be odd"),
        ({"gabor": [4.0, 4.0]}, "gabor names a scale twice"),
        ({"lipschitz": [1.0]}, "greater than or equal to 2"),
        ({"grey_range": [1, 1]}, "the first value must be below the second"),
        ({"bilateral": [[5, 50], [5, 50]]}, "bilateral names a scale twice"),
    ],
)
def test_wrong_settings_are_refused(wrong: object, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        RandomForestConfig.model_validate({"features": wrong})
