"""Validation patches: tiles that hold every voxel once, draws that differ from epoch to epoch, and their loss."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cristae.augment import Flip, Noise
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.losses import BinaryCrossEntropy, SumLoss
from cristae.losses.reduce import global_mean
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.sampling import GridPatches, RandomPatches, SamplePart
from cristae.targets import NoWeighting
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.config import TrainingConfig
from cristae.training.feed import PatchFeed, Worker
from cristae.training.framing import Framing
from cristae.training.held_out import Draws, HeldOut, Tiles
from cristae.training.module import StepConfig

CLASSES = Classes(names=("background", "thing"))
Sides = st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))


def sample_part(valid: np.ndarray) -> SamplePart:
    counts = np.array([valid.sum(), 0])
    return SamplePart(
        valid.shape,  # type: ignore[arg-type]
        counts,
        (np.argwhere(valid), np.zeros((0, 3))),
        lambda box: False,
        lambda box: bool(valid[box.slices].any()),
        bool(valid.all()),
    )


@settings(max_examples=60, deadline=None)
@given(shape=Sides, size=Sides, share=st.sampled_from([0.0, 0.02, 1.0]), seed=st.integers(0, 99))
def test_tiles_hold_every_voxel_that_counts_once(
    shape: tuple[int, int, int], size: tuple[int, int, int], share: float, seed: int
) -> None:
    valid = np.random.default_rng(seed).random(shape) < share
    seen = np.zeros(shape, np.int64)
    tiles = Tiles([sample_part(valid)], size)
    for index in range(len(tiles)):
        box = tiles.place(3, index).box
        assert box.shape == size
        inside = box.intersect(Box.of_shape(shape))
        mask = torch.zeros(size, dtype=torch.bool)
        mask[inside.relative_to(box.start).slices] = torch.from_numpy(valid[inside.slices])
        fresh = tiles.fresh(index, mask).numpy()
        assert fresh.any(), "a tile without a voxel that counts is left out"
        seen[inside.slices] += fresh[inside.relative_to(box.start).slices]
    np.testing.assert_array_equal(seen, valid)


def test_draws_are_as_many_as_asked_and_never_the_same_twice() -> None:
    plan = RandomPatches(size=(8, 8), per_epoch=5).plan([sample_part(np.ones((4, 90, 90), bool))], seed=1)
    draws = Draws(plan, 12)
    boxes = [str(draws.place(epoch, index).box) for epoch in range(3) for index in range(len(draws))]
    assert len(boxes) == 36
    assert len(set(boxes)) > 34
    assert boxes == [str(draws.place(epoch, index).box) for epoch in range(3) for index in range(12)]


def test_draws_of_a_grid_go_round_it() -> None:
    plan = GridPatches(size=(8, 8), stride=(8, 8)).plan([sample_part(np.ones((1, 16, 16), bool))], seed=1)
    draws = Draws(plan, 8)
    boxes = [str(draws.place(0, index).box) for index in range(8)]
    assert sorted(boxes[:4]) == sorted(boxes[4:])
    assert len(set(boxes)) == 4


class Pointwise(nn.Module):
    """Batch normalisation and dropout around one factor, so that a wrong mode shows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(1), nn.Dropout(0.5)
        self.norm.running_mean.fill_(0.3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.drop(self.norm(image)) * 2
        return logits


def held_out(tmp_path: Path, patches: str = "tiles", *, augment: bool = False) -> tuple[HeldOut, Volume]:
    rng = np.random.default_rng(0)
    labels = (rng.random((3, 37, 41)) > 0.7).astype(np.uint8)
    image = (labels * 90 + rng.random(labels.shape) * 60).astype(np.uint8)
    valid = (rng.random(labels.shape) > 0.3).astype(np.uint8)
    volume = Volume("v", image_of_array(image), labels=(image_of_array(labels),), valid=image_of_array(valid))
    parts = cached_parts(volume)
    samples = [part.sample_part() for part in parts]
    tiles = Tiles(samples, (1, 16, 16))
    draws = Draws(RandomPatches(size=(16, 16), per_epoch=7).plan(samples, seed=1), 12)
    loss, config = SumLoss(terms=(BinaryCrossEntropy(),)), TrainingConfig()
    targets = partial(NoWeighting(), statistics={})
    step = StepConfig(
        loss.build(CLASSES), loss.penalty, (Flip(), Noise()), targets, {"v": Normalizer(0, 150)}, config, 1,
        torch.device("cpu"),
    )  # fmt: skip
    places = tiles if patches == "tiles" else draws
    feed = PatchFeed(places, parts, Framing(), batch_size=4)
    return HeldOut(step, feed, tiles if patches == "tiles" else None, augment), volume


def cached_parts(volume: Volume) -> tuple[CachedPart, ...]:
    with open_cache() as cache:
        parts = [Part(volume, Box((0, 2, 3), (3, 37, 41)))]
        return cache_parts(parts, CLASSES, cache, Framing(), size=(1, 16, 16), progress=Progress())


def test_the_loss_of_tiles_is_that_of_all_voxels_by_hand(tmp_path: Path) -> None:
    """A pixelwise loss of a pointwise network does not depend on how voxels are cut into patches."""
    patches, volume = held_out(tmp_path)
    network = Pointwise().train()
    found = list(patches.judged(network, 1, Worker()))
    weights = [int(one.valid.sum()) for one in found]
    ours = sum(float(one.loss) * weight for one, weight in zip(found, weights, strict=True)) / sum(weights)
    box = Box((0, 2, 3), (3, 37, 41))
    assert volume.valid is not None
    image, truth, valid = (one.read(box).astype(np.float64) for one in (volume.image, volume.labels[0], volume.valid))
    assert sum(weights) == valid.sum()
    logits = 2 * (image / 150 - 0.3) / np.sqrt(1 + 1e-5)
    losses = np.log1p(np.exp(logits)) - truth * logits
    assert ours == pytest.approx(losses[valid == 1].mean(), rel=1e-5)
    assert network.training


def test_processes_share_the_batches(tmp_path: Path) -> None:
    patches, _ = held_out(tmp_path)
    network = Pointwise()
    whole = [float(one.loss) for one in patches.judged(network, 1, Worker())]
    halves = [[float(one.loss) for one in patches.judged(network, 1, Worker(rank, 2))] for rank in range(2)]
    assert halves == [whole[::2], whole[1::2]]
    assert len(whole) == 7, "27 tiles in batches of 4: the last one is short"


def test_no_process_waits_for_the_batches_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 7 batches the first of two processes has one more: a sum over processes would never end, or end them."""

    def summed(tensor: torch.Tensor) -> None:
        raise AssertionError("asks the other process")

    patches, _ = held_out(tmp_path)
    network, reduce = Pointwise(), "cristae.losses.reduce.dist"
    alone = [float(one.loss) for one in patches.judged(network, 1, Worker(0, 2))]
    monkeypatch.setattr(f"{reduce}.is_initialized", lambda: True)
    monkeypatch.setattr(f"{reduce}.get_world_size", lambda: 2)
    monkeypatch.setattr(f"{reduce}.all_reduce", summed)
    assert [float(one.loss) for one in patches.judged(network, 1, Worker(0, 2))] == alone
    with pytest.raises(AssertionError, match="asks the other process"):
        global_mean(torch.ones(()), torch.ones(()))


def test_patches_are_augmented_where_asked_and_the_same_when_repeated(tmp_path: Path) -> None:
    plain, _ = held_out(tmp_path, "draws")
    augmented, _ = held_out(tmp_path, "draws", augment=True)
    network = Pointwise()

    def losses(patches: HeldOut, epoch: int) -> list[float]:
        return [float(one.loss) for one in patches.judged(network, epoch, Worker())]

    assert len(losses(plain, 1)) == 3
    assert losses(plain, 1) == losses(plain, 1) != losses(plain, 2)
    assert losses(augmented, 1) == losses(augmented, 1) != losses(plain, 1)
