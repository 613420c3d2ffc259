"""Is the patch feed fast enough that training never waits for it?

Patches of 256 x 256 a second from the cached Zarr, for every sampler, from a volume that is labelled throughout and
from one with scribbles on some slices; and the time of a SegET training step with batches from the feed over the time
with a batch that is in memory already (medians of steps taken in turn).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from benchmarks.machine import write_result
from cristae.allocator import keep_large_buffers
from cristae.augment import Batch
from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.synthetic import PLATELET_CLASSES, SyntheticConfig, synthetic_volume
from cristae.data.volume import Volume
from cristae.losses import CrossEntropyDice
from cristae.models import SegETConfig
from cristae.progress import Progress
from cristae.sampling import (
    GridPatches,
    IndexedPatches,
    JitteredPatches,
    RandomPatches,
    RejectionPatches,
    Sampling,
)
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.cached_part import CachedPart
from cristae.training.feed import PatchFeed
from cristae.training.framing import Framing

_SIDE = (256, 256)
_PER_EPOCH = 4000
SAMPLERS: dict[str, Sampling] = {
    "grid": GridPatches(size=_SIDE, stride=(48, 48), positive_copies=2),
    "indexed": IndexedPatches(size=_SIDE, per_epoch=_PER_EPOCH),
    "jittered": JitteredPatches(size=_SIDE, spacing=(48, 48)),
    "random": RandomPatches(size=_SIDE, per_epoch=_PER_EPOCH),
    "random, class frequencies": RandomPatches(
        size=_SIDE, per_epoch=_PER_EPOCH, class_frequencies={"mitochondria": 2, "background": 1}, volumes="evenly"
    ),
    "rejection": RejectionPatches(size=_SIDE, per_epoch=_PER_EPOCH),
}


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--note", default="", help="what else the machine did meanwhile")
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    keep_large_buffers()  # as training does
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CRISTAE_CACHE"] = folder
        dense = cached(synthetic_volume(SyntheticConfig(shape=(16, 1024, 1024), seed=1)))
        sparse = cached(scribbled(synthetic_volume(SyntheticConfig(shape=(16, 1024, 1024), seed=1))))
        rates = {
            kind: {name: patches_per_second(one, parts, asked.threads) for name, one in SAMPLERS.items()}
            for kind, parts in (("labelled", dense), ("scribbles", sparse))
        }
        plan = RandomPatches(size=_SIDE, per_epoch=(asked.steps + 4) * 8).plan([p.sample_part() for p in dense], 0)
        feed = PatchFeed(plan, dense, Framing(), batch_size=8, threads=asked.threads)
        from_feed, from_memory = step_seconds(feed, asked.steps)
    ratio = from_feed / from_memory
    print(f"SegET step: {from_feed:.3f} s from the feed, {from_memory:.3f} s from memory, ratio {ratio:.3f}")
    write_result(
        "feed",
        {
            "patches_per_second": rates,
            "reader_threads": asked.threads,
            "step_seconds_from_feed": round(from_feed, 4),
            "step_seconds_from_memory": round(from_memory, 4),
            "ratio": round(ratio, 4),
            **({"note": asked.note} if asked.note else {}),
        },
    )


def cached(volume: Volume) -> tuple[CachedPart, ...]:
    """A volume, all of it, as training reads it."""
    part = Part(volume, Box.of_shape(volume.image.shape))
    with open_cache() as cache:
        return cache_parts([part], PLATELET_CLASSES, cache, Framing(), size=(1, *_SIDE), progress=Progress())


def scribbled(volume: Volume) -> Volume:
    """The same where strokes 12 voxels wide on every fourth slice are labelled: 1 % of the voxels."""
    valid = np.zeros(volume.image.shape, np.uint8)
    rng = np.random.default_rng(0)
    for z in range(0, valid.shape[0], 4):
        for y, x in rng.integers(0, 900, (32, 2)):
            valid[z, y : y + 12, x : x + 110] = 1
    return Volume(
        name="scribbles", image=volume.image, labels=volume.labels, valid=image_of_array(valid), voxel_size_nm=None
    )


def patches_per_second(sampling: Sampling, parts: Sequence[CachedPart], threads: int) -> dict[str, float]:
    """Seconds until the first batch is there; then patches of an epoch after one that fills the cache, in a second of
    the clock and in one of a core, which others on the machine change less."""
    began = time.perf_counter()
    feed = PatchFeed(
        sampling.plan([one.sample_part() for one in parts], 0), parts, Framing(), batch_size=50, threads=threads
    )
    next(iter(feed))
    first = time.perf_counter() - began
    for _ in feed:
        pass
    feed.epoch = 1
    began, worked = time.perf_counter(), time.process_time()
    count = sum(len(batch) for _, batch in feed)
    rate, core = count / (time.perf_counter() - began), count / (time.process_time() - worked)
    print(f"{sampling.name}: first batch after {first:.2f} s, then {rate:.0f} patches a second, {core:.0f} per core")
    return {"rate": round(rate), "rate_per_core": round(core), "first_batch_seconds": round(first, 3)}


def step_seconds(feed: PatchFeed, steps: int) -> tuple[float, float]:
    """Median seconds of a training step with fresh batches and with one that stays."""
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
