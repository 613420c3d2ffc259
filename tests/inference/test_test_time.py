"""Test-time augmentation against mirroring and turning the whole volume with numpy."""

from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch
from everyday import everyday
from hypothesis import given
from hypothesis import strategies as st
from small_networks import MITO, Pyramidal, Solid, Valid, Whole, member, member_of

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.inference.arrays import ArrayModel
from cristae.inference.predictor import Member, Predictor
from cristae.inference.test_time import TestTime, Variant, variants_of
from cristae.inference.windows import Windows
from cristae.preprocess.filtered_slices import filtered_planes
from cristae.preprocess.local_contrast import LocalContrast
from cristae.preprocess.network_input import NetworkInput
from cristae.preprocess.normalize import Normalizer

THREE = Classes(names=("background", "a", "b"))
COUNTS = {"none": 1, "flips": 4, "flips_z": 8, "dihedral": 8, "dihedral_z": 16}


class Oblong(torch.nn.Module):
    """Sees farther along x than along y, and halves x alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fine, self.coarse = torch.nn.Conv2d(1, 3, (3, 7), padding=(1, 3)), torch.nn.Conv2d(1, 3, 3, padding=1)
        self.up = torch.nn.ConvTranspose2d(3, 3, (1, 2), stride=(1, 2))
        self.last = torch.nn.Conv2d(6, 1, (1, 3), padding=(0, 1))
        for values in self.parameters():
            values.data.mul_(2)

    def forward(self, image):
        x = image.shape[3]
        padded = torch.nn.functional.pad(image, (0, -x % 2))
        low = torch.relu(self.coarse(torch.nn.functional.max_pool2d(padded, (1, 2))))
        both = torch.cat([torch.relu(self.fine(padded)), self.up(low)], 1)
        return self.last(both)[..., :x]


def alone(one, grey):
    """Probabilities (K, Z, Y, X) of each slice, or all of it, in a single forward pass of the network."""
    numbers = one.normalizer.apply(torch.from_numpy(np.ascontiguousarray(grey, np.float32))).numpy()
    margin = one.locality.margin
    good = [one.locality.good_side(axis, size) for axis, size in enumerate(grey.shape)]
    if any(margin):
        numbers = np.pad(
            numbers, [(m, g - n + m) for m, g, n in zip(margin, good, grey.shape, strict=True)], mode="reflect"
        )
    around = one.slices // 2
    numbers = np.pad(numbers, [(around, around), (0, 0), (0, 0)], mode="reflect")
    with torch.inference_mode():
        if one.locality.ndim == 3:
            logits = one.network(torch.from_numpy(numbers)[None, None])[0]
        else:
            planes = [torch.from_numpy(numbers[z : z + one.slices])[None] for z in range(grey.shape[0])]
            logits = torch.stack([one.network(plane)[0] for plane in planes], 1)
    logits = logits[:, : grey.shape[0], : grey.shape[1], : grey.shape[2]]
    return (torch.softmax(logits, 0) if one.classes.softmax else torch.sigmoid(logits)).numpy()


def of_one_predictor(one, grey):
    """The same of a network in windows, or of an array model, which have laws of their own elsewhere."""
    predictor = Predictor([one])
    image = image_of_array(np.ascontiguousarray(grey))
    with predictor.predicting():
        return predictor.probabilities(image, Box.of_shape(image.shape)).numpy()


def by_numpy(test_time, predict, grey):
    """What every mirrored and turned copy of the volume gives, turned back."""
    quarters = range(4) if test_time.startswith("dihedral") else (0, 2)
    found = []
    for reverse, mirror, k in product((False, True) if test_time.endswith("_z") else (False,), (False, True), quarters):
        turned = grey[::-1] if reverse else grey
        turned = turned[:, :, ::-1] if mirror else turned
        probabilities = predict(np.rot90(turned, k, axes=(1, 2)))
        back = np.rot90(probabilities, -k, axes=(2, 3))
        back = back[..., ::-1] if mirror else back
        found.append(back[:, ::-1] if reverse else back)
    return np.stack(found)


def in_blocks(predictor, grey, block):
    image = image_of_array(grey, voxel_size_nm=(40.0, 10.0, 10.0))
    result = np.full((predictor.ensemble.channels, *grey.shape), np.nan, np.float32)
    with predictor.predicting():
        for core in Box.of_shape(grey.shape).blocks(block):
            result[(slice(None), *core.slices)] = predictor.probabilities(image, core)
    return result


def grey_of(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


KINDS = {
    "2D": lambda: member(Pyramidal(3), stride=4, classes=THREE),
    "oblong": lambda: member(Oblong(), stride=(1, 2)),
    "2.5D": lambda: member(torch.nn.Conv2d(3, 1, 3, padding=1), stride=1, slices=3),
    "valid": lambda: member_of(Valid(), Valid.config),
    "3D": lambda: member_of(Solid(3), Solid.config, classes=THREE),
}
WINDOWS = {
    "2D": lambda: member(Pyramidal(), stride=4, windows=Windows("gaussian", (1, 12, 20), 2)),
    "2.5D": lambda: member(Whole(2, 3), stride=1, slices=3, windows=Windows("farthest", (1, 16, 12), 2)),
    "third": lambda: member(Whole(), stride=1, windows=Windows("centre_third", (1, 12, 18), 2)),
    "3D": lambda: member_of(Solid(), Solid.config, windows=Windows("tiles", (4, 16, 12), 3)),
}


@pytest.mark.parametrize("test_time", ["flips_z", "dihedral_z"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_exact_network_predicts_copies_of_the_whole_volume(kind, test_time):
    """In blocks that divide nothing, of a volume whose sides are no multiple of the stride."""
    one, grey = KINDS[kind](), grey_of(5, 27, 38)
    each = by_numpy(test_time, lambda turned: alone(one, turned), grey)
    assert each.std(0).max() > 5e-3, "the copies must matter"
    predictor = Predictor([replace(one, test_time=test_time)])
    for block in ((2, 13, 17), (5, 27, 9), (64, 64, 64)):
        assert np.abs(in_blocks(predictor, grey, block) - each.mean(0)).max() < 1e-5


@pytest.mark.parametrize("kind", everyday(WINDOWS.keys(), "2.5D"))
def test_windows_lie_in_the_mirrored_and_turned_volume(kind):
    one, grey = WINDOWS[kind](), grey_of(5, 27, 38)
    expected = by_numpy("dihedral_z", lambda turned: of_one_predictor(one, turned), grey)
    assert expected.std(0).max() > 5e-3, "the copies must matter"
    predictor = Predictor([replace(one, test_time="dihedral_z")])
    for block in ((2, 13, 17), (64, 64, 64)):
        assert np.abs(in_blocks(predictor, grey, block) - expected.mean(0)).max() < 1e-5


def test_models_of_arrays_take_part():
    def slope(block, box):
        wide = np.pad(block, 1, mode="reflect")[1:-1, 1:-1, 2:] * 0.5 + 0.2
        return wide[box.slices][None]

    model = ArrayModel(slope, reach=(0, 0, 1), bytes_per_vox=20)
    one, grey = Member(model, model.locality, Normalizer(0.0, 255.0), MITO), grey_of(2, 9, 11)
    each = by_numpy("dihedral", lambda turned: of_one_predictor(one, turned), grey)
    assert each.std(0).max() > 0.05
    found = in_blocks(Predictor([replace(one, test_time="dihedral")]), grey, (1, 4, 6))
    assert np.abs(found - each.mean(0)).max() < 1e-6


def test_grey_values_are_normalised_where_they_lie():
    """Ranges of slices are those of the volume's slices, and local contrast is that of the volume."""
    slices = tuple((10.0 * z, 200.0 + 5 * z) for z in range(5))
    normalizer = Normalizer(0.0, 255.0, slices=slices, contrast=LocalContrast(3, 0.01))
    one, grey = replace(KINDS["2.5D"](), normalizer=normalizer), grey_of(5, 20, 23)
    reverse = replace(normalizer, slices=slices[::-1])

    def predict(turned, number=[0]):  # noqa: B006  # by_numpy turns upright copies first, then those upside down
        number[0] += 1
        return of_one_predictor(one if number[0] <= 8 else replace(one, normalizer=reverse), turned)

    expected = by_numpy("dihedral_z", predict, grey).mean(0)
    assert np.abs(in_blocks(Predictor([replace(one, test_time="dihedral_z")]), grey, (2, 9, 8)) - expected).max() < 1e-5


def test_filtered_copies_of_slices_go_along():
    """Slices are filtered as a whole, then mirrored and turned with the image; neighbours in their order."""
    torch.manual_seed(0)
    one = member(torch.nn.Conv2d(6, 1, 3, padding=1), stride=1, slices=6)
    one = replace(one, slices=3, network_input=NetworkInput(areas_px=(9,)))
    grey = grey_of(3, 20, 23)

    def predict(turned):
        planes = filtered_planes(np.ascontiguousarray(turned), (9,), 1)[:, 0]
        wide = [np.pad(part / np.float32(255), [(1, 1), (0, 0), (0, 0)], mode="reflect") for part in (turned, planes)]
        stacks = np.stack([np.concatenate([part[z : z + 3] for part in wide]) for z in range(len(turned))])
        with torch.inference_mode():
            return torch.sigmoid(one.network(torch.from_numpy(stacks))).numpy()[:, 0][None]

    each = by_numpy("dihedral_z", predict, grey)
    assert each.std(0).max() > 5e-3
    predictor = Predictor([replace(one, test_time="dihedral_z")])
    assert np.abs(in_blocks(predictor, grey, (2, 9, 8)) - each.mean(0)).max() < 1e-5


def test_members_are_averaged_over_their_copies_before_the_rule():
    """Majority: each member votes once, by the mean of its copies."""
    from cristae.inference.fusion import Majority

    grey, members = grey_of(3, 20, 26), [member(Pyramidal(seed=seed), stride=4) for seed in range(3)]
    asked = ("none", "flips", "dihedral")
    means = [
        by_numpy(way, lambda g, one=one: alone(one, g), grey).mean(0) for way, one in zip(asked, members, strict=True)
    ]
    means[0] = alone(members[0], grey)
    votes = (np.stack(means) > 0.5).mean(0)
    predictor = Predictor(
        [replace(one, test_time=way) for way, one in zip(asked, members, strict=True)], fusion=Majority()
    )
    sure = (np.abs(np.stack(means) - 0.5) > 1e-4).all(0)
    assert sure.mean() > 0.99
    assert (votes == 1 / 3).mean() > 0.02
    np.testing.assert_allclose(in_blocks(predictor, grey, (1, 9, 9))[sure], votes[sure], atol=1e-6)


def test_as_many_variants_as_the_papers():
    """The 16 variants of CDeep3M: 8 ways to lay a slice, each with the slices in both orders (Haberl et al. 2018)."""
    assert set(COUNTS) == set(get_args(TestTime))
    for test_time, count in COUNTS.items():
        variants = variants_of(test_time, single_slices=False)
        assert len(set(variants)) == len(variants) == count
        assert variants[0] == Variant()
        if not test_time.endswith("_z"):
            assert variants_of(test_time, single_slices=True) == variants
    assert variants_of("dihedral_z", single_slices=True) == variants_of("dihedral", single_slices=True)
    assert variants_of("flips_z", single_slices=True) == variants_of("flips", single_slices=True)


@given(st.tuples(*[st.integers(1, 6)] * 3), st.data())
def test_boxes_move_with_the_voxels(shape, data):
    """The voxels of a box of the volume are those of the box of the variant, and the way back is one."""
    volume = torch.arange(np.prod(shape)).reshape(shape)
    pairs = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape]
    box = Box(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))
    for variant in variants_of("dihedral_z", single_slices=False):
        turned, there = variant.apply(volume), variant.box(box, shape)
        assert turned.shape == variant.shape(shape)
        assert torch.equal(turned[there.slices], variant.apply(volume[box.slices]))
        assert torch.equal(variant.undo(turned), volume)
        assert variant.box_back(there, shape) == box
