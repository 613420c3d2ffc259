"""What judging an epoch costs, for each voxel of the validation regions, beside what training costs for each voxel.

Four figures of a U-Net on 256 x 256 patches: a training step; predicting whole slices and counting; how much of that
is the counting of probabilities for AUC-ROC; and the loss on patches that tile the regions.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from benchmarks.machine import write_result
from cristae.allocator import keep_large_buffers
from cristae.data.box import Box
from cristae.data.splits import Part
from cristae.data.synthetic import PLATELET_CLASSES, SyntheticConfig, synthetic_volume
from cristae.evaluation.validation import Validation
from cristae.inference.locality import measure_locality
from cristae.losses import CrossEntropyDice
from cristae.models import UNetBNConfig
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.targets import NoWeighting
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.config import TrainingConfig
from cristae.training.epoch_counts import EpochCounts
from cristae.training.feed import PatchFeed, Worker
from cristae.training.framing import Framing
from cristae.training.held_out import HeldOut, Tiles
from cristae.training.layout import put_channels_last
from cristae.training.module import StepConfig, ready_batch
from cristae.training.rank_counts import rank_counts

SIZE = (256, 256)


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--slices", type=int, default=2)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    keep_large_buffers()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CRISTAE_CACHE"] = folder
        seconds = measured(asked.slices, asked.rounds)
    training = seconds["training"]
    ratios = {name: round(value / training, 3) for name, value in seconds.items()}
    for name, value in seconds.items():
        print(f"{name:20} {1e6 * value:8.3f} microseconds a voxel, {ratios[name]:.3f} of training")
    write_result("validation", {"seconds_per_voxel": seconds, "of_training": ratios})


def measured(slices: int, rounds: int) -> dict[str, float]:
    """Median seconds for each voxel."""
    volume = synthetic_volume(SyntheticConfig(shape=(slices, 512, 512), seed=1))
    whole = Part(volume, Box.of_shape(volume.image.shape))
    device, normalizers = torch.device("cpu"), {volume.name: Normalizer(0, 255)}
    config = UNetBNConfig(widths=(16, 32, 64, 128))
    torch.manual_seed(0)
    network = config.build(1, PLATELET_CLASSES.n_logits)
    put_channels_last(network)
    with open_cache() as cache:
        cached = cache_parts([whole], PLATELET_CLASSES, cache, Framing(), size=(1, *SIZE), progress=Progress())
    loss = CrossEntropyDice()
    step = StepConfig(
        loss.build(PLATELET_CLASSES), loss.penalty, (), partial(NoWeighting(), statistics={}), normalizers,
        TrainingConfig(batch_size=4), 0, device,
    )  # fmt: skip
    tiles = Tiles([part.sample_part() for part in cached], (1, *SIZE))
    feed = PatchFeed(tiles, cached, Framing(), batch_size=4, threads=1)
    held_out = HeldOut(step, feed, tiles)
    validation = Validation([whole], PLATELET_CLASSES, normalizers, measure_locality(network, config), 0.5, device)
    truth = torch.from_numpy(volume.labels[0].read(whole.box))
    ways: dict[str, Callable[[], object]] = {
        "training": partial(train, network, step, feed),
        "whole slices": lambda: validation.count_into(EpochCounts(PLATELET_CLASSES), network),
        "of it for AUC-ROC": partial(count_ranks, torch.rand(len(PLATELET_CLASSES.names), *truth.shape), truth),
        "loss on tiles": lambda: sum(float(one.loss) for one in held_out.judged(network, 1, Worker())),
    }
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) / whole.box.size for name, times in taken.items()}


def train(network: nn.Module, step: StepConfig, feed: PatchFeed) -> None:
    """One pass over the tiles with updates."""
    optimizer = torch.optim.Adam(network.parameters())
    for _, raw in feed:
        batch = ready_batch(step, raw, [[0, 0, index] for index in range(len(raw))])
        optimizer.zero_grad()
        step.loss(network(batch.image), batch.target, batch.valid, batch.weight, batch.further).backward()
        optimizer.step()


def count_ranks(probabilities: torch.Tensor, truth: torch.Tensor) -> None:
    """For each foreground class, as validation does."""
    for number, class_id in enumerate(PLATELET_CLASSES.foreground_ids, start=1):
        rank_counts(truth == class_id, probabilities[number])


if __name__ == "__main__":
    main()
