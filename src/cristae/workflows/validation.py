"""Judging a network on whole validation slices, while it learns and at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.splits import Part, labelled_boxes
from cristae.data.volume import Volume
from cristae.inference.labels import labels_of
from cristae.inference.locality import Locality
from cristae.inference.predictor import Member, Predictor
from cristae.metrics.tally import Tally
from cristae.preprocess.normalize import Normalizer
from cristae.training.feed import Share

_BLOCK = {2: (1, 1024, 1024), 3: (16, 256, 256)}
"""Voxels (z, y, x) that are predicted at once, by the network's axes: fixed, so that the same bits come out of any
machine's memory."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Truth and prediction of one slab: uint8 (1, Z, Y, X) of ids, or (K, Z, Y, X) masks of overlapping classes."""

    part: Part
    box: Box
    truth: np.ndarray
    valid: np.ndarray | None
    """(Z, Y, X), 0 where a voxel does not count."""
    prediction: np.ndarray

    def count_into(self, tally: Tally) -> None:
        """Add the slab's slices to the counts of its volume."""
        for z in range(self.box.shape[0]):
            ok = None if self.valid is None else self.valid[z]
            tally.count(self.box.start[0] + z, list(self.truth[:, z]), list(self.prediction[:, z]), ok)


@dataclass(frozen=True, eq=False)
class Validation:
    """The validation regions, on the working grid, and how to predict them."""

    parts: Sequence[Part]
    classes: Classes
    normalizers: Mapping[str, Normalizer]
    """By volume name."""
    locality: Locality
    threshold: float
    device: torch.device

    def tallies(self, network: nn.Module, share: Share = Share()) -> list[Tally]:
        """Counts by volume and slice over this process's share of the slices; every annotated voxel counts once."""
        found: dict[str, Tally] = {}
        for slab in self.judged(network, share):
            slab.count_into(found.setdefault(slab.part.volume.name, Tally(slab.part.volume.name, self.classes)))
        return list(found.values())

    def judged(self, network: nn.Module, share: Share = Share()) -> Iterator[Judged]:
        """The annotated slabs of this process's share, one after the other, with what the network says of them."""
        for number, (part, box) in enumerate(self.slabs()):
            if number % share.world != share.rank:
                continue
            volume = part.volume
            truth = np.stack([label.read(box) for label in volume.labels])
            valid = None if volume.valid is None else volume.valid.read(box)
            yield Judged(part, box, truth, valid, self._predict(network, volume, box))

    def _predict(self, network: nn.Module, volume: Volume, box: Box) -> np.ndarray:
        """Labels uint8 (1 or K, Z, Y, X)."""
        member = Member(network, self.locality, self.normalizers[volume.name], self.classes)
        predictor = Predictor([member], device=self.device)
        labels = np.empty((len(volume.labels), *box.shape), np.uint8)
        with predictor.predicting():
            for block in box.blocks(_BLOCK[self.locality.ndim]):
                found = labels_of(predictor.probabilities(volume.image, block), predictor.fusion, self.threshold)
                labels[(slice(None), *block.relative_to(box.start).slices)] = found.cpu().numpy()
        return labels

    def slabs(self) -> Iterator[tuple[Part, Box]]:
        """The annotated slices (a few at a time for 3D networks), in the order of prediction."""
        for part in self.parts:
            for box in labelled_boxes(part):
                for slab in box.blocks((_BLOCK[self.locality.ndim][0], *box.shape[1:])):
                    yield part, slab
