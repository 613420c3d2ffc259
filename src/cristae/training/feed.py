"""Patches to batches: read ahead by threads, identical whoever reads them and whenever."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Protocol

import numpy as np
import torch

from cristae.augment import Batch
from cristae.augment.batch import margin_zyx
from cristae.readahead import read_ahead
from cristae.sampling import Patch, Place
from cristae.training.cached_part import CachedPart, read_patches
from cristae.training.framing import Framing


@dataclass(frozen=True)
class Worker:
    """One of the processes that train together."""

    rank: int = 0
    world_size: int = 1


class Places(Protocol):
    """Where the output patches of every epoch lie."""

    def __len__(self) -> int:
        """Patches of an epoch."""

    def place(self, epoch: int, index: int) -> Place:
        """Where patch `index` of `epoch` lies."""


class PatchFeed:
    """Iterate over one epoch of batches. Call `begin` first; patches that do not fill a last update are left out, which
    affects others in every epoch.

    The global batch b holds the patches b * batch_size and following; process r of w takes every w-th of them. So the
    batches do not depend on the number of processes or threads. Its state is the epoch and the next batch, which
    Lightning keeps in checkpoints and gives back, so that a resumed epoch continues at the very batch.
    """

    def __init__(
        self,
        plan: Places,
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
        self._next = 0
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

    def read(self, epoch: int, indices: Sequence[int]) -> list[Patch]:
        """Some patches of `epoch`, with their margin and their volumes' own weights."""
        places = [self._plan.place(epoch, index) for index in indices]
        around = [a + b for a, b in zip(margin_zyx(self._margin), self._framing.frame, strict=True)]
        boxes = [place.box.grow(around) if any(around) else place.box for place in places]
        parts = [self._parts[place.part] for place in places]
        return read_patches(list(zip(parts, boxes, strict=True)), self._framing)

    def begin(self, epoch: int) -> None:
        """Start an epoch at its first batch."""
        self.epoch, self._next = epoch, 0

    @property
    def done(self) -> int:
        """Batches of the epoch that have been given out."""
        return self._next

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the first of its batches that has not been given out."""
        return {"epoch": self.epoch, "next": self._next}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Continue from `state_dict`; where it was taken after the last batch of an epoch, `begin` comes first."""
        self.epoch, self._next = state_dict["epoch"], state_dict["next"]

    def indices(self, batch: int) -> range:
        """Which patches of the epoch this process has in global batch `batch`."""
        first = batch * self._batch_size
        return range(first + self.worker.rank, first + self._batch_size, self.worker.world_size)

    @property
    def batches_with_rest(self) -> int:
        """Batches of an epoch, a last one that is short included."""
        return -(-len(self._plan) // self._batch_size)

    def whole(self, batch: int) -> range:
        """Which patches of the epoch all processes together have in global batch `batch`; the last may be short."""
        first = batch * self._batch_size
        return range(first, min(first + self._batch_size, len(self._plan)))

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        """Batches with their number in the epoch, from the first that has not been given out; after the last, all."""
        numbers = range(self._next if self._next < len(self) else 0, len(self))
        with closing(self.batches(self.epoch, [self.indices(number) for number in numbers])) as batches:
            for number, batch in zip(numbers, batches, strict=True):
                self._next = number + 1
                yield number, batch

    def batches(self, epoch: int, groups: Sequence[range]) -> Generator[Batch, None, None]:
        """The patches of an epoch that each of the groups names, as a batch each, read ahead."""
        # A thread that woke up the others for every patch would cost a tenth more.
        at_once = -(-max(map(len, groups), default=1) // self._threads)
        pieces = [[group[first : first + at_once] for first in range(0, len(group), at_once)] for group in groups]
        patches = read_ahead(
            partial(self.read, epoch),
            chain.from_iterable(pieces),
            threads=self._threads,
            ahead=3 * max(map(len, pieces), default=1),
            name="patches",
        )
        with closing(patches):
            for some in pieces:
                found = list(chain.from_iterable(islice(patches, len(some))))
                yield collate(found, self._margin, self._framing.spatial_frame)


def collate(patches: Sequence[Patch], margin: tuple[int, ...] = (), frame: tuple[int, ...] = ()) -> Batch:
    """Stack patches, which all have this margin and frame; the image keeps its raw type until it is on the device."""
    weights = [patch.weight for patch in patches]
    weight = None
    if any(w is not None for w in weights):
        filled = [np.ones(p.valid.shape, np.float32) if w is None else w for p, w in zip(patches, weights, strict=True)]
        weight = torch.from_numpy(np.stack(filled))
    copies = [patch.filtered for patch in patches if patch.filtered is not None]
    return Batch(
        image=torch.from_numpy(np.stack([patch.image for patch in patches])),
        target=torch.from_numpy(np.stack([patch.target for patch in patches])),
        valid=torch.from_numpy(np.stack([patch.valid for patch in patches])),
        weight=weight,
        boxes=tuple(patch.box for patch in patches),
        volumes=tuple(patch.volume for patch in patches),
        margin=margin,
        frame=frame,
        volume_shapes=tuple(patch.volume_shape for patch in patches),
        filtered=torch.from_numpy(np.stack(copies)) if copies else None,
    )
