"""Distances and boundaries against SciPy's distance transform."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy.ndimage import distance_transform_edt

from cristae.data.classes import Classes
from cristae.errors import RecipeError, VoxelSizeError
from cristae.targets import Boundaries, Distances, NoWeighting, SampleForegroundWeighting, Targets
from cristae.targets.masks import foreground_masks

THREE = Classes(names=("background", "mito", "granule"))
OVERLAPPING = Classes(names=("mito", "granule"), exclusive=False)
ANISOTROPIC = (40.0, 7.0, 5.0)


def masks_of(labels: np.ndarray) -> torch.Tensor:
    """(1, 2, *T) of ids 1 and 2."""
    return torch.from_numpy(np.stack([labels == 1, labels == 2])[None])


def scipy_distance(mask: np.ndarray, valid: np.ndarray, limit: float, sampling: tuple[float, ...]) -> np.ndarray:
    """Signed, cut off at the limit; of either side only valid voxels are looked for."""

    def to(places: np.ndarray) -> np.ndarray:
        if not places.any():
            return np.full(places.shape, limit)
        return np.minimum(distance_transform_edt(~places, sampling=sampling), limit)

    return np.where(mask & valid, -to(~mask & valid), to(mask & valid))


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, 9), (13, 11), (4, 9, 10), (1, 8, 8)]),
    st.sampled_from([1.0, 3.5, 8.0, 100.0]),
    st.sampled_from(["voxels", "nm"]),
    st.floats(0, 1),
)
def test_distances_are_scipys_up_to_the_limit(seed, shape, limit, unit, share) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 3, shape) * (rng.random(shape) < share)
    valid = rng.random(shape) < 0.8
    masks = masks_of(labels) & torch.from_numpy(valid)
    found = Distances(limit=limit, unit=unit)(masks, torch.from_numpy(valid)[None], ANISOTROPIC)
    assert found.dtype == torch.float32
    sampling = ANISOTROPIC[-len(shape) :] if unit == "nm" else (1.0,) * len(shape)
    for k in (1, 2):
        expected = scipy_distance(labels == k, valid, limit, sampling) / limit
        np.testing.assert_allclose(found[0, k - 1].numpy()[valid], expected[valid], rtol=1e-5)


def test_distances_by_hand() -> None:
    labels = np.array([[0, 1, 1, 1, 0, 0, 0]])
    valid = torch.ones(1, 1, 7, dtype=torch.bool)
    found = Distances(limit=2)(masks_of(labels), valid, None) * 2
    assert found[0, 0].tolist() == [[1, -1, -2, -1, 1, 2, 2]]
    assert found[0, 1].tolist() == [[2] * 7]
    valid[0, 0, 4] = False
    masks = masks_of(labels) & valid
    assert (Distances(limit=3)(masks, valid, None) * 3)[0, 0, 0, :4].tolist() == pytest.approx([1, -1, -2, -2])


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(13, 11), (4, 9, 10)]),
    st.sampled_from([1.0, 2.0, 14.0]),
    st.sampled_from(["voxels", "nm"]),
)
def test_boundaries_are_where_another_class_is_near(seed, shape, distance, unit) -> None:
    """For each class, SciPy's distance to valid voxels of all others."""
    rng = np.random.default_rng(seed)
    labels, valid = rng.integers(0, 3, shape) * (rng.random(shape) < 0.3), rng.random(shape) < 0.9
    masks = masks_of(labels) & torch.from_numpy(valid)
    found = Boundaries(distance=distance, unit=unit)(masks, torch.from_numpy(valid)[None], ANISOTROPIC)
    sampling = ANISOTROPIC[-len(shape) :] if unit == "nm" else (1.0,) * len(shape)
    for k in range(3):
        others = valid & (labels != k)
        near = distance_transform_edt(~others, sampling=sampling) <= distance if others.any() else np.zeros(shape, bool)
        here = valid & (labels == k)
        np.testing.assert_array_equal(found[0, 0].numpy()[here], near[here])


def test_boundaries_of_overlapping_classes_are_those_of_each_mask() -> None:
    masks = torch.tensor([[[[1, 1, 1, 1, 0, 0, 0]], [[0, 0, 0, 0, 0, 0, 1]]]], dtype=torch.bool)
    found = Boundaries()(masks, torch.ones(1, 1, 7, dtype=torch.bool), None)
    assert found.tolist() == [[[[0, 0, 0, 1, 1, 1, 1]]]]


def test_masks_are_those_of_the_foreground_classes() -> None:
    ids = torch.tensor([[[0, 1, 2, 255]]], dtype=torch.uint8)
    valid = torch.tensor([[[True, True, False, False]]])
    assert foreground_masks(ids, valid, THREE).tolist() == [[[[False, True, False, False]], [[False] * 4]]]
    no_background = Classes(names=("a", "b"), background=False)
    assert foreground_masks(ids, valid, no_background)[0, :, 0, :2].tolist() == [[True, False], [False, True]]
    masks = torch.stack([ids == 1, ids == 255], dim=1).byte()
    assert foreground_masks(masks, valid, OVERLAPPING).tolist() == [[[[False, True, False, False]], [[False] * 4]]]


def test_channels_come_beside_any_weighting() -> None:
    config = TypeAdapter(Targets).validate_python(
        {"name": "sample_bf", "further": [{"name": "distances", "limit": 4}, {"name": "boundaries"}]}
    )
    target = torch.tensor([[[0, 1, 2, 0, 0, 0]]], dtype=torch.uint8)
    valid = torch.ones(1, 1, 6, dtype=torch.bool)
    maps = config.bind({}, THREE, None)(target, valid)
    torch.testing.assert_close(maps.weight, SampleForegroundWeighting()(target, valid, {}).weight)
    assert {name: tuple(one.shape) for name, one in maps.further.items()} == {
        "distances": (1, 2, 1, 6),
        "boundaries": (1, 1, 1, 6),
    }
    assert NoWeighting().bind({}, THREE, None)(target, valid).further == {}
    with pytest.raises(ValidationError, match="named twice"):
        NoWeighting(further=({"name": "boundaries"}, {"name": "boundaries", "distance": 2}))


@pytest.mark.parametrize("channel", [Distances(unit="nm"), Boundaries(unit="nm", distance=10)])
def test_lengths_in_nm_need_a_voxel_size(channel) -> None:
    with pytest.raises(VoxelSizeError, match=r"voxel size .* is not known"):
        NoWeighting(further=(channel,)).bind({}, THREE, None)
    NoWeighting(further=(channel,)).bind({}, THREE, ANISOTROPIC)


def test_a_distance_shorter_than_a_voxel_marks_nothing() -> None:
    shortest = min(ANISOTROPIC)
    Boundaries(unit="nm", distance=shortest).require(ANISOTROPIC)
    with pytest.raises(RecipeError, match="marks nothing, because its distance of 1 nm is less than a voxel"):
        Boundaries(unit="nm").require(ANISOTROPIC)
    with pytest.raises(RecipeError, match="set it to 1 or more"):
        Boundaries(distance=0.5).require(None)
