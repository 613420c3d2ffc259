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
    Brightness,
    Contrast,
    ContrastJumps,
    DuplicatedSections,
    Flip,
    Gamma,
    GeometricAugmentation,
    MissingSections,
    Rotate90,
    SectionAugmentation,
    apply,
)
from cristae.preprocess.grain import grain_filter

KINDS: tuple[type[AugmentationConfig], ...] = get_args(get_args(Augmentation)[0])
NOISE = ("noise", "shot_noise")
FORMS: dict[str, tuple[int, ...]] = {"2D": (1, 8, 8), "2.5D": (3, 8, 8), "3D": (1, 4, 8, 8)}
"""Patches of one slice, of neighbouring slices as channels, and of volumes: (C, *S)."""


def name_of(kind: type[AugmentationConfig]) -> str:
    return str(kind.model_fields["name"].default)


def fits(kind: type[AugmentationConfig], form: str) -> bool:
    return form != "2D" or not issubclass(kind, SectionAugmentation)


kinds = pytest.mark.parametrize("kind", KINDS, ids=name_of)
kinds_and_forms = pytest.mark.parametrize(
    ("kind", "form"),
    [pytest.param(kind, form, id=f"{name_of(kind)}-{form}") for kind in KINDS for form in FORMS if fits(kind, form)],
)
greys = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if not issubclass(kind, GeometricAugmentation)], ids=name_of
)
GREY = [kind() for kind in KINDS if not issubclass(kind, GeometricAugmentation)]
geometric = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if issubclass(kind, GeometricAugmentation)], ids=name_of
)


def batch_of(count: int, *size: int, channels: int = 1) -> Batch:
    image = torch.from_numpy(np.random.default_rng(0).random((count, channels, *size), np.float32))
    return Batch(image, (image[:, 0] * 3).byte(), image[:, 0] > 0.2, 1 + image[:, 0], (), ("v",) * count)


def batch_in(form: str, count: int) -> Batch:
    channels, *size = FORMS[form]
    return batch_of(count, *size, channels=channels)


def seeded(samples: Sequence[int]) -> list[np.random.Generator]:
    return [np.random.default_rng([3, sample]) for sample in samples]


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [batch.image, batch.target, batch.valid, batch.weight]


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


@kinds_and_forms
def test_probability_zero_is_the_identity(kind, form):
    batch = batch_in(form, 4)
    assert same(kind(probability=0)(batch, seeded(range(4))), batch)


@kinds_and_forms
def test_probability_one_changes_and_leaves_the_given_batch_alone(kind, form):
    batch, kept = batch_in(form, 4), batch_in(form, 4)
    changed = kind(probability=1)(batch, seeded(range(4)))
    assert all(not torch.equal(a, b) for a, b in zip(changed.image, batch.image, strict=True))
    assert same(batch, kept)
    assert [t.dtype for t in tensors(changed)] == [t.dtype for t in tensors(batch)]
    assert [t.shape for t in tensors(changed)] == [t.shape for t in tensors(batch)]
    assert changed.image.isfinite().all()


@pytest.mark.parametrize(
    ("kind", "form"), [(kind, form) for kind in KINDS for form in ("2D", "3D") if fits(kind, form)]
)
def test_neighbouring_slices_and_volumes_change_alike(kind, form):
    """A patch of one channel and the same patch as two equal ones differ in nothing but noise and sections."""
    batch = batch_in(form, 4)
    double = replace(batch, image=batch.image.repeat(1, 2, *[1] * (batch.image.ndim - 2)))
    one, two = kind(probability=1)(batch, seeded(range(4))), kind(probability=1)(double, seeded(range(4)))
    if name_of(kind) not in NOISE:
        torch.testing.assert_close(two.image, one.image.repeat(1, 2, *[1] * (batch.image.ndim - 2)))
    else:
        assert not torch.equal(two.image[:, 0], two.image[:, 1])
    assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in ("target", "valid", "weight"))


@greys
@pytest.mark.parametrize("per_slice", [False, True])
def test_slices_as_channels_change_as_the_slices_of_a_volume(kind, per_slice):
    """What a 2D network sees of a stack is what a 3D network sees of it."""
    options = {"middle": True, "per_slice": per_slice}
    part = kind(probability=1, **{name: value for name, value in options.items() if name in kind.model_fields})
    flat = batch_of(6, 8, 8, channels=5)
    deep = replace(flat, image=flat.image.unsqueeze(1))
    found = part(deep, seeded(range(6))).image.squeeze(1)
    torch.testing.assert_close(part(flat, seeded(range(6))).image, found, rtol=1e-6, atol=1e-6)


@greys
def test_grey_values_change_and_labels_do_not(kind):
    batch = batch_in("3D", 4)
    changed = kind(probability=1)(batch, seeded(range(4)))
    assert all(getattr(changed, name) is getattr(batch, name) for name in ("target", "valid", "weight", "further"))
    assert not torch.equal(changed.image, batch.image)


def with_copies(batch: Batch, copies: int = 2) -> Batch:
    """With filtered copies that are the image itself."""
    stack = batch.image[:, None] if batch.flat else batch.image
    return replace(batch, filtered=stack.repeat(1, copies, 1, 1, 1))


@kinds_and_forms
def test_filtered_copies_go_with_their_image_but_for_noise(kind, form):
    """So copies that are the image itself stay it; noise, which a filter would take away, is added to the image alone.
    Samples that are not drawn keep theirs, and what else happens to a batch does not depend on copies."""
    batch = with_copies(batch_in(form, 6))
    kept = batch.filtered.clone()
    changed = kind(probability=0.7)(batch, seeded(range(6)))
    torch.testing.assert_close(changed.image, kind(probability=0.7)(batch_in(form, 6), seeded(range(6))).image)
    expected = batch if name_of(kind) in NOISE else with_copies(changed)
    assert torch.equal(changed.filtered, expected.filtered)
    assert torch.equal(batch.filtered, kept)
    channels = batch.image.shape[1]
    assert all(torch.equal(part, changed.image) for part in with_copies(changed).shown.split(channels, dim=1))


@geometric
@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("form", ["2.5D", "3D"])
def test_filtered_copies_are_interpolated_as_their_image(kind, interpolation, form):
    batch = with_copies(batch_in(form, 4))
    changed = apply([kind(probability=0.7), Flip()], batch, seeded(range(4)), interpolation)
    assert torch.equal(changed.filtered, with_copies(changed).filtered)
    assert not torch.equal(changed.image, batch.image)


@kinds_and_forms
def test_filtered_copies_do_not_depend_on_other_samples(kind, form):
    batch = with_copies(batch_in(form, 6))
    whole = kind(probability=0.7)(batch, seeded(range(6)))
    assert torch.equal(kind(probability=0.7)(batch.of([4, 1]), seeded([4, 1])).filtered, whole.filtered[[4, 1]])


INCREASING = [
    Brightness(amount=0.5, probability=1),
    Brightness(amount=0.5, per_slice=True, probability=1),
    Contrast(amount=0.8, probability=1),
    Contrast(amount=0.8, per_slice=True, probability=1),
    Contrast(amount=0.8, about="zero", probability=1),
    Gamma(amount=0.7, probability=1),
    ContrastJumps(contrast=0.9, probability=1),
    DuplicatedSections(sections=2, middle=True, probability=1),
    MissingSections(sections=2, middle=True, probability=1),
    MissingSections(sections=2, value="mean", middle=True, probability=1),
]


@pytest.mark.parametrize("part", INCREASING, ids=lambda part: part.name)
@pytest.mark.parametrize("form", ["2.5D", "3D"])
def test_copies_of_slices_that_keep_the_order_of_their_grey_values_are_those_of_what_they_become(part, form):
    """The filter commutes with increasing maps: filtered first and changed with the image, or filtered afterwards. The
    slices have a border of one value, as the mean of others is no grey value that is mapped."""
    batch = batch_in(form, 4)
    for side in (0, -1):
        batch.image[..., side, :] = batch.image[..., :, side] = 0.5

    def filtered(of: Batch) -> torch.Tensor:
        planes = (of.image[:, None] if of.flat else of.image).numpy()
        found = [grain_filter(plane, (9, 3)) for plane in planes.reshape(-1, *planes.shape[-2:])]
        return torch.from_numpy(np.stack(found).reshape(len(of), -1, 2, *planes.shape[-2:])).transpose(1, 2)

    batch = replace(batch, filtered=filtered(batch))
    changed = part(batch, seeded(range(4)))
    torch.testing.assert_close(changed.filtered, filtered(changed), rtol=0, atol=1e-5)
    assert not torch.equal(changed.filtered, batch.filtered)


@kinds_and_forms
def test_same_generators_same_result_whatever_the_other_samples(kind, form):
    batch = batch_in(form, 6)
    whole = kind(probability=0.7)(batch, seeded(range(6)))
    assert same(kind(probability=0.7)(batch, seeded(range(6))), whole)
    index = [4, 1]
    part = kind(probability=0.7)(batch.map(lambda tensor: tensor[index]), seeded(index))
    assert same(part, whole.map(lambda tensor: tensor[index]))


@greys
def test_same_bytes_whatever_the_number_of_threads(kind):
    """Also of a single patch, whose sums could be split among threads."""
    batch, threads, found = batch_of(1, 261, 257, channels=3), torch.get_num_threads(), []
    try:
        for count in (1, 3, 7):
            torch.set_num_threads(count)
            found.append(kind(probability=1)(batch, seeded(range(1))))
    finally:
        torch.set_num_threads(threads)
    assert same(found[0], found[1])
    assert same(found[0], found[2])


@kinds_and_forms
def test_as_many_numbers_are_drawn_whether_or_not_it_applies(kind, form):
    ends = []
    for probability in (0, 0.5, 1):
        generators = seeded(range(4))
        kind(probability=probability)(batch_in(form, 4), generators)
        ends.append([generator.random() for generator in generators])
    assert ends[0] == ends[1] == ends[2]


@kinds
def test_written_by_name_in_a_recipe(kind):
    name = name_of(kind)
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
    batch = batch_of(8, 8, 8, channels=3)
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
    batch, steps = (
        with_copies(batch_of(8, 32, 32, channels=3)),
        [kind() for kind in KINDS if name_of(kind) not in NOISE],
    )
    expected = apply(steps, batch, seeded(range(8)))
    found = apply(steps, batch.pin_memory().to("cuda", non_blocking=True), seeded(range(8)))
    assert found.image.device.type == "cuda"
    torch.testing.assert_close(found.image.cpu(), expected.image, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.filtered.cpu(), expected.filtered, atol=1e-3, rtol=0)
    for one, other in zip(tensors(found)[1:], tensors(expected)[1:], strict=True):
        # A place between two voxels may be rounded to either.
        assert (one.cpu() != other).float().mean() < 1e-3
