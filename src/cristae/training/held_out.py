"""Patches of the validation regions through a network that is being trained: its outputs, and the recipe's loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import torch
from torch import Tensor, nn

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.losses.reduce import in_this_process_alone
from cristae.sampling import Place, SamplePart
from cristae.training.feed import PatchFeed, Places, Worker
from cristae.training.layout import channels_last
from cristae.training.module import StepConfig, ready_batch


@dataclass(frozen=True, eq=False)
class Tiles:
    """Patches that cover parts, those without a voxel that counts left out; what an earlier one has covered does not
    count again."""

    parts: Sequence[SamplePart]
    size: Triple
    """Voxels (z, y, x) of a tile; the last of a row ends with the part, and one that is larger has it in its middle."""
    frame: Triple = (0, 0, 0)
    """Of the tiles' targets (see `Framing`)."""

    @cached_property
    def _places(self) -> list[tuple[Place, Triple]]:
        """Where tiles lie, and how many voxels at the start of each axis were covered before."""
        places = []
        for number, part in enumerate(self.parts):
            axes = [_starts(n, s) for n, s in zip(part.shape, self.size, strict=True)]
            for (z, z0), (y, y0), (x, x0) in product(*axes):
                stop = z + self.size[0], y + self.size[1], x + self.size[2]
                fresh = Box((z + z0, y + y0, x + x0), stop).intersect(Box.of_shape(part.shape))
                if part.fully_valid or part.has_valid(fresh):
                    places.append((Place(number, Box((z, y, x), stop)), (z0, y0, x0)))
        return places

    def __len__(self) -> int:
        return len(self._places)

    def place(self, epoch: int, index: int) -> Place:
        """Tile `index`, the same in every epoch."""
        return self._places[index][0]

    def fresh(self, index: int, valid: Tensor) -> Tensor:
        """The valid mask (*T) of tile `index`, its frame included, without what earlier tiles have covered."""
        covered = [a + b for a, b in zip(self._places[index][1], self.frame, strict=True)][3 - valid.ndim :]
        once = torch.zeros_like(valid)
        here = tuple(slice(first, None) for first in covered)
        once[here] = valid[here]
        return once


def _starts(length: int, size: int) -> list[tuple[int, int]]:
    """Where tiles start along an axis, and how much of each the one before has covered."""
    if length <= size:
        return [(-((size - length) // 2), 0)]
    starts = [min(start, length - size) for start in range(0, length, size)]
    return [(start, number * size - start) for number, start in enumerate(starts)]


@dataclass(frozen=True, eq=False)
class Draws:
    """A fixed number of patches an epoch from a plan that may have more or fewer, all different from epoch to epoch."""

    plan: Places
    count: int

    def __len__(self) -> int:
        return self.count

    def place(self, epoch: int, index: int) -> Place:
        """Patch `index` of `epoch`: the plan's own epochs, one after the other."""
        each = len(self.plan)
        rounds = -(-self.count // each)
        return self.plan.place(epoch * rounds + index // each, index % each)


@dataclass(frozen=True, eq=False)
class Judged:
    """One batch that went through the network; everything is on the device."""

    logits: Tensor
    """float32 (B, C, *T)."""
    target: Tensor
    """uint8 ids (B, *T) of exclusive classes, or masks (B, K, *T) of overlapping ones."""
    valid: Tensor
    """bool (B, *T)."""
    loss: Tensor
    """The recipe's loss, its penalties included; a scalar."""

    def probabilities(self, classes: Classes) -> Tensor:
        """float32 (C, B, *T)."""
        logits = self.logits.transpose(0, 1)
        return logits.softmax(0) if classes.softmax else logits.sigmoid()

    def truth(self, classes: Classes) -> Tensor:
        """uint8 (1, B, *T) of ids, or (K, B, *T) masks of overlapping classes."""
        return (self.target[None] if classes.exclusive else self.target.transpose(0, 1)).byte().contiguous()


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Patches of the validation regions, in batches as in training."""

    step: StepConfig
    feed: PatchFeed
    """Of the validation regions; a last batch that is short counts here."""
    tiles: Tiles | None = None
    """Its plan, where these are its patches."""
    augment: bool = False

    @torch.no_grad()
    def judged(self, network: nn.Module, epoch: int, worker: Worker) -> Iterator[Judged]:
        """This process's part of the batches after epoch `epoch` (from 1), through the network as it is when applied:
        running statistics, no dropout. The precision is that of the training."""
        mode, device = network.training, self.step.device
        network.to(device).eval()
        numbers = range(worker.rank, self.feed.batches_with_rest, worker.world_size)
        groups = [self.feed.whole(number) for number in numbers]
        try:
            for indices, raw in zip(groups, self.feed.batches(epoch - 1, groups), strict=True):
                if self.tiles is not None:
                    pairs = zip(indices, raw.valid, strict=True)
                    raw = replace(raw, valid=torch.stack([self.tiles.fresh(index, valid) for index, valid in pairs]))
                keys = [[self.step.seed, epoch - 1, index, 2] for index in indices]
                batch = ready_batch(self.step, raw.to(device), keys, augment=self.augment)
                with torch.autocast(device.type, torch.bfloat16, enabled=self.step.config.precision == "bf16"):
                    logits = network(channels_last(batch.image)).float()
                    with in_this_process_alone():  # others have batches of their own, and maybe fewer
                        loss = self.step.loss(logits, batch.target, batch.valid, batch.weight, batch.further)
                    loss = loss + self.step.penalty(network)
                yield Judged(logits, batch.target, batch.valid, loss.float())
        finally:
            network.train(mode)
