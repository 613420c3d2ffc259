"""Elastic deformation: the facts of the paper and of its code, lazily per patch, and bounded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from cristae.augment import Elastic, Flip, Rotate, required_margin
from cristae.augment.batch import epoch_generator
from cristae.augment.mapping import Places
from cristae.augment.spline_field import Displacement, PlaneField, overshoot, smooth_nodes
from cristae.data.box import Box

GUAY = Elastic(per="epoch", probability=1)
"""Guay et al.: 20 pixels, nodes 40 apart, smoothed by 0.6 of their distance."""


def test_nodes_are_those_of_the_published_code():
    """dense-cell-2d3d.md, fact 9: RandomState(0), 20 x 20, smoothed (reflect, truncate 4), times 20."""
    nodes = 20 * smooth_nodes(np.random.RandomState(0).uniform(-1, 1, (20, 20)), 0.6)
    np.testing.assert_allclose(nodes.ravel()[:3], [5.544977, 7.413697, 4.168542], atol=5e-7)
    assert nodes.std() == pytest.approx(6.160659, abs=5e-7)


def test_deviation_of_the_nodes():
    """Fact 9: about 5.95 pixels in expectation, always below 20; and 20 x 20 nodes for a slice of 800 x 800."""
    noises = [GUAY._noise(np.random.default_rng(seed), (800, 800)) for seed in range(400)]
    assert {noise.shape for noise in noises} == {(2, 20, 20)}
    nodes = 20 * np.array([smooth_nodes(component, 0.6) for noise in noises for component in noise])
    assert nodes.std(axis=(1, 2)).mean() == pytest.approx(5.95, abs=0.03)
    assert np.abs(nodes).max() < 20


def whole_field(
    elastic: Elastic, key: tuple[int, int], volume: str, plane: tuple[int, int], draws: int = 0
) -> np.ndarray:
    """(2, Y, X) for all voxels of a volume's slice, by SciPy."""
    nodes_of = (max(2, round(n / elastic.spacing_vox)) for n in plane)
    noise = epoch_generator(key, volume, draws).uniform(-1, 1, (2, *nodes_of))
    fields = []
    for component in noise:
        nodes = gaussian_filter(component, elastic.smoothing, mode="reflect", truncate=4) * elastic.amplitude_vox
        fields.append(zoom(nodes, np.array(plane) / nodes.shape, order=3, mode="mirror"))
    return np.stack(fields)


@pytest.mark.parametrize("turned", [False, True], ids=["in rows", "anywhere"])
@pytest.mark.parametrize("plane", [(800, 800), (133, 310), (60, 75)])
def test_evaluated_by_patches_it_is_the_field_of_the_whole_volume(plane, turned):
    """Both ways of evaluation: for places in rows and columns, and for places anywhere. Patches are at the corners, in
    the middle and beyond the border, where the field is that of the border. SciPy's usual mode makes the same
    splines, but for some sizes rounds the last voxel out of the array and to 0."""
    noise = np.random.default_rng(3).uniform(-20, 20, (2, *(max(2, round(n / 40)) for n in plane)))
    expected = np.stack([zoom(nodes, np.array(plane) / nodes.shape, order=3, mode="mirror") for nodes in noise])
    assert expected.shape[1:] == plane
    field = PlaneField.of_nodes(noise, plane)
    size = (30, 40)
    for start in ((0, 0), (plane[0] - 30, plane[1] - 40), (plane[0] // 3, 17), (-7, plane[1] - 20)):
        centre = np.array(start) + (np.array(size) - 1) / 2
        step = Displacement([field], centre[None], 99.0)
        places = Places.of_output(1, 1, size, torch.device("cpu"))
        if turned:
            places = Places(**(vars(places) | {"aligned": False}))
        y, x = step.before(places).dense()
        rows, columns = (np.arange(a, a + n).clip(0, m - 1) for a, n, m in zip(start, size, plane, strict=True))
        local = expected[:, rows[:, None], columns]
        along_y, along_x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in size), indexing="ij")
        np.testing.assert_allclose(y[0, 0].numpy() - along_y, local[0], atol=2e-4)
        np.testing.assert_allclose(x[0, 0].numpy() - along_x, local[1], atol=2e-4)


def test_one_field_for_all_slices_and_patches_of_a_volume_in_an_epoch(window):
    """Guay et al.: the same for all slices; what overlaps is bent alike, and as the field of the whole volume says."""
    patches = window([GUAY], 5, 40, 40)
    assert patches.margin == (0, 21, 21)
    sources = patches.sources()
    assert np.ptp(sources[1:], axis=(1, 2)).max() < 1e-4  # samples of one place, and slices
    corner = np.array(patches.box.start) + patches.margin
    box = tuple(slice(a, a + n) for a, n in zip(corner[1:], (40, 40), strict=True))
    expected = whole_field(GUAY, (3, 5), "cell", (800, 1000))[(slice(None), *box)]
    places = window([], 40, 40, slices=1).sources()[1:, 0, 0]
    np.testing.assert_allclose(sources[1:, 0, 0] - places, expected, atol=3e-4)


def test_each_volume_and_epoch_has_its_own_field(make_batch, generators):
    batch = replace(
        make_batch(3, 24, 24).map(lambda tensor: tensor[:1].repeat(3, *[1] * (tensor.ndim - 1))),
        boxes=(Box((0, 50, 60), (1, 74, 84)),) * 3, volumes=("a", "b", "a"), volume_shapes=((9, 200, 200),) * 3,
    )  # fmt: skip
    fields = {key: GUAY(replace(batch, epoch_key=key), generators(3)).image for key in ((1, 0), (1, 1), (2, 0))}
    for image in fields.values():
        assert torch.equal(image[0], image[2])
        assert not torch.equal(image[0], image[1])
    assert not torch.equal(fields[1, 0], fields[1, 1])
    assert not torch.equal(fields[1, 0], fields[2, 0])
    assert torch.equal(fields[1, 0], GUAY(replace(batch, epoch_key=(1, 0)), generators(3)).image)


@pytest.mark.parametrize("between", [[], [Flip(probability=0), Elastic(probability=0)]], ids=["nothing", "others"])
def test_a_recipe_that_bends_twice_for_an_epoch_has_two_fields(window, between):
    """The first is that of a recipe that bends once; the second differs, though its nodes are as many."""
    patches = window([GUAY, *between, GUAY], 40, 40, slices=1)
    corner = np.array(patches.box.start[1:]) + patches.margin
    first, second = (whole_field(GUAY, (3, 5), "cell", (800, 1000), draws) for draws in (0, 1))
    assert np.abs(first - second).max() > 10
    voxels = np.indices((40, 40)) + corner.reshape(2, 1, 1)
    bent = voxels + second[(slice(None), *voxels)]
    expected = bent + np.stack([map_coordinates(component, bent, order=3) for component in first])
    found = patches.sources()[1:, 0, 0] - window([], 40, 40, slices=1).sources()[1:, 0, 0] + voxels
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_what_an_epoch_draws_is_the_same_on_every_machine():
    """From [seed, epoch, first 8 bytes of the SHA-256 of the name, 2]; the second augmentation adds 1 to these."""
    by_hand = np.random.default_rng([3, 5, 0x2CF24DBA5FB0A30E, 2])
    assert epoch_generator((3, 5), "hello").random() == by_hand.random()
    by_hand = np.random.default_rng([3, 5, 0x2CF24DBA5FB0A30E, 2, 1])
    assert epoch_generator((3, 5), "hello", 1).random() == by_hand.random()


def test_each_patch_has_a_field_of_its_own(window):
    sources = window([Elastic(probability=1)], 40, 40, slices=1).sources()[1:]
    assert np.ptp(sources, axis=1).min(axis=0).max() > 1


@pytest.mark.parametrize("smoothing", [0, 0.3, 0.6, 1.5])
def test_no_spline_goes_farther_than_the_margin(smoothing):
    """Noise of -1 and 1 that is the worst for one place, found by trying all signs of a row of nodes."""
    for n_nodes in (2, 3, 4, 7):
        worst = 0.0
        for bits in range(2**n_nodes):
            signs = np.array([1.0 if bits >> i & 1 else -1.0 for i in range(n_nodes)])
            smooth = gaussian_filter(signs, smoothing, mode="reflect", truncate=4) if smoothing else signs
            worst = max(worst, np.abs(zoom(smooth, 33, order=3, mode="mirror")).max())
        assert worst**2 <= overshoot(smoothing) + 1e-9
    assert overshoot(smoothing) <= 2.4 if smoothing == 0 else overshoot(smoothing) < 2.36
    assert overshoot(0.6) == pytest.approx(1.0325, abs=1e-3)


def test_margin_is_the_amplitude_and_no_more():
    assert required_margin([GUAY], (5, 300, 300)) == (0, 21, 21)
    assert required_margin([GUAY, Flip()], (300, 300)) == (21, 21)
    assert required_margin([Elastic(amplitude_vox=3)], (30, 30)) == (4, 4)
    # A turn of what is bent: 20.65 along both axes, sqrt(2) * 4.5 = 6.36 + 20.65, less 4.5.
    assert required_margin([GUAY, Rotate(degrees=180)], (10, 10)) == (23, 23)
    # A bend of what is turned: the circle of 6.36 grows by sqrt(2) * 20.65, and the box is turned.
    assert required_margin([Rotate(degrees=180), GUAY], (10, 10)) == (32, 32)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"spacing_vox": 1}, "greater than or equal to 2"),
        ({"amplitude_vox": 0}, "greater than 0"),
        ({"smoothing": -1}, "greater than or equal to 0"),
        ({"per": "slice"}, "'epoch' or 'patch'"),
    ],
)
def test_fields_out_of_range(fields, text):
    with pytest.raises(ValueError, match=text):
        Elastic(**fields)
