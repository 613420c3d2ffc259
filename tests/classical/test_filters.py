"""Filters against scipy, scikit-image and numpy, which compute them in other ways."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.feature import hessian_matrix, structure_tensor

from cristae.classical.filters import eigenvalues, gaussian, gaussian_radius, gradient, hessian, outer_product

STEP = (4.0, 1.0, 1.0)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def inner(array: np.ndarray, *cuts: int) -> np.ndarray:
    return array[tuple(slice(cut, length - cut) for cut, length in zip(cuts, array.shape, strict=True))]


@pytest.mark.parametrize("sigma", [(0.0, 0.7, 0.7), (0.0, 3.5, 3.5), (0.4, 1.6, 1.6), (1.0, 0.3, 5.0)])
def test_gaussian(sigma: tuple[float, float, float]) -> None:
    image = noise(9, 43, 51)
    radius = [gaussian_radius(width) for width in sigma]
    expected = image.astype(float)
    for axis, (width, cut) in enumerate(zip(sigma, radius, strict=True)):
        expected = ndimage.gaussian_filter1d(expected, width, axis, radius=cut) if width else expected
    assert np.abs(gaussian(image, sigma) - inner(expected, *radius)).max() < 1e-6


def test_a_gaussian_ends_at_three_standard_deviations() -> None:
    impulse = np.zeros((1, 1, 61), np.float32)
    impulse[0, 0, 30] = 1
    seen = gaussian(impulse, (0, 0, 2.0))[0, 0]
    assert np.flatnonzero(seen).tolist() == list(range(18, 31))
    assert seen.sum() == pytest.approx(1, abs=1e-6)
    assert seen[19] / seen[24] == pytest.approx(np.exp(-0.5 * 2.5**2), rel=1e-5)


def test_slopes_and_bends_of_a_parabola_are_exact() -> None:
    """On a grid of 4 x 1 x 1: f = 2 z^2 + 3 z y + y x - x^2 in units of the finest axis."""
    z, y, x = np.meshgrid(*(np.arange(n) * s for n, s in zip((5, 6, 7), STEP, strict=True)), indexing="ij")
    image = (2 * z * z + 3 * z * y + y * x - x * x).astype(np.float32)
    expected = [4 * z + 3 * y, 3 * z + x, y - 2 * x]
    for found, slope in zip(gradient(image, STEP, ndim=3), expected, strict=True):
        assert np.allclose(found, inner(slope, 1, 1, 1), atol=1e-4)
    for bend, value in zip(hessian(image, STEP, ndim=3), (4, 3, 0, 0, 1, -2), strict=True):
        assert np.allclose(bend, value, atol=1e-3)
    flat = hessian(image, STEP, ndim=2)
    assert [float(bend.mean().round(3)) for bend in flat] == [0, 1, -2]
    assert flat[0].shape == (5, 4, 5)


def test_hessian_in_2d_is_that_of_a_gaussians_derivatives() -> None:
    """For wide Gaussians differences and derivatives agree, also in sign."""
    image, sigma = noise(1, 101, 101), 5.0
    smooth = ndimage.gaussian_filter(image[0], sigma, truncate=6)[None]
    expected = hessian_matrix(image[0], sigma, mode="reflect", order="rc", use_gaussian_derivatives=True)
    for found, other in zip(hessian(smooth, (1, 1, 1), ndim=2), expected, strict=True):
        here = inner(found[0], 30, 30)
        there = inner(other, 31, 31)
        assert np.abs(here - there).max() < 0.06 * np.abs(there).max()


def test_laplacian_is_the_trace() -> None:
    image, sigma = noise(1, 90, 90), 4.0
    smooth = ndimage.gaussian_filter(image[0], sigma, truncate=6)[None]
    yy, _, xx = hessian(smooth, (1, 1, 1), ndim=2)
    expected = inner(ndimage.gaussian_laplace(image[0], sigma), 1, 1)
    assert np.abs(inner((yy + xx)[0] - expected, 25, 25)).max() < 0.05 * np.abs(expected).max()


def test_structure_products_are_those_of_scikit_image() -> None:
    """Both smoothed by the same Gaussian; scikit-image differentiates with Sobel filters, so on smooth images."""
    image = ndimage.gaussian_filter(noise(60, 60), 6).astype(np.float32)
    expected = structure_tensor(image, sigma=2.0, mode="reflect", order="rc")
    for found, other in zip(outer_product(gradient(image[None], (1, 1, 1), ndim=2)), expected, strict=True):
        smooth = gaussian(found, (0, 2.0, 2.0))[0]
        there = inner(other, 7, 7)
        scale = float((smooth * there).sum() / (there * there).sum())
        assert np.abs(inner(smooth - scale * there, 4, 4)).max() < 0.05 * np.abs(smooth).max()


@pytest.mark.parametrize("ndim", [2, 3])
def test_eigenvalues_are_those_of_numpy(ndim: int) -> None:
    values = noise(ndim * (ndim + 1) // 2, 2, 5, 7)
    values[:, 0, 0, :3] = 0  # all equal
    values[0, 0, 0, 1] = values[-1, 0, 0, 1] = 2  # diagonal, two equal
    matrix = np.empty((2, 5, 7, ndim, ndim))
    for place, (a, b) in enumerate(zip(*np.triu_indices(ndim), strict=True)):
        matrix[..., a, b] = matrix[..., b, a] = values[place]
    expected = np.moveaxis(np.linalg.eigvalsh(matrix)[..., ::-1], -1, 0)
    assert np.abs(eigenvalues(list(values)) - expected).max() < 2e-6
