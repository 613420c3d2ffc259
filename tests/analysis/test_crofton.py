"""Surface areas against shapes whose area is known."""

import numpy as np
import pytest
from scipy.special import ellipeinc, ellipkinc

from cristae.analysis.crofton import DIRECTIONS, areas_nm2, direction_weights


def crossings(mask):
    """Steps out of a mask, by shifting the whole array."""
    padded = np.pad(mask, 1)
    counts = []
    for step in np.array(DIRECTIONS):
        shifted = [np.roll(padded, sign * step, (0, 1, 2)) for sign in (1, -1)]
        counts.append(sum(int((padded & ~one).sum()) for one in shifted))
    return np.array(counts)


def ellipsoid(radii, size, middle=(0.3, 0.2, 0.1)):
    shape = [int(2 * radius / edge) + 5 for radius, edge in zip(radii, size, strict=True)]
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return (
        sum(
            ((axis - n / 2 - off) * edge / radius) ** 2
            for axis, n, off, edge, radius in zip(axes, shape, middle, size, radii, strict=True)
        )
        <= 1
    )


def ellipsoid_area(radii):
    c, b, a = sorted(radii)
    if a == c:
        return 4 * np.pi * a**2
    phi = np.arccos(c / a)
    k = a**2 * (b**2 - c**2) / (b**2 * (a**2 - c**2))
    inner = ellipeinc(phi, k) * np.sin(phi) ** 2 + ellipkinc(phi, k) * np.cos(phi) ** 2
    return 2 * np.pi * c**2 + 2 * np.pi * a * b / np.sin(phi) * inner


def test_cubic_voxels_have_the_published_weights():
    """Ohser and Muecklich (2000), as tabulated by Lehmann and Legland (2012): for each of the 26 directions."""
    published = {1: 0.04577789120476, 2: 0.03698062787608, 3: 0.03519563978232}
    weights = direction_weights((7.0, 7.0, 7.0))
    for step, weight in zip(DIRECTIONS, weights, strict=True):
        assert weight == pytest.approx(2 * published[sum(map(abs, step))], abs=1e-12)


@pytest.mark.parametrize("size", [(10, 10, 10), (20, 10, 10), (40, 10, 10), (50, 10, 10), (10, 20, 30)], ids=str)
@pytest.mark.parametrize("radius_vox", [5, 10, 16])
def test_spheres(size, radius_vox):
    radius = radius_vox * max(size)
    found = areas_nm2(crossings(ellipsoid((radius,) * 3, size)), size)
    assert found == pytest.approx(4 * np.pi * radius**2, rel=0.006 if radius_vox == 5 else 0.002)


@pytest.mark.parametrize("size", [(10, 10, 10), (20, 10, 10), (40, 10, 10), (10, 20, 30)], ids=str)
@pytest.mark.parametrize("ratios", [(0.6, 1, 0.8), (1, 0.4, 0.4), (0.5, 1, 1), (0.4, 0.4, 1)], ids=str)
def test_ellipsoids(size, ratios):
    radii = [ratio * 14 * max(size) for ratio in ratios]
    found = areas_nm2(crossings(ellipsoid(radii, size)), size)
    assert found == pytest.approx(ellipsoid_area(radii), rel=0.07)


@pytest.mark.parametrize(("size", "worst"), [((10, 10, 10), 0.11), ((20, 10, 10), 0.13), ((50, 10, 10), 0.24)], ids=str)
def test_boxes_come_out_smaller_by_a_known_part(size, worst):
    mask = np.ones([round(400 / edge) for edge in size], bool)
    assert -worst < areas_nm2(crossings(mask), size) / (6 * 400**2) - 1 < -0.05


def test_the_area_does_not_depend_on_where_the_axes_point():
    mask = ellipsoid((50, 90, 70), (10, 10, 10))
    areas = [areas_nm2(crossings(np.transpose(mask, order)), (10, 10, 10)) for order in ((0, 1, 2), (2, 0, 1))]
    assert areas[0] == pytest.approx(areas[1], rel=1e-12)
