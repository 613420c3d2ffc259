"""Which features there are, how far they see, and that blocks give what the whole gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from cristae.classical.config import FeaturesConfig
from cristae.classical.features import FeaturePlan
from cristae.classical.pixels import mirrored, smooth_all
from cristae.data.box import Box

EVERY = FeaturesConfig(
    gaussian=(0.3, 1.6), laplacian=(0.7,), gradient=(1.0,), difference=(1.6,), structure=(0.7, 1.6), hessian=(1.0,)
)


def plan_of(ndim: int, step: tuple[float, float, float] = (1, 1, 1), config: FeaturesConfig = EVERY) -> FeaturePlan:
    return FeaturePlan(config, ndim, step)  # type: ignore[arg-type]


def whole(plan: FeaturePlan, grey: np.ndarray) -> np.ndarray:
    around = mirrored(grey, Box.of_shape(grey.shape), plan.reach)
    return plan.stack(around, smooth_all(around, plan), Box.of_shape(grey.shape))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_names() -> None:
    assert plan_of(2).names == (
        "intensity", "gaussian 0.3", "gaussian 1.6", "laplacian 0.7", "gradient 1", "difference 1.6",
        "structure 0.7 [0]", "structure 0.7 [1]", "structure 1.6 [0]", "structure 1.6 [1]", "hessian 1 [0]",
        "hessian 1 [1]",
    )  # fmt: skip
    assert len(plan_of(3).names) == EVERY.n_channels(3) == 15
    assert EVERY.n_channels(2) == 12
    assert plan_of(2).scales == pytest.approx((0.3, 0.7, 1.0, 1.056, 1.6))


def test_the_reach_is_what_each_filter_adds() -> None:
    """Scale 10: 30 voxels of the Gaussian, 1 of the difference, 15 of the second smoothing."""
    assert FeaturePlan(FeaturesConfig(), 2).reach == (0, 46, 46)
    only = FeaturesConfig(gaussian=(10.0,), gradient=(5.0,), structure=(), hessian=())
    assert FeaturePlan(only, 2).reach == (0, 30, 30)
    # 40 x 8 x 8 nm: scale 5 is one voxel in z.
    thick = FeaturePlan.on_grid(FeaturesConfig(gaussian=(), gradient=(5.0,), structure=(), hessian=()), 3, (40, 8, 8))
    assert thick.reach == (4, 16, 16)
    assert FeaturePlan.on_grid(only, 2, (40, 8, 8)).step == (1, 1, 1)


@pytest.mark.parametrize(("ndim", "step"), [(2, (1, 1, 1)), (3, (1, 1, 1)), (3, (3.3, 1, 1))])
def test_an_impulse_changes_nothing_beyond_the_reach_and_something_on_it(
    ndim: int, step: tuple[float, float, float]
) -> None:
    plan = plan_of(ndim, step)
    still = np.random.default_rng(0).uniform(1, 2, (31, 31, 31)).astype(np.float32)
    other = still.copy()
    other[15, 15, 15] += 100
    changed = (whole(plan, still) != whole(plan, other)).any(axis=0)
    places = np.argwhere(changed) - 15
    assert tuple(np.abs(places).max(axis=0)) == plan.reach
    assert changed[15, 15, 15]


@settings(max_examples=25, deadline=None)
@given(
    ndim=st.sampled_from([2, 3]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 24), st.integers(1, 24)),
    block=st.tuples(st.integers(1, 9), st.integers(3, 24), st.integers(3, 24)),
    thick=st.sampled_from([1.0, 2.7]),
)
def test_blocks_give_the_bits_of_the_whole(
    ndim: int, shape: tuple[int, int, int], block: tuple[int, int, int], thick: float
) -> None:
    plan, grey = plan_of(ndim, (thick, 1, 1)), noise(*shape)
    expected = whole(plan, grey)
    found = np.full_like(expected, np.nan)
    for box in Box.of_shape(shape).blocks(block):
        seen = box.grow(plan.reach).intersect(Box.of_shape(shape))
        part = grey[seen.slices]
        around = mirrored(part, box.relative_to(seen.start), plan.reach)
        found[(slice(None), *box.slices)] = plan.stack(around, smooth_all(around, plan), Box.of_shape(box.shape))
    assert np.array_equal(found, expected)


def test_features_are_the_filters_of_their_names() -> None:
    """Against scipy with mirrored borders; one slice of a stack, so that the others do not matter."""
    grey = noise(3, 40, 44)
    found = dict(zip(plan_of(2).names, whole(plan_of(2), grey)[:, 1], strict=True))
    image = grey[1].astype(float)

    def smooth(sigma: float) -> np.ndarray:
        return ndimage.gaussian_filter(image, sigma, mode="mirror", radius=int(np.ceil(3 * sigma)))

    assert np.array_equal(found["intensity"], grey[1])
    assert np.abs(found["gaussian 0.3"] - smooth(0.3)).max() < 1e-6
    assert np.abs(found["difference 1.6"] - (smooth(1.6) - smooth(0.66 * 1.6))).max() < 1e-6
    slopes = [ndimage.correlate1d(smooth(1.0), [-0.5, 0, 0.5], axis, mode="mirror") for axis in (0, 1)]
    assert np.abs(found["gradient 1"] - np.hypot(*slopes)).max() < 1e-6
    bent = [ndimage.correlate1d(smooth(0.7), [1, -2, 1], axis, mode="mirror") for axis in (0, 1)]
    assert np.abs(found["laplacian 0.7"] - sum(bent)).max() < 1e-6


def test_structure_and_hessian_tell_edges_and_ridges() -> None:
    """An edge has one large structure eigenvalue; a dark ridge a positive bend across it and none along it."""
    plan = plan_of(2)
    edge = np.zeros((1, 40, 40), np.float32)
    edge[..., 20:] = 1
    found = dict(zip(plan.names, whole(plan, edge)[:, 0, 20, 20], strict=True))
    assert found["structure 1.6 [0]"] > 1e-3
    assert abs(found["structure 1.6 [1]"]) < 1e-7
    ridge = np.ones((1, 40, 40), np.float32)
    ridge[..., 20] = 0
    found = dict(zip(plan.names, whole(plan, ridge)[:, 0, 20, 20], strict=True))
    assert found["hessian 1 [0]"] > 0.1
    assert abs(found["hessian 1 [1]"]) < 1e-6


def test_isotropic_blobs_look_alike_on_thick_slices() -> None:
    """A smooth ball of 8 voxels, sampled on cubes and on slices four times as thick."""
    config = FeaturesConfig(intensity=False, gaussian=(4.0,), gradient=(), structure=(), hessian=(4.0,))
    z, y, x = np.mgrid[-32:33, -32:33, -32:33]
    ball = np.exp(-(z * z + y * y + x * x) / (2 * 8.0**2)).astype(np.float32)
    fine = whole(FeaturePlan.on_grid(config, 3, (5, 5, 5)), ball)[:, 32, 32, 38]
    thick = whole(FeaturePlan.on_grid(config, 3, (20, 5, 5)), ball[::4])[:, 8, 32, 38]
    assert np.allclose(fine, thick, rtol=0.06, atol=2e-4)


@pytest.mark.parametrize(
    "wrong",
    [{"gaussian": [0.1]}, {"hessian": [1.0, 1.0]}, {"edges": [1.0]}, {"hessian": [i + 1.0 for i in range(50)] * 2}],
)
def test_wrong_features_are_refused(wrong: dict[str, list[float]]) -> None:
    with pytest.raises(ValidationError):
        FeaturesConfig.model_validate(wrong)


def test_no_feature_at_all_is_refused() -> None:
    none = dict.fromkeys(("gaussian", "gradient", "structure", "hessian"), ())
    with pytest.raises(ValidationError, match="0 features"):
        FeaturesConfig.model_validate({"intensity": False, **none})
