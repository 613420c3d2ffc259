"""What do augmentations of grey values cost on one core?

Processor milliseconds for a batch of 4 patches of 512 x 512 (three slices where a part needs several): of each part
where every patch is changed, and of those of the preset `strong` at its own probabilities, a mean over many batches.
As a yardstick, the time of scipy's Gaussian filter over that of `blur`, both of sigma 1.5.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import get_args

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from benchmarks.machine import write_result
from cristae.augment import (
    PRESETS,
    Augmentation,
    AugmentationConfig,
    Batch,
    Blur,
    GeometricAugmentation,
    SectionAugmentation,
    apply,
)

KINDS: dict[str, type[AugmentationConfig]] = {
    kind.model_fields["name"].default: kind
    for kind in get_args(get_args(Augmentation)[0])
    if not issubclass(kind, GeometricAugmentation)
}


def main() -> None:
    """Measure, print and keep."""
    torch.set_num_threads(1)
    flat, slices = batch_of(1), batch_of(3)
    parts = {
        name: cost([kind(probability=1)], slices if issubclass(kind, SectionAugmentation) else flat)
        for name, kind in KINDS.items()
    }
    strong = [KINDS[part["name"]].model_validate(part) for part in PRESETS["strong"] if part["name"] in KINDS]
    preset = cost(strong, flat, times=100)
    blur = cost([Blur(sigma_vox=(1.5, 1.5), probability=1)], flat)
    image = flat.image.numpy()
    scipy = median_ms(lambda: gaussian_filter(image, (0, 0, 1.5, 1.5), mode="nearest"))
    for name, ms in parts.items():
        print(f"{name}: {ms:.1f} ms")
    print(f"grey values of strong: {preset:.1f} ms a batch; scipy's Gaussian takes {scipy / blur:.1f} times blur's")
    write_result(
        "grey_values",
        {
            "batch": "4 x 512 x 512",
            "part_ms": {name: round(ms, 1) for name, ms in parts.items()},
            "strong_ms": round(preset, 1),
            "scipy_gaussian_over_blur": round(scipy / blur, 2),
        },
    )


def batch_of(channels: int) -> Batch:
    """Four patches of random numbers."""
    image = torch.from_numpy(np.random.default_rng(0).random((4, channels, 512, 512), np.float32))
    flat = image[:, 0]
    return Batch(image, flat.byte(), flat >= 0, None, (), ("v",) * 4)


def cost(parts: list[AugmentationConfig], batch: Batch, times: int = 9) -> float:
    """Processor milliseconds of a batch: the median, or of many batches that differ the mean."""

    def once(number: int) -> None:
        apply(parts, batch, [np.random.default_rng([1, number, i]) for i in range(len(batch))])

    if times < 50:
        return median_ms(lambda: once(0), times)
    began = time.process_time()
    for number in range(times):
        once(number)
    return (time.process_time() - began) * 1000 / times


def median_ms(work: Callable[[], object], times: int = 9) -> float:
    """Processor milliseconds, after one run that does not count."""
    work()
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append((time.process_time() - began) * 1000)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
