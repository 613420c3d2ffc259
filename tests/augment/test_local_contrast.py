"""Smooth fields, and contrast that follows them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from cristae.augment import LocalContrast
from cristae.augment.smooth_field import drawn_nodes, grid_of_nodes, smooth_field


@given(st.integers(1, 40), st.integers(1, 40), st.floats(1, 50), st.floats(1, 50), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_field_stays_within_its_nodes(rows, columns, down, across, seed):
    nodes = drawn_nodes(np.random.default_rng(seed), (rows, columns), (down, across))
    field = smooth_field(torch.from_numpy(nodes).float()[None], (rows, columns), (down, across))
    assert field.shape == (1, rows, columns)
    assert nodes.min() - 1e-6 <= field.min()
    assert field.max() <= nodes.max() + 1e-6


def test_a_field_is_the_cubic_spline_of_scipy():
    size, scale = (30, 41), (7.5, 10.0)
    counts = grid_of_nodes(size, scale)
    nodes = np.random.default_rng(0).uniform(-1, 1, counts)
    field = smooth_field(torch.from_numpy(nodes).float().view(1, -1), size, scale)[0]
    down = BSpline(np.arange(counts[0] + 4) - 3.0, nodes, 3)(np.arange(size[0]) / scale[0])
    both = BSpline(np.arange(counts[1] + 4) - 3.0, down.T, 3)(np.arange(size[1]) / scale[1]).T
    np.testing.assert_allclose(field, both, atol=1e-6)


def test_equal_nodes_give_a_constant_field():
    field = smooth_field(torch.full((1, 25), 0.3), (8, 8), (4, 4))
    torch.testing.assert_close(field, torch.full((1, 8, 8), 0.3))


def test_brightness_alone_adds_the_same_smooth_field_to_all_slices(make_batch, generators):
    batch = make_batch(48, 3, 32, 32)
    changed = LocalContrast(contrast=0, brightness=0.4, scale_vox=16, probability=1)(batch, generators(48))
    field = changed.image - batch.image
    torch.testing.assert_close(field, field[:, :1, :1].expand_as(field), atol=1e-6, rtol=0)
    assert 0.2 < field.abs().max() <= 0.4
    # Of a spline whose nodes are 16 voxels apart and within 0.4, the slope is at most 2 * 0.4 / 16.
    assert field.diff(dim=-1).abs().max() <= 0.05 + 1e-6
    assert field.std((1, 2, 3, 4)).min() > 0.01


def test_contrast_alone_stretches_about_the_mean_of_the_patch(make_batch, generators):
    """Where the image has its mean nothing changes; elsewhere the factor stays within its limits and is smooth."""
    batch = make_batch(32, 24, 24)
    batch.image[:, :, 5, 5] = 0
    batch.image[:, :, 5, 5] = batch.image.sum((1, 2, 3)).view(-1, 1) / (batch.image[0].numel() - 2)
    changed = LocalContrast(contrast=0.6, brightness=0, scale_vox=8, probability=1)(batch, generators(32))
    torch.testing.assert_close(changed.image[:, :, 5, 5], batch.image[:, :, 5, 5])
    mean = batch.image.mean((1, 2, 3), keepdim=True)
    clear = (batch.image - mean).abs() > 0.05
    factor = ((changed.image - mean) / (batch.image - mean))[clear]
    assert 0.4 <= factor.min() < 0.75
    assert 1.25 < factor.max() <= 1.6


def test_nothing_to_do_is_refused():
    with pytest.raises(ValueError, match="both 0"):
        LocalContrast(contrast=0, brightness=0)
