"""Artefacts in the plane are what their fields say, alike in all slices."""

import numpy as np
import pytest
import torch

from cristae.augment import AugmentationConfig, Batch, Charging, Curtaining, Drift, KnifeMarks
from cristae.errors import RecipeError


def added(part: AugmentationConfig, *size: int, count: int = 48) -> torch.Tensor:
    """What is added to a volume of zeros: (B, Y, X), the same in all slices."""
    image = torch.zeros(count, 1, *size)
    flat = image[:, 0]
    batch = Batch(image, flat.byte(), flat >= 0, None, (), ("v",) * count)
    changed = part(batch, [np.random.default_rng([5, i]) for i in range(count)]).image[:, 0]
    if len(size) == 3:
        assert torch.equal(changed, changed[:, :1].expand_as(changed))
        changed = changed[:, 0]
    return changed


@pytest.mark.parametrize("kind", [KnifeMarks, Charging, Curtaining, Drift])
def test_what_is_added_does_not_depend_on_the_image(kind, make_batch, generators):
    batch = make_batch(8, 3, 20, 20)
    grey = batch.image - kind(probability=1)(batch, generators(8)).image
    zero = type(batch)(batch.image * 0, *(getattr(batch, n) for n in ("target", "valid", "weight", "boxes", "volumes")))
    torch.testing.assert_close(grey, -kind(probability=1)(zero, generators(8)).image, atol=1e-6, rtol=0)


def test_a_knife_mark_is_a_thin_straight_line():
    """Of one line: along a fit to its brightest voxels all others lie within the width, and it crosses the patch."""
    part = KnifeMarks(marks=1, amount=0.5, width_vox=(1.0, 1.0), probability=1)
    planes = added(part, 64, 64)
    strength = planes.abs().amax((1, 2))
    assert strength.min() >= 0.5 * 0.3 * 0.4
    assert 0.4 < strength.max() <= 0.5
    strongest = planes.flatten(1).gather(1, planes.abs().flatten(1).argmax(1, keepdim=True))
    assert set(strongest.sign().flatten().tolist()) == {1.0, -1.0}
    for plane in planes:
        y, x = np.nonzero(plane.abs().numpy() > 0.2 * float(plane.abs().max()))
        points = np.stack([y, x], 1) - np.mean([y, x], axis=1)
        _, extent, _ = np.linalg.svd(points, full_matrices=False)
        across, along = sorted(extent / np.sqrt(len(points)))
        assert across < 1.2
        assert along > 2 * across


def test_marks_of_a_patch_are_parallel_and_as_many_as_drawn():
    """Turned by the drawn angle, each mark is one column: count those of an untilted patch."""
    part = KnifeMarks(marks=4, width_vox=(0.6, 0.6), probability=1)

    class Upright(np.random.Generator):
        """Draws angle 0, so that lines run along y."""

        def uniform(self, low=0.0, high=1.0, size=None):
            return 0.0 if high == np.pi and size is None else super().uniform(low, high, size)

    image = torch.zeros(64, 1, 32, 200)
    batch = Batch(image, image[:, 0].byte(), image[:, 0] >= 0, None, (), ("v",) * 64)
    planes = part(batch, [Upright(np.random.PCG64(i)) for i in range(64)]).image[:, 0]
    counts = []
    for plane in planes:
        profile = plane.abs().amax(0).numpy()
        peaks = (profile[1:-1] >= profile[:-2]) & (profile[1:-1] > profile[2:]) & (profile[1:-1] > 0.02)
        counts.append(int(peaks.sum()))
    assert set(counts) == {1, 2, 3, 4}
    # 16 of each are expected; two marks that lie on each other count as one.
    assert counts.count(4) < 26


def test_charging_fades_along_the_scan_direction():
    """One streak: along its brightest line it falls by e over the length, and it is as wide as said across."""
    part = Charging(streaks=1, amount=0.6, width_vox=(3.0, 3.0), length_vox=(20.0, 20.0), probability=1)
    planes = added(part, 64, 200).abs()
    assert planes.max() <= 0.6
    tested = 0
    for plane in planes:
        top = int(plane.amax(1).argmax())
        line = plane[top]
        start = int(line.argmax())
        far = start + 40 if start < 100 else start - 40
        if line[far] > 1e-3 and line[far] < line[start]:
            near = start + 20 if start < 100 else start - 20
            assert float(line[far] / line[near]) == pytest.approx(np.exp(-1), rel=0.02)
            tested += 1
    assert tested > 10
    lines = planes.amax(2)
    assert ((lines > 0.7 * lines.amax(1, keepdim=True)).sum(1) <= 12).all()


def test_streaks_that_overlap_add_up_to_the_amount_at_most():
    part = Charging(streaks=40, amount=0.3, width_vox=(8, 8), probability=1)
    assert added(part, 24, 24).abs().amax() == pytest.approx(0.3)


class Ones(np.random.Generator):
    """Whatever is drawn is the greatest there is."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def uniform(self, low=0.0, high=1.0, size=None):
        return high if size is None else np.full(size, high)


def test_the_strongest_curtain_is_the_amount():
    """Where all nodes of both fields are 1."""
    image = torch.zeros(1, 1, 20, 20)
    batch = Batch(image, image[:, 0].byte(), image[:, 0] >= 0, None, (), ("v",))
    torch.testing.assert_close(Curtaining(amount=0.3, probability=1)(batch, [Ones()]).image, image + 0.3)


@pytest.mark.parametrize(("kind", "first", "second"), [(Charging, "x", "y"), (Curtaining, "y", "x")])
def test_the_axis_turns_the_artefact(kind, first, second):
    """On square patches, the same numbers along the other axis give the transposed plane."""
    one, other = (added(kind(axis=axis, probability=1), 40, 40) for axis in (first, second))
    torch.testing.assert_close(other, one.transpose(-2, -1))
    assert added(kind(axis=second, probability=1), 30, 50).shape == (48, 30, 50)


def test_curtains_run_along_their_axis_and_keep_within_their_amount():
    planes = added(Curtaining(amount=0.3, probability=1), 3, 120, 120)
    assert 0.1 < planes.abs().max() <= 0.3
    # From voxel to voxel they change many times more across than along.
    assert planes.diff(dim=2).abs().mean() > 10 * planes.diff(dim=1).abs().mean()
    assert planes.std((1, 2)).min() > 0.02


def test_drift_is_a_plane_through_zero_in_the_middle():
    planes = added(Drift(amount=0.4, probability=1), 21, 31)
    torch.testing.assert_close(planes[:, 10, 15], torch.zeros(48), atol=1e-7, rtol=0)
    for axis, middle in ((1, (slice(None), slice(None), 15)), (2, (slice(None), 10, slice(None)))):
        line = planes[middle]
        assert line.diff(dim=1).diff(dim=1).abs().max() < 1e-6
        ends = line[:, -1] - line[:, 0]
        assert 0.3 < ends.abs().max() <= 0.4 + 1e-6, axis
        assert -0.1 < ends.mean() < 0.1


def test_drift_along_z_changes_slices_by_a_ramp(make_batch, generators):
    batch = make_batch(8, 5, 6, 6)
    changed = Drift(axes=("z",), amount=0.4, probability=1)(batch, generators(8)).image - batch.image
    ends = changed[:, 0, -1, 0, 0] - changed[:, 0, 0, 0, 0]
    ramp = torch.linspace(-0.5, 0.5, 5).view(1, 1, 5, 1, 1)
    torch.testing.assert_close(changed, (ends.view(-1, 1, 1, 1, 1) * ramp).expand_as(changed), atol=1e-6, rtol=0)


def test_drift_along_z_needs_slices(make_batch, generators):
    Drift(axes=("z", "x")).check((2, 8, 8))
    for refuse in (
        lambda: Drift(axes=("z",)).check((8, 8)),
        lambda: Drift(axes=("z",)).check((1, 8, 8)),
        lambda: Drift(axes=("z",))(make_batch(1, 6, 6), generators(1)),
    ):
        with pytest.raises(RecipeError, match=r"axis z needs 3D patches of several slices, got .*; leave z out"):
            refuse()
    with pytest.raises(ValueError, match="named twice"):
        Drift(axes=("x", "x"))
