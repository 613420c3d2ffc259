"""Normalisation: hand-worked mappings, exact storage, warnings about foreign intensities."""

import json
import re

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cristae.errors import RunError, VolumeError
from cristae.preprocess import Percentiles
from cristae.preprocess.form import fit, padding_values
from cristae.preprocess.histogram import IntensityHistogram
from cristae.preprocess.normalize import Normalizer
from cristae.preprocess.shift import distance


def tissue(seed=0, *, mean=120.0, width=20.0, dtype="uint8", skew=0.0):
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, 60_000) + skew * rng.exponential(1, 60_000)
    top = 255 if dtype == "uint8" else 60_000
    return (mean + width * noise).clip(1, top - 1).astype(dtype)


def test_mapping_worked_by_hand():
    normalizer = Normalizer(low=50, high=150)
    grey = np.array([50, 100, 150, 0, 255], np.uint8)
    assert normalizer.apply(grey).tolist() == [0, 0.5, 1, -0.5, 1.5]
    assert Normalizer(low=50, high=150, invert=True).apply(grey).tolist() == [1, 0.5, 0, 1.5, -0.5]
    assert grey.tolist() == [50, 100, 150, 0, 255]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32", "float16", "int32", "float64", ">u2"])
@pytest.mark.parametrize("invert", [False, True])
def test_arrays_become_float32(dtype, invert):
    grey = np.arange(0, 100, 7).astype(dtype)
    out = Normalizer(10, 60, invert).apply(grey)
    expected = ((grey.astype(float) - 10) / 50).clip(-0.5, 1.5)
    expected = 1 - (grey.astype(float) - 10) / 50 if invert else expected
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected.clip(-0.5, 1.5), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.float32])
@pytest.mark.parametrize("invert", [False, True])
def test_tensors_give_the_same_bytes_as_arrays(dtype, invert):
    grey = torch.arange(0, 120, 1).to(dtype)
    kept = grey.clone()
    normalizer = Normalizer(3.7, 99.1, invert)
    out = normalizer.apply(grey)
    assert out.dtype == torch.float32
    assert torch.equal(grey, kept)
    assert np.array_equal(out.numpy(), normalizer.apply(grey.numpy()))


def test_wide_integers_keep_their_differences():
    grey = np.array([2_000_000_000, 2_000_000_010], np.int32)
    assert Normalizer(2e9, 2e9 + 20).apply(grey).tolist() == [0, 0.5]


def test_fit_takes_the_percentiles():
    values = np.arange(1001, dtype=np.uint16)
    normalizer = fit(Percentiles(low_percentile=1, high_percentile=90), IntensityHistogram.of(values))
    assert (normalizer.low, normalizer.high) == (10, 900)
    assert normalizer.kind == "uint16"


def test_hot_pixels_do_not_set_the_scale():
    clean = tissue(dtype="uint16", mean=5000, width=400)
    hot = clean.copy()
    hot[::1000] = 65_535
    config = Percentiles()
    a, b = fit(config, IntensityHistogram.of(clean)), fit(config, IntensityHistogram.of(hot))
    assert abs(a.high - b.high) < 0.05 * (a.high - a.low)


@pytest.mark.parametrize("edge", [0, 255])
def test_borders_of_aligned_stacks_are_left_out(edge):
    inside = tissue()
    padded = np.concatenate([inside, np.full(50_000, edge, np.uint8)])
    config = Percentiles()
    a, b = fit(config, IntensityHistogram.of(inside)), fit(config, IntensityHistogram.of(padded))
    assert (a.low, a.high, a.ignored) == (b.low, b.high, ())
    assert b.ignored == (edge,)
    whole = fit(Percentiles(ignore=()), IntensityHistogram.of(padded))
    assert edge in (whole.low, whole.high)


def test_few_grey_levels_are_not_padding():
    assert padding_values(IntensityHistogram.of(np.repeat(np.array([0, 128, 255], np.uint8), [600, 300, 100]))) == ()


def test_named_values_are_left_out():
    values = np.concatenate([tissue(), np.full(30_000, 77, np.uint8)])
    assert fit(Percentiles(ignore=(77,)), IntensityHistogram.of(values)).ignored == (77,)


def test_a_sparse_image_falls_back_to_its_whole_range():
    values = np.zeros(10_000, np.uint8)
    values[:5] = [10, 20, 30, 40, 50]
    normalizer = fit(Percentiles(), IntensityHistogram.of(values))
    assert (normalizer.low, normalizer.high) == (0, 50)


@pytest.mark.parametrize(
    ("values", "words"),
    [(np.full(50, 37, np.uint8), "every voxel is 37"), (np.zeros(0, np.uint8), "no voxels")],
)
def test_constant_and_empty_images_are_refused(values, words):
    with pytest.raises(VolumeError, match=words):
        fit(Percentiles(), IntensityHistogram.of(values))


def test_ignoring_everything_is_refused():
    with pytest.raises(VolumeError, match=r"normalize\.ignore"):
        fit(Percentiles(ignore=(1, 2)), IntensityHistogram.of(np.array([1, 2, 2], np.uint8)))


@pytest.mark.parametrize(
    "wrong", [{"low_percentile": 60, "high_percentile": 40}, {"clip": (0.2, 1.5)}, {"clip": (0, 0.9)}, {"scope": "all"}]
)
def test_config_refuses_nonsense(wrong):
    with pytest.raises(ValidationError):
        Percentiles(**wrong)


def test_json_round_trip_is_exact():
    values = np.random.default_rng(5).normal(0.1, 1e-3, 5000).astype(np.float32)
    normalizer = fit(Percentiles(invert=True), IntensityHistogram.of(values))
    assert Normalizer.from_dict(json.loads(json.dumps(normalizer.to_dict()))) == normalizer


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 3},
        {"low": "a"},
        {"low": float("nan")},
        {"high": float("inf")},
        {"invert": "perhaps"},
        {"clip": [0.5, 1]},
        {"clip": 3},
        {"kind": "zebra"},
        {"ignored": "abc"},
        {"quantiles": [1]},
        {"quantiles": list(range(11, 0, -1))},
        {"more": 3},
    ],
)
def test_broken_storage_is_refused(wrong):
    (field,) = wrong
    with pytest.raises(RunError, match=rf"normalizer\.{field}"):
        Normalizer.from_dict({"low": 1, "high": 2} | wrong)


@pytest.mark.parametrize("wrong", [{}, 3, [1, 2], None])
def test_storage_of_something_else_is_refused(wrong):
    with pytest.raises(RunError, match="normalizer"):
        Normalizer.from_dict(wrong)


def test_similar_volumes_give_no_warning():
    training = fit(Percentiles(), IntensityHistogram.of(tissue(1)))
    shift = distance(training, IntensityHistogram.of(tissue(2)))
    assert abs(shift.median) < 0.02
    assert shift.range_ratio == pytest.approx(1, abs=0.05)
    assert shift.message() is None


def test_shift_worked_by_hand():
    training = fit(Percentiles(), IntensityHistogram.of(np.arange(0, 101, dtype=np.uint16)))
    shift = distance(training, IntensityHistogram.of(np.arange(100, 301, dtype=np.uint16)))
    assert shift.median == pytest.approx((200 - 50) / 100)
    assert shift.range_ratio == pytest.approx(1.98, abs=0.03)
    assert shift.outside == pytest.approx(200 / 201, abs=0.01)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (tissue(mean=210), "median grey is .* above"),
        (tissue(mean=40), "median grey is .* below"),
        (tissue(width=5), "contrast is 0.2[3-6] times"),
        (
            tissue(dtype="uint16", mean=120 * 257, width=20 * 257),
            "stored as uint16.*median grey is .* above.*scope: volume",
        ),
        (255 - tissue(mean=80, skew=2.0), "dark and bright seem to be exchanged.*invert"),
    ],
)
def test_foreign_intensities_are_reported(other, words):
    base = tissue(mean=80, skew=2.0) if "exchanged" in words else tissue()
    message = distance(fit(Percentiles(), IntensityHistogram.of(base)), IntensityHistogram.of(other)).message("'cell'")
    assert message is not None
    assert re.search(words, message)


def test_large_shifts_are_numbers_that_people_read():
    training = fit(Percentiles(), IntensityHistogram.of(tissue()))
    other = distance(training, IntensityHistogram.of(tissue().astype(np.uint16) * 257))
    assert re.search(r"median grey is \d+ training ranges above; its contrast is 257 times", str(other.message()))


def test_padding_of_the_new_volume_is_no_shift():
    training = fit(Percentiles(), IntensityHistogram.of(tissue(1)))
    padded = np.concatenate([tissue(2), np.zeros(60_000, np.uint8)])
    assert distance(training, IntensityHistogram.of(padded)).message() is None
