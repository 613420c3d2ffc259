"""Laws that every augmentation keeps."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from cristae.augment import (
    Augmentation,
    AugmentationConfig,
    Batch,
    Flip,
    GeometricAugmentation,
    Rotate90,
    ShiftedSections,
    apply,
)

KINDS: tuple[type[AugmentationConfig], ...] = get_args(get_args(Augmentation)[0])
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["name"].default)


GEOMETRIC = [kind for kind in KINDS if issubclass(kind, GeometricAugmentation)]
GREY = [kind() for kind in KINDS if kind not in GEOMETRIC]
geometric = pytest.mark.parametrize("kind", GEOMETRIC, ids=lambda kind: kind.model_fields["name"].default)


def batch_of(count: int, *size: int) -> Batch:
    image = torch.from_numpy(np.random.default_rng(0).random((count, 1, *size), np.float32))
    return Batch(image, (image[:, 0] * 3).byte(), image[:, 0] > 0.2, 1 + image[:, 0], (), ("v",) * count)


def seeded(samples: Sequence[int]) -> list[np.random.Generator]:
    return [np.random.default_rng([3, sample]) for sample in samples]


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [batch.image, batch.target, batch.valid, batch.weight]


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


@kinds
def test_probability_zero_is_the_identity(kind):
    batch = batch_of(4, 8, 8)
    assert same(kind(probability=0)(batch, seeded(range(4))), batch)


@kinds
def test_probability_one_changes_and_leaves_the_given_batch_alone(kind):
    batch, kept = batch_of(4, 8, 8), batch_of(4, 8, 8)
    changed = kind(probability=1)(batch, seeded(range(4)))
    assert all(not torch.equal(a, b) for a, b in zip(changed.image, batch.image, strict=True))
    assert same(batch, kept)
    assert [t.dtype for t in tensors(changed)] == [t.dtype for t in tensors(batch)]


@kinds
@pytest.mark.parametrize("size", [(8, 8), (3, 8, 8)])
def test_neighbouring_slices_and_volumes_change_alike(kind, size):
    """A patch of one channel and the same patch as two equal ones differ in nothing but noise, and faults of slices."""
    if kind is ShiftedSections and len(size) == 2:
        pytest.skip("each slice by itself is its idea")
    batch = batch_of(4, *size)
    double = replace(batch, image=batch.image.repeat(1, 2, *[1] * len(size)))
    one, two = kind(probability=1)(batch, seeded(range(4))), kind(probability=1)(double, seeded(range(4)))
    assert one.image.shape == batch.image.shape
    if kind.model_fields["name"].default != "noise":
        torch.testing.assert_close(two.image, one.image.repeat(1, 2, *[1] * len(size)))
    else:
        assert not torch.equal(two.image[:, 0], two.image[:, 1])
    assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in ("target", "valid", "weight"))


@kinds
def test_same_generators_same_result_whatever_the_other_samples(kind):
    batch = batch_of(6, 8, 8)
    whole = kind()(batch, seeded(range(6)))
    assert same(kind()(batch, seeded(range(6))), whole)
    index = [4, 1]
    part = kind()(batch.map(lambda tensor: tensor[index]), seeded(index))
    assert same(part, whole.map(lambda tensor: tensor[index]))


@kinds
def test_as_many_numbers_are_drawn_whether_or_not_it_applies(kind):
    ends = []
    for probability in (0, 0.5, 1):
        generators = seeded(range(4))
        kind(probability=probability)(batch_of(4, 8, 8), generators)
        ends.append([generator.random() for generator in generators])
    assert ends[0] == ends[1] == ends[2]


@kinds
def test_written_by_name_in_a_recipe(kind):
    name = kind.model_fields["name"].default
    assert TypeAdapter(Augmentation).validate_python({"name": name}) == kind()
    assert all(field.description for key, field in kind.model_fields.items() if key != "name")


def test_augmentations_are_applied_in_order():
    batch = batch_of(8, 8, 8)
    generators = seeded(range(8))
    expected = Rotate90()(Flip()(batch, generators), generators)
    assert same(apply([Flip(), Rotate90()], batch, seeded(range(8))), expected)
    assert apply([], batch, seeded(range(8))) is batch


def test_voxels_move_before_grey_values_change():
    """Wherever they stand in a recipe; so noise is not smoothed and faults of the microscope are not turned."""
    batch = batch_of(8, 8, 8)
    expected = apply([Flip(), Rotate90(), *GREY], batch, seeded(range(8)))
    assert same(apply([GREY[0], Flip(), *GREY[1:], Rotate90()], batch, seeded(range(8))), expected)


@geometric
@pytest.mark.parametrize("size", [(8, 10), (3, 8, 10)])
def test_invalid_stays_invalid_and_weights_stay_with_their_voxels(kind, size):
    """The target says which voxel each one was."""
    if kind is Rotate90:
        size = (*size[:-1], 8)
    batch = numbered(4, *size)
    moved = kind(probability=1)(batch, seeded(range(4)))
    known = torch.arange(int(np.prod(size)))
    weights, valids = (flat.flatten(1) for flat in (batch.weight, batch.valid))
    for sample in range(4):
        source = moved.target[sample].flatten().long()
        assert set(source.tolist()) <= set(known.tolist())
        assert torch.equal(moved.weight[sample].flatten(), weights[sample][source])
        assert not (moved.valid[sample].flatten() & ~valids[sample][source]).any()


@geometric
@pytest.mark.parametrize("size", [(8, 8), (3, 8, 8)])
def test_masks_move_as_ids_do(kind, size):
    batch = batch_of(4, *size)
    masks = replace(batch, target=torch.stack([(batch.target == k).byte() for k in range(3)], dim=1))
    one, other = kind(probability=1)(batch, seeded(range(4))), kind(probability=1)(masks, seeded(range(4)))
    assert torch.equal(other.target, torch.stack([(one.target == k).byte() for k in range(3)], dim=1))


@geometric
def test_a_sample_is_the_same_whether_others_are_moved_exactly_or_not(kind):
    """Batches are split into samples that only change places and those that are resampled."""
    steps = [kind(probability=0.5), Flip(), kind(probability=0.5)]
    whole = apply(steps, batch_of(12, 8, 8), seeded(range(12)))
    for sample in range(12):
        alone = apply(steps, batch_of(12, 8, 8).of([sample]), seeded([sample]))
        assert same(alone, whole.of([sample]))


def numbered(count: int, *size: int) -> Batch:
    batch = batch_of(count, *size)
    return replace(
        batch, target=torch.arange(int(np.prod(size)), dtype=torch.uint8).view(size).repeat(count, *[1] * len(size))
    )


def test_each_sample_needs_a_generator():
    with pytest.raises(ValueError, match="3 samples need as many generators, got 2"):
        apply([], batch_of(3, 4, 4), seeded(range(2)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_as_on_the_cpu():
    batch, steps = batch_of(8, 32, 32), [kind() for kind in KINDS if kind.model_fields["name"].default != "noise"]
    expected = apply(steps, batch, seeded(range(8)))
    found = apply(steps, batch.pin_memory().to("cuda", non_blocking=True), seeded(range(8)))
    assert found.image.device.type == "cuda"
    torch.testing.assert_close(found.image.cpu(), expected.image, atol=1e-3, rtol=0)
    for one, other in zip(tensors(found)[1:], tensors(expected)[1:], strict=True):
        # A place between two voxels may be rounded to either.
        assert (one.cpu() != other).float().mean() < 1e-3
