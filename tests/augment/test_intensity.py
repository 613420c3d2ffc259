"""Changes of grey values do to images what their fields say, and nothing to the rest."""

import numpy as np
import pytest
import torch

from cristae.augment import Batch, Brightness, Contrast, Gamma, Noise


def untouched(before: Batch, after: Batch) -> bool:
    return all(getattr(before, name) is getattr(after, name) for name in ("target", "valid", "weight"))


def test_brightness_adds_one_value_to_each_sample(make_batch, generators):
    batch = make_batch(64, 6, 5)
    changed = Brightness(amount=0.3, probability=1)(batch, generators(64))
    shift = changed.image - batch.image
    assert torch.allclose(shift, shift[:, :1, :1, :1].expand_as(shift), atol=1e-6)
    first = shift[:, 0, 0, 0]
    assert 0.2 < first.max() <= 0.3 + 1e-6
    assert -0.2 > first.min() >= -0.3 - 1e-6
    assert untouched(batch, changed)


def test_contrast_stretches_neighbouring_slices_about_their_common_mean(make_batch, generators):
    batch = make_batch(64, 6, 5)
    changed = Contrast(amount=0.5, probability=1)(batch, generators(64))
    torch.testing.assert_close(changed.image.mean((1, 2, 3)), batch.image.mean((1, 2, 3)))
    steps = [one.image[:, 1].mean((1, 2)) - one.image[:, 0].mean((1, 2)) for one in (changed, batch)]
    factor = changed.image.std((2, 3)) / batch.image.std((2, 3))
    torch.testing.assert_close(factor[:, 0], factor[:, 1])
    torch.testing.assert_close(steps[0], steps[1] * factor[:, 0], atol=1e-5, rtol=1e-4)
    assert 0.5 <= factor.min() < 0.65
    assert 1.35 < factor.max() <= 1.5
    assert untouched(batch, changed)


def test_gamma_bends_mid_tones_and_keeps_black_white_and_sign(generators):
    image = torch.tensor([0.0, 0.25, 1.0, -0.25]).view(1, 1, 1, 4).repeat(64, 1, 1, 1)
    batch = Batch(image, image[:, 0].byte(), image[:, 0] >= 0, None, (), ())
    changed = Gamma(amount=0.4, probability=1)(batch, generators(64)).image[:, 0, 0]
    assert torch.equal(changed[:, 0], torch.zeros(64))
    assert torch.equal(changed[:, 2], torch.ones(64))
    assert torch.equal(changed[:, 3], -changed[:, 1])
    logarithm = (changed[:, 1].log() / np.log(0.25)).log()
    assert 0.3 < logarithm.max() <= 0.4 + 1e-5
    assert -0.3 > logarithm.min() >= -0.4 - 1e-5


def test_noise_is_independent_gaussian_of_the_drawn_deviation(make_batch, generators):
    batch = make_batch(32, 64, 64)
    changed = Noise(amount=0.2, probability=1)(batch, generators(32))
    noise = changed.image - batch.image
    deviation = noise.std((1, 2, 3))
    assert 0.15 < deviation.max() < 0.21
    assert deviation.min() < 0.05
    unit = noise / deviation.view(-1, 1, 1, 1)
    assert unit.mean().abs() < 0.01
    assert (unit[..., 1:] * unit[..., :-1]).mean().abs() < 0.01
    assert (unit.abs() < 1).float().mean() == pytest.approx(0.6827, abs=0.005)
    assert untouched(batch, changed)


@pytest.mark.parametrize("bad", [{"amount": 0}, {"amount": -1}, {"probability": 1.5}, {"amount": float("nan")}])
@pytest.mark.parametrize("kind", [Brightness, Contrast, Gamma, Noise])
def test_fields_out_of_range(kind, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        kind(**bad)


def test_contrast_never_inverts():
    with pytest.raises(ValueError, match="amount"):
        Contrast(amount=1)
