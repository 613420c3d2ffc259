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
from cristae.inference.labels import labels_of
from cristae.inference.locality import Locality
from cristae.inference.predictor import Member, Predictor
from cristae.metrics.tally import Tally
from cristae.preprocess.normalize import Normalizer
from cristae.training.feed import Share

_BLOCK = {2: (1, 2048, 2048), 3: (16, 512, 512)}
"""Most voxels (z, y, x) that are predicted at once, by the network's axes; the result does not depend on it."""


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
            normalizer = self.normalizers[part.volume.name]
            predictor = Predictor([Member(network, self.locality, normalizer, self.classes)], device=self.device)
            with predictor.predicting():
                probabilities = predictor.probabilities(part.volume.image, box)
            prediction = labels_of(probabilities, predictor.fusion, self.threshold).cpu().numpy()
            volume = part.volume
            truth = np.stack([label.read(box) for label in volume.labels])
            yield Judged(part, box, truth, None if volume.valid is None else volume.valid.read(box), prediction)

    def slabs(self) -> Iterator[tuple[Part, Box]]:
        """The annotated slices, very large ones in pieces, in the order of prediction."""
        for part in self.parts:
            for box in labelled_boxes(part):
                for slab in box.blocks(_BLOCK[self.locality.ndim]):
                    yield part, slab
