"""Patches to batches: read ahead by threads, identical whoever reads them and whenever."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch

from cristae.augment import Batch
from cristae.augment.batch import margin_zyx
from cristae.readahead import read_ahead
from cristae.sampling import Patch, Plan
from cristae.training.cache import CachedPart
from cristae.training.framing import Framing


@dataclass(frozen=True)
class Worker:
    """One of the processes that train together."""

    rank: int = 0
    world_size: int = 1


class PatchFeed:
    """Iterate over one epoch of batches. Set `epoch` first; patches that do not fill a last update are left out, which
    affects others in every epoch.

    The global batch b holds the patches b * batch_size and following; process r of w takes every w-th of them. So the
    batches do not depend on the number of processes or threads.
    """

    def __init__(
        self,
        plan: Plan,
        parts: Sequence[CachedPart],
        framing: Framing,
        *,
        batch_size: int,
        accumulate: int = 1,
        margin: Sequence[int] = (),
        threads: int = 0,
    ) -> None:
        """
        Args:
            plan: Where the output patches of an epoch lie.
            parts: What they are read from.
            framing: How much image the network sees around an output patch.
            batch_size: Patches of a global batch.
            accumulate: Batches of an update.
            margin: Voxels on both sides of each spatial axis that augmentation needs around image and target.
            threads: How many read ahead; 0 chooses by the number of cores.
        """
        self.epoch = 0
        self.worker = Worker()
        self._plan = plan
        self._parts = tuple(parts)
        self._batch_size = batch_size
        self._accumulate = accumulate
        self._framing = framing
        self._margin = tuple(margin)
        self._threads = threads or max(1, min(8, (os.cpu_count() or 2) // 2))

    @property
    def updates(self) -> int:
        """Updates of the weights in an epoch."""
        return len(self._plan) // (self._batch_size * self._accumulate)

    def __len__(self) -> int:
        return self.updates * self._accumulate

    def read(self, epoch: int, index: int) -> Patch:
        """Patch `index` of `epoch`, with its margin and its volume's own weights."""
        place = self._plan.place(epoch, index)
        box = place.box.grow(margin_zyx(self._margin)) if any(self._margin) else place.box
        return self._parts[place.part].read(box, self._framing)

    def indices(self, batch: int) -> range:
        """Which patches of the epoch this process has in global batch `batch`."""
        first = batch * self._batch_size
        return range(first + self.worker.rank, first + self._batch_size, self.worker.world_size)

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        """Batches with their number in the epoch."""
        epoch, each = self.epoch, len(self.indices(0))
        at_once = -(-each // self._threads)  # a thread that woke up the others for every patch would cost a tenth more
        pieces = [
            self.indices(number)[first : first + at_once]
            for number in range(len(self))
            for first in range(0, each, at_once)
        ]
        per_batch = -(-each // at_once)
        patches = read_ahead(
            lambda indices: [self.read(epoch, index) for index in indices],
            pieces,
            threads=self._threads,
            ahead=3 * per_batch,
            name="patches",
        )
        with closing(patches):
            for number in range(len(self)):
                yield number, collate(list(chain.from_iterable(islice(patches, per_batch))), self._margin)


def collate(patches: Sequence[Patch], margin: tuple[int, ...] = ()) -> Batch:
    """Stack patches, which all have this margin; the image keeps its raw type until it is on the device."""
    weights = [patch.weight for patch in patches]
    weight = None
    if any(w is not None for w in weights):
        filled = [np.ones(p.valid.shape, np.float32) if w is None else w for p, w in zip(patches, weights, strict=True)]
        weight = torch.from_numpy(np.stack(filled))
    return Batch(
        image=torch.from_numpy(np.stack([patch.image for patch in patches])),
        target=torch.from_numpy(np.stack([patch.target for patch in patches])),
        valid=torch.from_numpy(np.stack([patch.valid for patch in patches])),
        weight=weight,
        boxes=tuple(patch.box for patch in patches),
        volumes=tuple(patch.volume for patch in patches),
        margin=margin,
        volume_shapes=tuple(patch.volume_shape for patch in patches),
    )
