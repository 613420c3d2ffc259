"""Patches with a margin: moved whole, cropped, and only then weighted; and targets beyond the labels themselves."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from cristae.augment import (
    AugmentationConfig,
    Batch,
    Brightness,
    Flip,
    Generators,
    GeometricAugmentation,
    Rotate,
    Rotate90,
    required_margin,
    split_by_geometry,
)
from cristae.augment.geometric import Reach
from cristae.augment.mapping import Affine
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.losses import LossTerm, with_auxiliary_outputs
from cristae.losses.term import SumOfTerms
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.sampling import Patch, RandomPatches
from cristae.targets import NoWeighting, SampleForegroundWeighting, Statistics, TargetConfig, TargetMaps
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.config import TrainingConfig
from cristae.training.feed import PatchFeed, collate
from cristae.training.framing import Framing
from cristae.training.module import StepConfig, TrainingModule
from cristae.training.preparation import prepare_batch
from cristae.training.schedule import LearningRate

BINARY = Classes(names=("background", "thing"))


class WholeShift(GeometricAugmentation):
    """Move by whole voxels, up to `most` along each spatial axis: what comes in is what lies in the margin."""

    name: Literal["whole_shift"] = "whole_shift"
    most: int = 3

    def reach(self, reach: Reach, size: Sequence[int]) -> Reach:
        return reach.grown(**dict.fromkeys("zyx"[-len(size) :], self.most))

    def draw(self, batch: Batch, generators: Generators) -> Affine:
        step = Affine.identity(len(batch))
        for sample, generator in enumerate(generators):
            offset = generator.integers(-self.most, self.most + 1, len(batch.size))
            step.plane[sample, :, 2] = -offset[-2:]
            step.along_z[sample, 1] = 0 if batch.flat else -offset[0]
        return step


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng([11, i]) for i in range(count)]


def cached(
    folder: Path, framing: Framing, margin: Sequence[int], size: tuple[int, int, int], *, weighted: bool = False
) -> CachedPart:
    """A part of a volume that it does not fill; a tenth of the voxels is not valid."""
    rng = np.random.default_rng(4)
    shape = (9, 40, 44)
    labels = (rng.random(shape) < 0.3).astype(np.uint8)
    image = rng.integers(0, 60000, shape, dtype=np.uint16)
    volume = Volume(
        "v",
        image_of_array(image),
        labels=(image_of_array(labels),),
        valid=image_of_array((rng.random(shape) < 0.9).astype(np.uint8)),
        weight=image_of_array(rng.random(shape).astype(np.float32)) if weighted else None,
    )
    box = Box((1, 4, 0), (8, 36, 44))
    with open_cache() as cache:
        (part,) = cache_parts([Part(volume, box)], BINARY, cache, framing.grown(margin), size=size, progress=Progress())
    return part


def weights_by_hand(patch: Patch) -> np.ndarray:
    """B / F of one patch by itself."""
    n_foreground = int((patch.valid & (patch.target > 0)).sum())
    ratio = (int(patch.valid.sum()) - n_foreground) / n_foreground
    return np.where(patch.valid & (patch.target > 0), np.float32(ratio), np.float32(1))


@pytest.mark.parametrize(
    ("framing", "size"),
    [
        (Framing(flat=True), (1, 16, 12)),
        (Framing(flat=True, context=(1, 2, 2)), (1, 16, 12)),
        (Framing(flat=False), (5, 14, 12)),
        (Framing(flat=False, context=(1, 2, 3)), (4, 40, 50)),
    ],
    ids=["flat", "flat with neighbours and context", "thick", "thick and larger than the part"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_shifted_patch_is_the_one_beside_it(
    tmp_path: Path, framing: Framing, size: tuple[int, int, int], weighted: bool
) -> None:
    """Image (mirrored at the volume's border), target, validity (none outside the part) and weights."""
    shift = WholeShift()
    spatial = size[1:] if framing.flat else size
    margin = required_margin([shift], spatial)
    assert margin == (3,) * len(spatial)
    part = cached(tmp_path, framing, margin, size, weighted=weighted)
    plan = RandomPatches(size=spatial, per_epoch=24).plan([part.sample_part()], seed=2)
    feed = PatchFeed(plan, [part], framing, batch_size=24, margin=margin, threads=1)
    ((_, batch),) = list(feed)
    assert batch.margin == margin
    targets = partial(SampleForegroundWeighting(), statistics={})
    found = prepare_batch(batch, [shift], targets, generators(24))
    assert found.margin == ()
    for index, generator in enumerate(generators(24)):
        offset = generator.integers(-3, 4, len(spatial)).tolist()
        place = plan.place(0, index).box
        assert found.boxes[index] == place.shift(part.origin)
        beside = part.read(place.shift([0] * (3 - len(spatial)) + [-step for step in offset]), framing)
        # Places are float32; grey values go to 60000, so 1e-4 of a voxel is up to 6 of them.
        np.testing.assert_allclose(found.image[index], beside.image, atol=6, rtol=0)
        np.testing.assert_array_equal(found.target[index], beside.target)
        np.testing.assert_array_equal(found.valid[index], beside.valid)
        expected = weights_by_hand(beside)
        assert found.weight is not None
        if weighted:
            assert beside.weight is not None
            expected = expected * beside.weight
        np.testing.assert_array_equal(found.weight[index], expected)


def test_a_margin_that_nothing_moves_out_of_changes_nothing(tmp_path: Path) -> None:
    framing, spatial = Framing(flat=True, context=(0, 2, 2)), (16, 16)
    part = cached(tmp_path, framing, (5, 5), (1, *spatial), weighted=True)
    plan = RandomPatches(size=spatial, per_epoch=12).plan([part.sample_part()], seed=2)
    augment = (Brightness(), Flip(), Rotate90(), Brightness())
    targets = partial(SampleForegroundWeighting(cap=2), statistics={})
    results = []
    for margin in ((), (5, 5)):
        ((_, batch),) = list(PatchFeed(plan, [part], framing, batch_size=12, margin=margin, threads=2))
        batch = replace(batch, image=batch.image.float() / 60000)
        if margin:  # whatever stands there
            outside = torch.ones(batch.valid.shape[1:], dtype=torch.bool)
            outside[5:-5, 5:-5] = False
            assert batch.weight is not None
            batch = replace(
                batch,
                target=batch.target.masked_fill(outside, 1),
                valid=batch.valid | outside,
                weight=batch.weight.masked_fill(outside, float("nan")),
            )
        results.append(prepare_batch(batch, augment, targets, generators(12)))
    plain, cropped = results
    assert plain.boxes == cropped.boxes
    for name in ("image", "target", "valid", "weight"):
        assert torch.equal(getattr(plain, name), getattr(cropped, name)), name


def test_the_margin_fills_the_corners_of_a_turned_patch() -> None:
    """On a ramp, bilinear values are exact, so each voxel shows where it came from."""
    size, turn = (20, 20), Rotate(degrees=180, probability=1)
    (around, _) = margin = required_margin([turn], size)
    side = 20 + 2 * around
    y, x = torch.meshgrid(torch.arange(side) - (side - 1) / 2, torch.arange(side) - (side - 1) / 2, indexing="ij")
    ramp = (3 * y + 4 * x).float().expand(6, 1, side, side)
    batch = Batch(ramp, (ramp[:, 0] > 0).byte(), torch.ones(6, side, side) > 0, None, (), ("v",) * 6, margin=margin)
    found = prepare_batch(batch, [turn], partial(NoWeighting(), statistics={}), generators(6))
    assert found.image.shape == (6, 1, *size)
    assert found.valid.all()
    inner_y, inner_x = y[around:-around, around:-around], x[around:-around, around:-around]
    for sample, generator in enumerate(generators(6)):
        generator.random()
        angle = np.deg2rad(generator.uniform(-180, 180))
        came_y, came_x = (
            inner_y * np.cos(angle) - inner_x * np.sin(angle),
            inner_y * np.sin(angle) + inner_x * np.cos(angle),
        )
        torch.testing.assert_close(found.image[sample, 0], (3 * came_y + 4 * came_x).float(), atol=2e-3, rtol=0)
        clear = found.image[sample, 0].abs() > 7 / 2  # the nearest voxel is at most half a voxel away along each axis
        assert torch.equal((found.target[sample] > 0)[clear], (found.image[sample, 0] > 0)[clear])
    without = batch.cropped()
    assert not turn(without, generators(6)).valid.all()


def test_margins_are_those_of_the_composed_map() -> None:
    augment: list[AugmentationConfig] = [
        Brightness(), WholeShift(most=2), Flip(), Rotate(degrees=180), WholeShift(most=1), Brightness()
    ]  # fmt: skip
    # 4.5 from the centre to the last voxel's; + 1 = 5.5; sqrt(2) * 5.5 = 7.78; + 2 = 9.78, which is 5.28 more than 4.5.
    assert required_margin(augment, (10, 10)) == (6, 6)
    assert required_margin(augment, (10, 10), "cubic") == (7, 7)
    assert required_margin([Flip(), Rotate90(), Brightness()], (10, 10)) == (0, 0)
    geometry, grey_values = split_by_geometry(augment)
    assert (geometry, grey_values) == (augment[1:5], [Brightness(), Brightness()])


class SignedDistance(TargetConfig):
    """Distance in voxels to the foreground's border, negative inside; the share of foreground as a statistic."""

    name: Literal["signed_distance"] = "signed_distance"

    def prepare(self, parts: Sequence[CachedPart]) -> Statistics:  # type: ignore[override]
        counts = np.zeros(2, np.int64)
        for part in parts:
            for block in part.label_blocks():
                counts += [(block == 0).sum(), (block == 1).sum()]
        assert counts.tolist() == sum(part.class_counts for part in parts).tolist()
        return {"foreground": float(counts[1] / counts.sum())}

    def __call__(self, target: Tensor, valid: Tensor, statistics: Statistics) -> TargetMaps:
        distances = [distance_transform_edt(one == 0) - distance_transform_edt(one) for one in target.numpy() > 0]
        weight = torch.where(valid, 1 / statistics["foreground"], 1.0)
        return TargetMaps(target, weight, {"distance": torch.from_numpy(np.stack(distances)).float().unsqueeze(1)})


class MeanDistance(LossTerm):
    """Probability times distance; it keeps what it was given."""

    def build(self, classes: Classes):
        return self._value

    def _value(self, voxels) -> Tensor:
        SEEN.append(voxels)
        return (voxels.logits.sigmoid() * voxels.further["distance"] * voxels.weight).mean()


SEEN: list = []


class Witness(AugmentationConfig):
    """Changes nothing, and keeps what it was given."""

    name: Literal["witness"] = "witness"

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        SEEN.append(batch)
        return batch


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits: Tensor = self.conv(image)
        return logits, logits[..., ::2, ::2]


def test_a_further_target_reaches_every_output_of_the_network(tmp_path: Path) -> None:
    SEEN.clear()
    spatial, shift = (16, 16), WholeShift(most=2)
    part = cached(tmp_path, Framing(), (2, 2), (1, *spatial))
    config = SignedDistance()
    statistics = json.loads(json.dumps(config.prepare([part])))
    plan = RandomPatches(size=spatial, per_epoch=4).plan([part.sample_part()], seed=2)
    feed = PatchFeed(plan, [part], Framing(), batch_size=4, margin=(2, 2), threads=1)
    loss = with_auxiliary_outputs(SumOfTerms([MeanDistance()], BINARY), (1.0, 0.5))
    training = TrainingConfig(epochs=1, batch_size=4)
    step = StepConfig(
        loss,
        lambda network: torch.zeros(()),
        (shift, Flip(), Witness()),
        partial(config, statistics=statistics),
        {"v": Normalizer(0, 60000)},
        training,
        seed=6,
        device=torch.device("cpu"),
    )
    module = TrainingModule(TwoOutputs(), step, feed, LearningRate(training.schedule, 0.1, 1))
    before = module.network.conv.bias.item()  # type: ignore[union-attr, operator]
    Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    ).fit(module, feed)  # fmt: skip
    assert module.network.conv.bias.item() != before  # type: ignore[union-attr, operator]
    batch, main, auxiliary = SEEN
    assert batch.epoch_key == (6, 0)  # what is drawn once for an epoch comes from it, and from the volume
    assert batch.volume_shapes == ((9, 40, 44),) * 4
    for index in range(4):
        target = main.target[index, 0].numpy()
        expected = distance_transform_edt(target == 0) - distance_transform_edt(target)
        valid = main.valid[index, 0].numpy()
        np.testing.assert_allclose(main.further["distance"][index, 0], np.where(valid, expected, 0), rtol=1e-6)
        np.testing.assert_array_equal(
            main.weight[index, 0], np.where(valid, np.float32(1 / statistics["foreground"]), 0)
        )
    # A factor of two takes the far voxel of each pair, see `with_auxiliary_outputs`.
    assert torch.equal(auxiliary.further["distance"], main.further["distance"][..., 1::2, 1::2])


def test_patches_of_a_batch_share_their_margin() -> None:
    patch = Patch(
        image=np.zeros((1, 8, 8), np.uint8),
        target=np.zeros((6, 6), np.uint8),
        valid=np.ones((6, 6), bool),
        weight=None,
        box=Box((3, 10, 10), (4, 16, 16)),
        volume="v",
        volume_shape=(4, 20, 20),
    )
    batch = collate([patch, patch], (2, 1)).cropped()
    assert (batch.image.shape, batch.target.shape) == ((2, 1, 4, 6), (2, 2, 4))
    assert batch.boxes == (Box((3, 12, 11), (4, 14, 15)),) * 2
