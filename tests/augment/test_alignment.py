"""Image, labels, validity and weights come from the same places, to parts of a voxel, and all geometry is one map."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from cristae.augment import (
    Elastic,
    Flip,
    GeometricAugmentation,
    Rotate,
    Rotate90,
    Shear,
    Shift,
    ShiftedSections,
    Zoom,
    move,
)

ALONG_Z: list[GeometricAugmentation] = [
    Shift(amount=1.5, unit="voxels", axes=("z", "x"), probability=1), Zoom(axes=("z", "y"), probability=1)
]  # fmt: skip
PARTS: dict[str, list[GeometricAugmentation]] = {
    "flip": [Flip(probability=1)],
    "rotate90": [Rotate90(probability=1)],
    "rotate": [Rotate(degrees=180, probability=1)],
    "shear": [Shear(degrees=20, probability=1)],
    "zoom": [Zoom(probability=1)],
    "zoom alike": [Zoom(per="patch", factors=(0.5, 1.6), probability=1)],
    "shift": [Shift(amount=0.2, probability=1)],
    "shift by voxels": [Shift(amount=3.3, unit="voxels", axes=("x",), probability=1)],
    "elastic by patch": [Elastic(amplitude_vox=4, spacing_vox=9, probability=1)],
    "elastic by epoch": [Elastic(per="epoch", amplitude_vox=4, spacing_vox=9, probability=1)],
    "shifted section": [ShiftedSections(probability=1)],
    "shifted sections": [ShiftedSections(moves="following", amount_vox=2, probability=1)],
}
EM_STELLAR: list[GeometricAugmentation] = [
    Rotate(degrees=140, probability=1), Shift(amount=0.2, probability=1), Shear(degrees=0.2, probability=1),
    Zoom(probability=1), Flip(),
]  # fmt: skip
COMPOSED: dict[str, list[GeometricAugmentation]] = {
    "EM-stellar": EM_STELLAR,
    "Guay": [*PARTS["elastic by epoch"], Flip()],
    "bent, then turned": [*PARTS["elastic by epoch"], *PARTS["rotate"], *PARTS["shifted section"]],
    "turned, then bent": [*PARTS["shear"], *PARTS["elastic by patch"], Rotate90(), *PARTS["shifted sections"]],
    "bent twice": [*PARTS["elastic by patch"], *PARTS["zoom"], *PARTS["elastic by epoch"]],
    "shifted, then bent and shifted": [
        *PARTS["shifted section"], *PARTS["elastic by patch"], *PARTS["shifted sections"], *PARTS["shift"]
    ],
}  # fmt: skip
VOLUMES = COMPOSED | {
    "along z": ALONG_Z,
    "along z, with shifted sections": [*PARTS["shifted section"], *ALONG_Z, Flip(axes=("z", "y", "x"))],
}
KINDS = [
    *(pytest.param((18, 18), 1, steps, id=f"2D {name}") for name, steps in (PARTS | COMPOSED).items()),
    *(
        pytest.param((18, 18), 3, steps, id=f"neighbouring slices, {name}")
        for name, steps in (PARTS | COMPOSED).items()
    ),
    *(pytest.param((5, 16, 16), 0, steps, id=f"3D {name}") for name, steps in (PARTS | VOLUMES).items()),
]
anything = pytest.mark.parametrize(("size", "slices", "steps"), KINDS)


@anything
def test_everything_comes_from_the_places_that_ramps_show(window, size, slices, steps):
    """The image as SciPy interpolates it there in double precision; weights, which number the voxels, from the nearest
    voxel; and the margin holds all of them, so everything stays valid."""
    patches = window(steps, *size, slices=slices)
    sources = patches.sources()
    n_z = patches.shape[0]
    stored = np.array(patches.shape).reshape(3, 1, 1, 1, 1)
    at = sources + (stored - 1) / 2
    grey = np.random.default_rng(1).random(patches.shape)
    numbers = np.arange(np.prod(patches.shape[1:] if slices else patches.shape))
    batch = patches.batch(grey, numbers.reshape(patches.shape[1:] if slices else patches.shape))
    moved = patches.moved(batch)
    assert moved.margin == ()
    assert moved.valid.all()
    expected = map_coordinates(grey, at.clip(0, stored - 1), order=1)
    np.testing.assert_allclose(patches.image(moved), expected, atol=2e-3, rtol=0)
    of_target = at[:, :, n_z // 2 : n_z // 2 + 1] if slices else at
    place = np.stack(np.unravel_index(moved.weight.numpy().astype(int), patches.shape[1:] if slices else patches.shape))
    place, of_target = (place, of_target[1:, :, 0]) if slices else (place, of_target)
    clear = np.all(np.abs(of_target - np.floor(of_target) - 0.5) > 2e-3, axis=0)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(place[:, clear], np.floor(of_target + 0.5)[:, clear].astype(int))


@anything
def test_labels_follow_the_image_between_voxels(window, size, slices, steps):
    """A border that is drawn by a threshold of the image stays where the image has it, to half a voxel."""
    patches = window(steps, *size, slices=slices)
    _, y, x = patches.places()
    ramp = 0.6 * y + 0.8 * x + 0.2  # grows by 1 for each voxel across the border
    batch = patches.batch(ramp)
    ids = torch.from_numpy((ramp > 0).astype(np.uint8))
    ids = ids[len(ids) // 2] if slices else ids
    moved = patches.moved(replace(batch, target=ids.expand_as(batch.target).contiguous()))
    image = patches.image(moved)
    seen = image[:, image.shape[1] // 2] if slices else image
    clear = np.abs(seen) > 0.6 * 0.5 + 0.8 * 0.5 + 1e-3
    assert clear.any()
    np.testing.assert_array_equal(moved.target.numpy()[clear] > 0, seen[clear] > 0)


SEQUENCES = {
    "rotate, zoom": (PARTS["rotate"], PARTS["zoom"]),
    "zoom, rotate": (PARTS["zoom"], PARTS["rotate"]),
    "shear, bend": (PARTS["shear"], [Elastic(per="epoch", amplitude_vox=6, spacing_vox=30, probability=1)]),
    "bend, rotate": ([Elastic(per="epoch", amplitude_vox=6, spacing_vox=30, probability=1)], PARTS["rotate"]),
    "bend, flip": ([Elastic(per="epoch", amplitude_vox=6, spacing_vox=30, probability=1)], [Flip()]),
    "shift, rotate": (PARTS["shift by voxels"], PARTS["rotate"]),
    "zoom along z, shift": (ALONG_Z[1:], PARTS["shift by voxels"]),
}


@pytest.mark.parametrize(("first", "second"), SEQUENCES.values(), ids=SEQUENCES)
def test_composed_is_one_after_the_other(window, first, second):
    """On a smooth image; the first leaves the margin that the second needs.

    A linear interpolation errs by an eighth of the second derivatives, here (0.15^2 + 0.05^2 + 0.1^2) / 8 = 0.0044, and
    three of them are compared.
    """
    composed = window([*first, *second], 5, 40, 40)
    inner = window(second, 5, 40, 40)
    grown = [side + 2 * around for side, around in zip((5, 40, 40), inner.margin, strict=True)]
    outer = window(first, *grown)
    extra = [max(0, a - b - c) for a, b, c in zip(composed.margin, outer.margin, inner.margin, strict=True)]
    assert extra == [0, 0, 0]
    z, y, x = outer.places()
    smooth = np.sin(0.15 * y + 0.05 * x) + np.cos(0.1 * x) + 0.1 * z
    batch = outer.batch(smooth)
    draws = [np.random.default_rng([7, i]) for i in range(4)]
    between = move(first, batch, draws)
    assert between.size == tuple(grown)
    after = move(second, replace(between, margin=inner.margin), draws)
    cut = tuple(slice((n - m) // 2, (n + m) // 2) for n, m in zip(outer.shape, composed.shape, strict=True))
    once = composed.moved(composed.batch(smooth[cut]))
    torch.testing.assert_close(once.image, after.image, atol=0.0132, rtol=0)


def test_order_matters(window):
    """The centre of a patch that is first shifted along x and then turned came from beside the centre; turned first, it
    came from where a turn brings that place."""
    turn, shift = Rotate(degrees=90, probability=1), Shift(amount=8, unit="voxels", axes=("x",), probability=1)
    shifted_first, turned_first = (window(steps, 21, 21, slices=1) for steps in ([shift, turn], [turn, shift]))
    assert np.abs(shifted_first.sources()[1, :, 0, 10, 10]).max() < 1e-3
    assert np.abs(turned_first.sources()[1, :, 0, 10, 10]).max() > 1


@pytest.mark.parametrize("size", [(18, 18), (3, 16, 16)])
def test_what_is_not_drawn_changes_nothing_bit_for_bit(window, size):
    every = [
        type(step)(**(step.model_dump() | {"probability": 0}))
        for steps in (*PARTS.values(), COMPOSED["Guay"])
        for step in steps
    ]
    patches = window(every, *size, slices=2 * (len(size) == 2))
    batch = patches.batch(np.random.default_rng(0).random(patches.shape))
    moved, cropped = patches.moved(batch), batch.cropped()
    for name in ("image", "target", "valid", "weight"):
        assert torch.equal(getattr(moved, name), getattr(cropped, name))
    assert (moved.boxes, moved.margin) == (cropped.boxes, ())


@pytest.mark.parametrize("interpolation", ["nearest", "cubic"])
@pytest.mark.parametrize(("size", "slices"), [((18, 18), 1), ((18, 18), 3), ((4, 16, 16), 0)])
def test_other_interpolations_look_at_the_same_places(window, size, slices, interpolation):
    steps = [*PARTS["shifted sections"], *PARTS["elastic by patch"], *PARTS["rotate"]]
    patches = window(steps, *size, slices=slices)
    stored = np.array(patches.shape).reshape(3, 1, 1, 1, 1)
    at = patches.sources() + (stored - 1) / 2
    z, y, x = patches.places()
    smooth = np.sin(0.3 * y) + np.cos(0.2 * x) + z
    moved = patches.image(patches.moved(patches.batch(smooth), interpolation))
    if interpolation == "nearest":
        clear = np.all(np.abs(at - np.floor(at) - 0.5) > 2e-3, axis=0)
        index = np.floor(at + 0.5).astype(int).clip(0, stored - 1)
        np.testing.assert_allclose(moved[clear], smooth[tuple(index)][clear], atol=1e-5)
    else:
        y, x = at[1] - (stored[1] - 1) / 2, at[2] - (stored[2] - 1) / 2
        exact = np.sin(0.3 * y) + np.cos(0.2 * x) + at[0] - (stored[0] - 1) / 2
        linear = np.abs(patches.image(patches.moved(patches.batch(smooth))) - exact).max()
        inside = np.all((at > 1) & (at < stored - 2), axis=0) if not slices else np.all((at > 1)[1:], axis=0)
        inside &= np.all((at < stored - 2)[1:], axis=0)
        assert np.abs(moved - exact)[inside].max() < 0.6 * linear


def test_threads_do_not_matter(window):
    patches = window(COMPOSED["bent, then turned"], 5, 150, 150)
    batch = patches.batch(np.random.default_rng(0).random(patches.shape))
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(patches.moved(batch))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert torch.equal(other.image, found[0].image)
        assert torch.equal(other.weight, found[0].weight)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(["rotate", "shear", "zoom", "shift", "elastic by epoch", "shifted section", "flip"]),
    seed=st.integers(0, 1000),
    side=st.integers(6, 21),
)
def test_any_order_has_margin_enough_and_aligns(window, order: Sequence[str], seed: int, side: int):
    steps = [step for name in order for step in PARTS[name]]
    patches = window(steps, side, side + 1, slices=3, seed=seed)
    at = patches.sources()[1:, :, 1] + (np.array(patches.shape[1:]).reshape(2, 1, 1, 1) - 1) / 2
    numbers = np.arange(np.prod(patches.shape[1:])).reshape(patches.shape[1:])
    moved = patches.moved(patches.batch(np.zeros(patches.shape), numbers))
    assert moved.valid.all()
    place = np.stack(np.unravel_index(moved.weight.numpy().astype(int), patches.shape[1:]))
    clear = np.all(np.abs(at - np.floor(at) - 0.5) > 2e-3, axis=0)
    np.testing.assert_array_equal(place[:, clear], np.floor(at + 0.5)[:, clear].astype(int))
