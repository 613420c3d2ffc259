"""Blur and sharpening, against scipy's Gaussian filter."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cristae.augment import Blur, Sharpen
from cristae.augment.blur import gaussian_blur


def reference(image: np.ndarray, sigma: float) -> np.ndarray:
    """Each slice blurred in its plane, its border repeated beyond it."""
    return gaussian_filter(image.astype(float), (*[0] * (image.ndim - 2), sigma, sigma), mode="nearest")


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 2.6, 5.0])
@pytest.mark.parametrize("size", [(1, 40, 33), (1, 3, 40, 33), (1, 7, 5)])
def test_a_blur_is_that_of_scipy(sigma, size):
    """Borders too, and patches smaller than the kernel."""
    image = torch.from_numpy(np.random.default_rng(0).random(size, np.float32))
    blurred = gaussian_blur(image[None], torch.full([1] * (len(size) + 1), sigma), 5.0)[0]
    np.testing.assert_allclose(blurred.numpy(), reference(image.numpy(), sigma), atol=2e-6)


def test_a_sigma_of_zero_leaves_the_image_as_it_is():
    image = torch.from_numpy(np.random.default_rng(0).random((2, 1, 9, 9), np.float32))
    sigma = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    assert torch.equal(gaussian_blur(image, sigma, 2.0)[0], image[0])


def test_each_sample_is_blurred_by_its_own_sigma(make_batch, generators):
    """The deviation of white noise falls to 1 / (2 sqrt(pi) sigma), which tells the sigma that was drawn."""
    batch = make_batch(64, 64, 64)
    blurred = Blur(sigma_vox=(1.0, 2.0), probability=1)(batch, generators(64))
    inside = (..., slice(8, -8), slice(8, -8))
    ratio = blurred.image[inside].std((1, 2, 3)) / batch.image[inside].std((1, 2, 3))
    sigma = 1 / (2 * np.sqrt(np.pi) * ratio)
    assert 0.85 < sigma.min() < 1.2
    assert 1.8 < sigma.max() < 2.4
    assert sigma.std() == pytest.approx(1 / np.sqrt(12), rel=0.3)


def test_slices_are_blurred_alike_or_each_by_its_own_sigma(make_batch, generators):
    batch = make_batch(4, 5, 32, 32)
    batch = replace(batch, image=batch.image[:, :1, :1].expand(-1, 2, 5, -1, -1))
    alike = Blur(sigma_vox=(0.5, 3), probability=1)(batch, generators(4)).image
    assert torch.equal(alike[:, :, 0], alike[:, :, 4])
    apart = Blur(sigma_vox=(0.5, 3), per_slice=True, probability=1)(batch, generators(4)).image
    assert torch.equal(apart[:, 0], apart[:, 1])
    assert all(not torch.equal(apart[:, :, 0], apart[:, :, z]) for z in range(1, 5))


def test_sharpening_adds_what_a_blur_takes_away(make_batch, generators):
    batch = make_batch(16, 24, 24)
    sharp = Sharpen(amount=2.0, sigma_vox=1.5, probability=1)(batch, generators(16))
    detail = batch.image.numpy() - np.stack([reference(one.numpy(), 1.5) for one in batch.image])
    found = (sharp.image - batch.image).numpy()
    factor = (found * detail).sum((1, 2, 3)) / (detail**2).sum((1, 2, 3))
    np.testing.assert_allclose(found, factor[:, None, None, None] * detail, atol=1e-5)
    assert 0 <= factor.min() < 0.5
    assert 1.5 < factor.max() <= 2


@pytest.mark.parametrize("bad", [(2.0, 1.0), (0.0, 1.0), (1.0, 30.0), (1.0,)])
def test_sigmas_out_of_range(bad):
    with pytest.raises(ValueError, match="sigma_vox"):
        Blur(sigma_vox=bad)
