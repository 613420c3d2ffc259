"""Changes of grey values do to images what their fields say, and nothing to the rest."""

import numpy as np
import pytest
import torch

from cristae.augment import AugmentationConfig, Batch, Brightness, Contrast, Gamma, Noise, ShotNoise


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


def test_contrast_about_zero_multiplies(make_batch, generators):
    """Guay et al.: multiply by 1 + 0.2 u, with u even in -1 to 1."""
    batch = make_batch(400, 6, 5)
    changed = Contrast(amount=0.2, about="zero", probability=1)(batch, generators(400))
    factor = (changed.image.double() / batch.image.double()).flatten(1)
    torch.testing.assert_close(factor, factor[:, :1].expand_as(factor), rtol=1e-5, atol=1e-5)
    drawn = (factor[:, 0] - 1) / 0.2
    assert -1 - 1e-5 <= drawn.min() < -0.97
    assert 0.97 < drawn.max() <= 1 + 1e-5
    # Mean 0 and variance 1/3 of an even draw; of 400, four standard errors are 0.12 and 0.06.
    assert abs(float(drawn.mean())) < 0.12
    assert float(drawn.var()) == pytest.approx(1 / 3, abs=0.06)
    assert untouched(batch, changed)


@pytest.mark.parametrize("part", [Brightness, Contrast, Gamma])
@pytest.mark.parametrize("deep", [False, True])
def test_each_slice_may_have_a_draw_of_its_own(make_batch, generators, part, deep):
    """Slices of a volume, or the channels of a 2D network: each by itself is what a patch of that slice could be."""
    batch = make_batch(16, 4, 6, 6) if deep else make_batch(16, 6, 6)
    axis = 2 if deep else 1
    apart = part(probability=1, per_slice=True)(batch, generators(16)).image
    together = part(probability=1)(batch, generators(16)).image
    for i in range(16):
        changes = [measured(part, *pair) for pair in pairs(batch.image, apart, i, axis)]
        assert len({round(change, 4) for change in changes}) == batch.image.shape[axis]
        alike = [measured(part, *pair) for pair in pairs(batch.image, together, i, axis)]
        assert alike == pytest.approx([alike[0]] * len(alike), abs=1e-3)
    assert untouched(batch, part(per_slice=True)(batch, generators(16)))


def pairs(before: torch.Tensor, after: torch.Tensor, i: int, axis: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(before[i].double().unbind(axis - 1), after[i].double().unbind(axis - 1), strict=True))


def measured(part: type[AugmentationConfig], before: torch.Tensor, after: torch.Tensor) -> float:
    """The number that was drawn, found from a slice before and after."""
    if part is Brightness:
        return float((after - before).mean())
    if part is Contrast:
        return float(after.std() / before.std())
    return float((after.log() / before.log()).mean())


def test_contrast_of_each_slice_keeps_its_mean(make_batch, generators):
    batch = make_batch(8, 4, 6, 6)
    changed = Contrast(amount=0.5, per_slice=True, probability=1)(batch, generators(8))
    kept = batch.image.mean((-2, -1))
    torch.testing.assert_close(changed.image.mean((-2, -1)), kept)


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


def test_shot_noise_grows_with_the_root_of_the_grey_value(generators):
    """At 1 it has the drawn deviation, at 0.25 half of it, at 0 and below none."""
    level = torch.tensor([-0.2, 0.0, 0.25, 1.0]).view(1, 1, 4, 1)
    image = level.expand(16, 1, 4, 20000).contiguous()
    batch = Batch(image, image[:, 0].byte(), image[:, 0] > -1, None, (), ())
    noise = ShotNoise(amount=0.2, probability=1)(batch, generators(16)).image - image
    deviation = noise.std(-1)[:, 0]
    assert torch.equal(deviation[:, :2], torch.zeros(16, 2))
    torch.testing.assert_close(deviation[:, 2], deviation[:, 3] / 2, rtol=0.04, atol=0)
    assert 0.15 < deviation[:, 3].max() < 0.21
    unit = noise[:, 0, 3] / deviation[:, 3:]
    assert unit.mean().abs() < 0.01
    assert (unit.abs() < 1).float().mean() == pytest.approx(0.6827, abs=0.005)


def test_how_often_a_patch_is_changed(make_batch, generators):
    """Of 2000 patches at 0.3, within four standard deviations."""
    batch = make_batch(2000, 2, 2)
    for part in (Brightness(probability=0.3), Noise(probability=0.3)):
        changed = (part(batch, generators(2000)).image != batch.image).flatten(1).any(1)
        assert abs(int(changed.sum()) - 600) < 82


@pytest.mark.parametrize("bad", [{"amount": 0}, {"amount": -1}, {"probability": 1.5}, {"amount": float("nan")}])
@pytest.mark.parametrize("kind", [Brightness, Contrast, Gamma, Noise, ShotNoise])
def test_fields_out_of_range(kind, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        kind(**bad)


def test_contrast_never_inverts():
    with pytest.raises(ValueError, match="amount"):
        Contrast(amount=1)
