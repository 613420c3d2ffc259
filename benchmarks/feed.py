"""Is the patch feed fast enough that training never waits for it?

Two figures: patches of 256 x 256 a second from the cached Zarr; and the time of a SegET training step with
batches from the feed over the time with a batch that is in memory already (medians of steps taken in turn).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator

import torch

from benchmarks.machine import write_result
from cristae.allocator import keep_large_buffers
from cristae.augment import Batch
from cristae.data.box import Box
from cristae.data.splits import Part
from cristae.data.synthetic import PLATELET_CLASSES, SyntheticConfig, synthetic_volume
from cristae.losses import CrossEntropyDice
from cristae.models import SegETConfig
from cristae.progress import Progress
from cristae.sampling import RandomPatches
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.feed import PatchFeed
from cristae.training.framing import Framing


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--threads", type=int, default=2)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CRISTAE_CACHE"] = folder
        feed = make_feed(per_epoch=4000, batch_size=50, threads=asked.threads)
        rate = patches_per_second(feed)
        print(f"patches of 256 x 256: {rate:.0f} a second with {asked.threads} threads")
        feed = make_feed(per_epoch=(asked.steps + 4) * 8, batch_size=8, threads=asked.threads)
        from_feed, from_memory = step_seconds(feed, asked.steps)
    ratio = from_feed / from_memory
    print(f"SegET step: {from_feed:.3f} s from the feed, {from_memory:.3f} s from memory, ratio {ratio:.3f}")
    write_result(
        "feed",
        {
            "patches_per_second": round(rate),
            "reader_threads": asked.threads,
            "step_seconds_from_feed": round(from_feed, 4),
            "step_seconds_from_memory": round(from_memory, 4),
            "ratio": round(ratio, 4),
        },
    )


def make_feed(*, per_epoch: int, batch_size: int, threads: int) -> PatchFeed:
    """A feed from a synthetic volume of 16 slices of 1024 x 1024."""
    volume = synthetic_volume(SyntheticConfig(shape=(16, 1024, 1024), seed=1))
    part = Part(volume, Box.of_shape(volume.image.shape))
    with open_cache() as cache:
        cached = cache_parts([part], PLATELET_CLASSES, cache, Framing(), size=(1, 256, 256), progress=Progress())
    plan = RandomPatches(size=(256, 256), per_epoch=per_epoch).plan([one.sample_part() for one in cached], seed=0)
    return PatchFeed(plan, cached, Framing(), batch_size=batch_size, threads=threads)


def patches_per_second(feed: PatchFeed) -> float:
    """Batches of a whole epoch, after one that fills the cache."""
    for _ in feed:
        pass
    feed.epoch = 1
    began = time.perf_counter()
    count = sum(len(batch) for _, batch in feed)
    return count / (time.perf_counter() - began)


def step_seconds(feed: PatchFeed, steps: int) -> tuple[float, float]:
    """Median seconds of a training step with fresh batches and with one that stays."""
    keep_large_buffers()
    torch.manual_seed(0)
    network = SegETConfig().build(1, PLATELET_CLASSES.n_logits).to(memory_format=torch.channels_last)
    loss = CrossEntropyDice().build(PLATELET_CLASSES)
    optimizer = torch.optim.Adam(network.parameters())
    batches: Iterator[tuple[int, Batch]] = iter(feed)
    _, kept = next(batches)

    def step(batch: Batch) -> None:
        image = (batch.image.float() / 255).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        loss(network(image), batch.target, batch.valid, batch.weight).backward()
        optimizer.step()

    for _ in range(2):
        step(kept)
    fresh, stays = [], []
    for _ in range(steps):
        began = time.perf_counter()
        step(next(batches)[1])
        fresh.append(time.perf_counter() - began)
        began = time.perf_counter()
        step(kept)
        stays.append(time.perf_counter() - began)
    return statistics.median(fresh), statistics.median(stays)


if __name__ == "__main__":
    main()
