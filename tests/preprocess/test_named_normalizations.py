"""Each normalisation against its definition by other means: numpy, scipy, scikit-image, or worked by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import ndimage
from skimage import exposure

from cristae.data.box import Box
from cristae.data.image import Image, image_of_array
from cristae.errors import RunError
from cristae.preprocess import (
    FixedRange,
    HistogramMatching,
    Local,
    MinMax,
    Normalize,
    NormalizeConfig,
    Percentiles,
    ZScore,
)
from cristae.preprocess.fitting import Greys, fit_training, fit_volume, greys_of
from cristae.preprocess.form import fit
from cristae.preprocess.histogram import IntensityHistogram, histogram_of
from cristae.preprocess.matching import MOST_KNOTS, Distribution
from cristae.preprocess.normalize import Normalizer

ANY = TypeAdapter[NormalizeConfig](Normalize)


def stack(shape: tuple[int, int, int] = (5, 40, 37), seed: int = 0, dtype: str = "uint8") -> np.ndarray:
    """Slices of different brightness and contrast, with structure of several sizes."""
    rng = np.random.default_rng(seed)
    grey = ndimage.gaussian_filter(rng.normal(size=shape), (0, 2, 2)) * 6 + rng.normal(size=shape) * 0.4
    drift = np.linspace(-0.5, 0.5, shape[0])[:, None, None]
    scaled = (grey * (1 + drift) + 2 * drift) * 25 + 128
    top = 255 if dtype == "uint8" else 60_000
    return (scaled.clip(0, 255) * top / 255).round().astype(dtype)


def of_volume(config: NormalizeConfig, grey: np.ndarray) -> np.ndarray:
    image = image_of_array(grey)
    return fit_volume(config, greys_of(config, image)).read(image, Box.of_shape(grey.shape))


def test_a_recipe_without_a_name_means_percentiles() -> None:
    assert ANY.validate_python({"low_percentile": 1, "scope": "volume"}) == Percentiles(
        low_percentile=1, scope="volume"
    )
    assert ANY.validate_python({"name": "z_score"}) == ZScore()
    assert ANY.validate_python(MinMax(scope="patch")) == MinMax(scope="patch")
    with pytest.raises(ValidationError, match="z_scores"):
        ANY.validate_python({"name": "z_scores"})


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_z_score_of_a_region_has_mean_0_and_deviation_1(dtype: str) -> None:
    """Dense cell, section 6: each region volume is normalised to mean 0, standard deviation 1 over all its voxels."""
    grey = stack(dtype=dtype)
    found = of_volume(ZScore(scope="volume", ignore=()), grey)
    wide = grey.astype(np.float64)
    np.testing.assert_allclose(found, (wide - wide.mean()) / wide.std(), atol=2e-4 if dtype == "float32" else 1e-5)
    assert abs(found.mean()) < 1e-4
    assert found.std() == pytest.approx(1, abs=1e-4)
    inverted = of_volume(ZScore(scope="volume", ignore=(), invert=True), grey)
    np.testing.assert_allclose(inverted, -found, atol=1e-5)


def test_min_max_of_a_stack() -> None:
    """FIB-SEM, section 5: (x - min) / (max - min) over the annotated stack."""
    grey = stack(dtype="uint16")
    low, high = float(grey.min()), float(grey.max())
    found = of_volume(MinMax(scope="volume", ignore=()), grey)
    np.testing.assert_allclose(found, (grey - low) / (high - low), atol=1e-6)
    assert (found.min(), found.max()) == pytest.approx((0, 1), abs=1e-6)
    np.testing.assert_allclose(of_volume(MinMax(scope="volume", ignore=(), invert=True), grey), 1 - found, atol=1e-6)


def test_eight_bits_divided_by_255() -> None:
    """SegET, section 1: intensities are divided by 255 to [0, 1], whatever the image holds."""
    grey = np.array([[[3, 51, 102, 204]]], np.uint8)
    normalizer = fit(FixedRange(low=0, high=255), IntensityHistogram.of(grey))
    np.testing.assert_allclose(normalizer.apply(grey)[0, 0], [3 / 255, 0.2, 0.4, 0.8], atol=1e-7)
    with pytest.raises(ValidationError, match="must be below high"):
        FixedRange(low=3, high=3)


@pytest.mark.parametrize(
    ("kind", "fields", "why"),
    [
        (FixedRange, {}, "the range is stated, not estimated"),
        *((kind, {"scope": "patch"}, "all that they hold") for kind in (MinMax, Percentiles, ZScore)),
    ],
)
def test_what_is_ignored_without_effect_is_refused(kind, fields, why):
    """Nothing is estimated where a range is stated, and patches are scaled as they are. The default is what run folders
    write out."""
    assert kind(**fields, ignore="padding") == kind(**fields)
    for ignored in ([], [0]):
        with pytest.raises(ValueError, match=f"has no effect, because .*{why}; leave it out"):
            kind(**fields, ignore=ignored)


@pytest.mark.parametrize("kind", [HistogramMatching, Local, MinMax, Percentiles, ZScore])
def test_what_is_ignored_otherwise_decides_the_numbers(kind):
    """Of a stack a quarter of which is one value in the middle of the others, which nothing takes for padding."""
    rng = np.random.default_rng(5)
    grey = rng.integers(0, 200, (4, 40, 40)).astype(np.uint8)
    grey[:, :, :10] = 255
    image, other = image_of_array(grey), image_of_array(rng.integers(20, 120, grey.shape).astype(np.uint8))
    seen = []
    for ignored in ((), (255.0,)):
        config = kind(ignore=ignored, **({"least_deviation": 1} if kind is Local else {}))
        shared = fit_training(config, greys_of(config, other if config.matches else image))
        own = fit_volume(config, greys_of(config, image), shared) if config.matches else shared
        seen.append(own.read(image, Box.of_shape(grey.shape)))
    assert np.abs(seen[0] - seen[1]).max() > 0.01


@pytest.mark.parametrize("config", [ZScore(scope="slice", ignore=()), MinMax(scope="slice", ignore=())])
def test_each_slice_has_its_own_range(config: NormalizeConfig) -> None:
    grey = stack((7, 30, 33))
    found = of_volume(config, grey)
    for plane, numbers in zip(grey.astype(np.float64), found, strict=True):
        low, width = (plane.mean(), plane.std()) if isinstance(config, ZScore) else (plane.min(), np.ptp(plane))
        np.testing.assert_allclose(numbers, (plane - low) / width, atol=1e-5)


def test_a_blank_slice_takes_the_range_of_its_volume() -> None:
    grey = stack((4, 30, 33))
    grey[2] = 90
    normalizer = fit_volume(MinMax(scope="slice", ignore=()), greys_of(MinMax(scope="slice"), image_of_array(grey)))
    assert normalizer.slices[2] == (grey.min(), grey.max())
    assert normalizer.slices[1] == (grey[1].min(), grey[1].max())


def test_matching_is_that_of_scikit_image() -> None:
    training, other = stack(seed=1), (255 - 0.4 * stack(seed=2).astype(float)).round().astype(np.uint8)
    shared = fit_training(HistogramMatching(ignore=()), Greys(IntensityHistogram.of(training)))
    own = fit_volume(HistogramMatching(ignore=()), Greys(IntensityHistogram.of(other)), shared)
    assert own.matching is not None
    np.testing.assert_allclose(own.matching.apply(other), exposure.match_histograms(other, training), atol=1e-4)
    expected = ((exposure.match_histograms(other, training) - own.low) / (own.high - own.low)).clip(-0.5, 1.5)
    np.testing.assert_allclose(own.apply(other), expected, atol=1e-5)
    assert torch.equal(torch.from_numpy(own.apply(other)), own.apply(torch.from_numpy(other)))


def test_the_training_data_matches_itself() -> None:
    grey = stack(dtype="uint16")
    config = HistogramMatching(ignore=())
    shared = fit_training(config, Greys(IntensityHistogram.of(grey)))
    own = fit_volume(config, Greys(IntensityHistogram.of(grey)), shared)
    np.testing.assert_allclose(own.apply(grey), shared.apply(grey), atol=1e-5)


def test_a_long_table_is_thinned_to_equal_steps() -> None:
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    table = Distribution.of(IntensityHistogram.of(values))
    assert len(table.values) <= MOST_KNOTS
    shares = np.interp(np.quantile(values, [0.001, 0.3, 0.9]), table.values, table.shares)
    np.testing.assert_allclose(shares, [0.001, 0.3, 0.9], atol=2e-3)
    assert (table.values[0], table.values[-1]) == pytest.approx((values.min(), values.max()), rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    gain=st.floats(0.2, 4), shift=st.integers(-300, 300),
    config=st.sampled_from([Percentiles(scope="volume"), ZScore(scope="volume"), MinMax(scope="slice"),
                            Local(scope="volume", reach_vox=4)]),
)  # fmt: skip
def test_brightness_and_contrast_of_the_volume_do_not_matter(gain: float, shift: int, config: NormalizeConfig) -> None:
    config = config.model_copy(update={"ignore": ()})
    grey = stack().astype(np.int16)
    other = (grey * np.float32(gain) + shift).astype(np.float32)
    np.testing.assert_allclose(of_volume(config, other), of_volume(config, grey), atol=5e-3)


@pytest.mark.parametrize("reach", [1, 5, 60])
def test_local_contrast_is_that_of_box_filters(reach: int) -> None:
    grey = stack((3, 40, 37))
    config = Local(scope="volume", reach_vox=reach, least_deviation=0.01)
    found = of_volume(config, grey)
    scaled = of_volume(Percentiles(scope="volume"), grey).astype(np.float64)
    size = (1, 2 * reach + 1, 2 * reach + 1)
    mean = ndimage.uniform_filter(scaled, size, mode="mirror")
    spread = ndimage.uniform_filter(scaled**2, size, mode="mirror") - mean**2
    np.testing.assert_allclose(found, (scaled - mean) / np.sqrt(spread.clip(0)).clip(0.01), atol=1e-4)


def test_the_noise_of_empty_resin_is_not_blown_up() -> None:
    grey = stack((1, 60, 60))
    grey[:, :30] = 128 + np.random.default_rng(0).integers(-1, 2, (1, 30, 60))
    found = of_volume(Local(scope="volume", reach_vox=5, least_deviation=0.1), grey)
    assert np.abs(found[:, :20]).max() < 0.3
    assert np.abs(found[:, 40:]).max() > 1


@pytest.mark.parametrize("config", [Percentiles(scope="patch"), ZScore(scope="patch"), MinMax(scope="patch")])
@pytest.mark.parametrize("shape", [(1, 30, 41), (3, 20, 21), (1, 4, 11, 12)])
def test_each_patch_has_its_own_range(config: NormalizeConfig, shape: tuple[int, ...]) -> None:
    """EM-stellar's paper: min-max of each image after augmentation."""
    patches = np.random.default_rng(1).normal(3, 2, (5, *shape)).astype(np.float32)
    step = config.patch_step()
    assert step is not None
    found = step(patches)
    for patch, numbers in zip(patches.astype(np.float64), found, strict=True):
        if isinstance(config, ZScore):
            low, high = patch.mean(), patch.mean() + patch.std()
        elif isinstance(config, MinMax):
            low, high = patch.min(), patch.max()
        else:
            low, high = np.percentile(patch, [0.5, 99.5], method="inverted_cdf")
        expected = (patch - low) / (high - low)
        np.testing.assert_allclose(numbers, expected.clip(-0.5, 1.5) if config.clipped else expected, atol=1e-5)
    tensor = torch.from_numpy(patches)
    together = step(tensor)
    np.testing.assert_allclose(together.numpy(), found, atol=1e-6)
    alone = torch.cat([step(tensor[i : i + 1]) for i in range(5)])
    assert torch.equal(together, alone)
    assert np.array_equal(tensor.numpy(), patches)


def test_a_range_of_patches_is_the_same_for_any_number_of_threads() -> None:
    patches = torch.rand((2, 1, 300, 301), generator=torch.Generator().manual_seed(0))
    step, threads = ZScore(scope="patch").patch_step(), torch.get_num_threads()
    assert step is not None
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(step(patches))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("config", [Percentiles(scope="patch"), ZScore(scope="patch"), MinMax(scope="patch")])
def test_a_constant_patch_becomes_0(config: NormalizeConfig) -> None:
    step = config.patch_step()
    assert step is not None
    assert not step(torch.full((2, 1, 4, 5), 0.3)).any()


def test_what_comes_before_patches_are_scaled_cuts_nothing_off() -> None:
    grey = stack()
    assert fit(Percentiles(scope="patch"), IntensityHistogram.of(grey)).clip is None
    assert fit(Percentiles(), IntensityHistogram.of(grey)).clip == (-0.5, 1.5)


def fitted() -> list[Normalizer]:
    image = image_of_array(stack(dtype="float32"))
    shared = fit_training(HistogramMatching(), greys_of(HistogramMatching(), image))
    configs = (ZScore(), MinMax(scope="slice"), Local(), Percentiles(scope="patch"), FixedRange())
    return [
        shared,
        fit_volume(HistogramMatching(), greys_of(HistogramMatching(), image), shared),
        *(fit_volume(config, greys_of(config, image)) for config in configs),
    ]


@pytest.mark.parametrize("number", range(7))
def test_json_gives_back_every_kind_exactly(number: int) -> None:
    normalizer = fitted()[number]
    assert Normalizer.from_dict(json.loads(json.dumps(normalizer.to_dict()))) == normalizer


def test_runs_of_earlier_versions_are_read() -> None:
    old = {
        "low": 3.0,
        "high": 9.0,
        "invert": False,
        "clip": [-0.5, 1.5],
        "kind": "uint8",
        "ignored": [],
        "quantiles": [],
    }
    assert Normalizer.from_dict(old) == Normalizer(3.0, 9.0, kind="uint8")
    assert Normalizer(3.0, 9.0, kind="uint8").to_dict() == old


@pytest.mark.parametrize(
    "wrong",
    [
        {"slices": [[2, 1]]},
        {"matching": {"training": {"values": [2, 1], "shares": [0, 1]}, "volume": None}},
        {"matching": {"training": {"values": [], "shares": []}, "volume": None}},
        {"contrast": {"reach_vox": 0, "least_deviation": 0.1}},
        {"contrast": {"reach_vox": 4, "least_deviation": 0}},
    ],
)
def test_broken_storage_is_refused(wrong: dict[str, object]) -> None:
    (field,) = wrong
    with pytest.raises(RunError, match=rf"normalizer\.{field}"):
        Normalizer.from_dict({"low": 1, "high": 2} | wrong)


def refusing(shape: tuple[int, int, int], most: int, chunks: tuple[int, int, int]) -> Image:
    """A volume too large for the memory: it is computed where it is read, in pieces only."""
    base = image_of_array(stack((4, 64, 64), dtype="uint16"))

    def read(box: Box) -> np.ndarray:
        assert box.size <= most, f"{box} is read at once"
        z, y, x = (np.arange(a, b) % n for a, b, n in zip(box.start, box.stop, (4, 64, 64), strict=True))
        return base.read()[np.ix_(z, y, x)]

    return replace(base, shape=shape, reader=read, chunks=chunks)


@pytest.mark.parametrize(
    "config", [ZScore(scope="slice"), MinMax(scope="volume"), HistogramMatching(), Local(scope="volume")]
)
def test_statistics_are_streamed(config: NormalizeConfig) -> None:
    """What is read at once does not grow with the volume: here no more than 2^22 of its 2^25 voxels."""
    image = refusing((8, 2048, 2048), 1 << 22, (1, 512, 512))
    shared = fit_training(config, Greys(histogram_of(image, max_voxels=100_000))) if config.matches else None
    normalizer = fit_volume(config, greys_of(config, image), shared)
    small = image_of_array(stack((4, 64, 64), dtype="uint16"))
    expected = fit_volume(config, greys_of(config, small), shared)
    assert (normalizer.low, normalizer.high) == pytest.approx((expected.low, expected.high))
    np.testing.assert_allclose(normalizer.slices, expected.slices * 2)
    assert normalizer.read(image, Box((3, 900, 900), (5, 950, 960))).shape == (2, 50, 60)
