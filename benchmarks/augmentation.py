"""Does moving voxels cost next to nothing beside a training step, and less than with SciPy and MONAI?

Two papers' geometry, as one resampling of image, labels and valid mask: Guay et al.'s (a field an epoch, flips) on a
window of (5, 300, 300), and EM-stellar's (rotation, shift, shear, zoom, flips) on two patches of 512 x 512. Each is
held against a training step of the paper's network, and against the same transforms of the same arrays by SciPy and
MONAI. All on one core, in seconds of the processor, which other processes disturb little. The three take turns of five
calls, as a worker makes one batch after another; medians over all calls. The first calls of the turns, whose caches are
full of another's data, are given by themselves as `cold`: that is what a call costs between two training steps.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Rand2DElasticd, RandAffined, RandFlipd
from scipy.ndimage import affine_transform, map_coordinates, zoom
from torch import Tensor

from benchmarks.machine import write_result
from benchmarks.networks import training_step
from cristae.allocator import keep_large_buffers
from cristae.augment import (
    Batch,
    Elastic,
    Flip,
    GeometricAugmentation,
    Rotate,
    Shear,
    Shift,
    Zoom,
    move,
    required_margin,
)
from cristae.augment.batch import epoch_generator
from cristae.augment.mapping import Affine
from cristae.augment.spline_field import smooth_nodes
from cristae.data.box import Box
from cristae.models import EMNetConfig, Hybrid2D3DConfig, NetworkConfig

GUAY: tuple[GeometricAugmentation, ...] = (Elastic(per="epoch", probability=1), Flip(axes=("z", "y", "x")))
EM_STELLAR: tuple[GeometricAugmentation, ...] = (
    Rotate(degrees=140, probability=1),
    Shift(amount=0.2, probability=1),
    Shear(degrees=0.2, probability=1),
    Zoom(factors=(0.8, 1.2), probability=1),
    Flip(),
)
VOLUME = (50, 800, 800)
"""Of Guay et al."""
KEYS = ("image", "target", "valid")
MODES = ("bilinear", "nearest", "nearest")
CALLS = 5
"""Of a turn."""
Work = Callable[[], Any]


@dataclass(frozen=True)
class Paper:
    """One paper's geometry and network."""

    name: str
    steps: tuple[GeometricAugmentation, ...]
    size: tuple[int, ...]
    count: int
    network: NetworkConfig
    n_logits: int
    by_scipy: Callable[[Batch, int], list[np.ndarray]]
    """What SciPy makes of a batch; the number counts rounds, which draw anew."""
    by_monai: Callable[[], Any]


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=10, help="turns of five calls each")
    options.add_argument("--steps", type=int, default=2, help="training steps of each network, after a first one")
    asked = options.parse_args()
    torch.set_num_threads(1)
    keep_large_buffers()
    figures = {paper.name: measure(paper, asked.rounds, asked.steps) for paper in PAPERS}
    write_result("augmentation", {"unit": "seconds of one processor core", **figures})


def measure(paper: Paper, rounds: int, steps: int) -> dict[str, float]:
    """Seconds and ratios of one paper."""
    batch = batch_of(paper)
    same_as_scipy(paper, batch)
    monai = paper.by_monai()
    samples = [dict(zip(KEYS, maps, strict=True)) for maps in zip(*maps_of(batch.cropped()), strict=True)]
    numbers = itertools.count(1)
    works: dict[str, Work] = {
        "": lambda: move(paper.steps, batch, draws(paper, next(numbers))),
        "scipy_": lambda: paper.by_scipy(batch, next(numbers)),
        "monai_": lambda: [monai(sample) for sample in samples],
    }
    turns: dict[str, list[list[float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            turns[name].append([seconds(work) for _ in range(CALLS)])
    found = {f"{name}seconds": statistics.median(itertools.chain(*taken)) for name, taken in turns.items()}
    found |= {f"{name}cold_seconds": statistics.median(turn[0] for turn in taken) for name, taken in turns.items()}
    network = paper.network.build(1, paper.n_logits)
    update = training_step(network, move(paper.steps, batch, draws(paper, 0)).image, torch.enable_grad)
    found["training_step_seconds"] = statistics.median([seconds(update) for _ in range(steps + 1)][1:])
    found["share_of_training_step"] = found["seconds"] / found["training_step_seconds"]
    for cold, other in itertools.product(("", "cold_"), ("scipy", "monai")):
        found[f"{cold}times_{other}"] = found[f"{other}_{cold}seconds"] / found[f"{cold}seconds"]
    print(
        f"{paper.name}: {1000 * found['seconds']:.1f} ms, {100 * found['share_of_training_step']:.2f} % of a training "
        f"step, {found['times_scipy']:.1f} times faster than SciPy, {found['times_monai']:.1f} times than MONAI "
        f"({found['cold_times_scipy']:.1f} and {found['cold_times_monai']:.1f} with cold caches)"
    )
    return {name: round(value, 5) for name, value in found.items()}


def seconds(work: Work) -> float:
    """Of the processor, for one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def draws(paper: Paper, number: int) -> list[np.random.Generator]:
    """Of one round."""
    return [np.random.default_rng([number, sample]) for sample in range(paper.count)]


def batch_of(paper: Paper) -> Batch:
    """Random patches with the margin that is needed."""
    margin = required_margin(paper.steps, paper.size)
    grown = [side + 2 * around for side, around in zip(paper.size, margin, strict=True)]
    image = torch.rand(paper.count, 1, *grown, generator=torch.Generator().manual_seed(0))
    start = (7, 200, 210)
    stop = tuple(a + n for a, n in zip(start, [1, *grown][-3:], strict=True))
    return Batch(
        image,
        (image[:, 0] * 7).byte(),
        image[:, 0] > 0.05,
        None,
        (Box(start, (stop[0], stop[1], stop[2])),) * paper.count,
        ("volume",) * paper.count,
        margin,
        volume_shapes=(VOLUME,) * paper.count,
    )


def maps_of(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Image, labels and valid mask as (B, C, Y, X), the slices being channels."""
    image, target, valid = batch.image[:, 0], batch.target, batch.valid
    image, target, valid = (one if one.ndim == 4 else one.unsqueeze(1) for one in (image, target, valid))
    return image.contiguous(), target.contiguous(), valid.contiguous()


def same_as_scipy(paper: Paper, batch: Batch) -> None:
    """Make sure that both do the same work: images alike, and labels but for places between two voxels."""
    moved = move(paper.steps, batch, draws(paper, 1))
    image, target, valid = paper.by_scipy(batch, 1)
    found = maps_of(moved)
    assert np.abs(found[0].numpy() - image).max() < 5e-3
    assert np.mean(found[1].numpy() != target) < 1e-3
    assert np.mean(found[2].numpy() != valid) < 1e-3


def em_stellar_by_scipy(batch: Batch, number: int) -> list[np.ndarray]:
    """One affine transform of each map, by the matrix that is composed already."""
    generators = draws(PAPERS[1], number)
    total = reduce(Affine.then, (step.draw(batch, generators) for step in EM_STELLAR))
    size = batch.size
    assert isinstance(total, Affine)
    found: list[list[np.ndarray]] = [[], [], []]
    for sample, matrix in enumerate(total.plane):
        centre, read = (np.array(size) - 1) / 2, (np.array(batch.image.shape[2:]) - 1) / 2
        offset = read + matrix[:, 2] - matrix[:, :2] @ centre
        for maps, moved, order in zip(maps_of(batch), found, (1, 0, 0), strict=True):
            plane = maps[sample, 0].numpy()
            moved.append(affine_transform(plane, matrix[:, :2], offset, output_shape=size, order=order)[None])
    return [np.stack(moved) for moved in found]


def guay_by_scipy(batch: Batch, number: int) -> list[np.ndarray]:
    """Every slice at the places that the field of the volume says; it was made once for the epoch."""
    flips = [int(axis) for axis, draw in enumerate(flip_draws(number)) if draw]
    inner = batch.cropped_boxes()[0]
    rows, columns = (slice(a, b) for a, b in zip(inner.start[1:], inner.stop[1:], strict=True))
    at = np.indices(batch.size[1:]) + np.array(batch.margin[1:]).reshape(2, 1, 1) + FIELD[:, rows, columns]
    moved = []
    for maps, order in zip(maps_of(batch), (1, 0, 0), strict=True):
        slices = np.stack([map_coordinates(plane, at, order=order) for plane in maps[0].numpy()])
        moved.append(np.ascontiguousarray(np.flip(slices, flips))[None])
    return moved


def flip_draws(number: int) -> list[bool]:
    """Whether z, y and x are mirrored, as `GUAY` draws it."""
    generator = draws(PAPERS[0], number)[0]
    generator.random()
    return [bool(generator.random() < 0.5) for _ in range(3)]


def whole_field() -> np.ndarray:
    """Displacements (2, Y, X) of all voxels of a slice of the volume."""
    noise = epoch_generator((0, 0), "volume").uniform(-1, 1, (2, 20, 20))
    return np.stack([zoom(20 * smooth_nodes(one, 0.6), 40, order=3, mode="mirror") for one in noise])


def em_stellar_by_monai() -> Any:
    """MONAI's nearest: no other unit of its shear and order of its matrices, at the same cost."""
    turn = RandAffined(
        KEYS,
        prob=1,
        rotate_range=[np.deg2rad(140)],
        shear_range=[0.0035, 0.0035],
        translate_range=[102.4, 102.4],
        scale_range=[0.2, 0.2],
        mode=MODES,
        padding_mode="reflection",
    )
    return Compose([turn, *flips(0, 1)])


def guay_by_monai() -> Any:
    """MONAI's nearest: a field for each patch, of 20 pixels at most, and flips in the plane and across slices."""
    bend = Rand2DElasticd(
        KEYS, spacing=(40, 40), magnitude_range=(20, 20), prob=1, mode=MODES, padding_mode="reflection"
    )
    return Compose([bend, *flips(0, 1)])


def flips(*axes: int) -> Sequence[Any]:
    """A flip along each axis, by chance."""
    return [RandFlipd(KEYS, prob=0.5, spatial_axis=axis) for axis in axes]


FIELD = whole_field()
PAPERS = (
    Paper("guay", GUAY, (5, 300, 300), 1, Hybrid2D3DConfig(), 7, guay_by_scipy, guay_by_monai),
    Paper("em_stellar", EM_STELLAR, (512, 512), 2, EMNetConfig(), 1, em_stellar_by_scipy, em_stellar_by_monai),
)

if __name__ == "__main__":
    main()
