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

_THICK = 16
"""Sections that 3D networks predict at once."""


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
        for part, box, prediction in self.predictions(network, share):
            tally = found.setdefault(part.volume.name, Tally(part.volume.name, self.classes))
            truth, valid = self.truth(part, box)
            for z in range(box.shape[0]):
                ok = None if valid is None else valid[z]
                tally.count(box.start[0] + z, [t[z] for t in truth], [p[z] for p in prediction], ok)
        return list(found.values())

    def predictions(self, network: nn.Module, share: Share = Share()) -> Iterator[tuple[Part, Box, np.ndarray]]:
        """Regions with their predicted labels, uint8 (1 or K, Z, Y, X)."""
        for number, (part, box) in enumerate(self.slabs()):
            if number % share.world != share.rank:
                continue
            normalizer = self.normalizers[part.volume.name]
            predictor = Predictor([Member(network, self.locality, normalizer, self.classes)], device=self.device)
            with predictor.predicting():
                probabilities = predictor.probabilities(part.volume.image, box)
            yield part, box, labels_of(probabilities, predictor.fusion, self.threshold).cpu().numpy()

    def slabs(self) -> Iterator[tuple[Part, Box]]:
        """The annotated slices, in the order of prediction."""
        step = 1 if self.locality.ndim == 2 else _THICK
        for part in self.parts:
            for box in labelled_boxes(part):
                for slab in box.blocks((step, *box.shape[1:])):
                    yield part, slab

    def truth(self, part: Part, box: Box) -> tuple[list[np.ndarray], np.ndarray | None]:
        """Labels of the region, one array (Z, Y, X) or one for each overlapping class, and where they count."""
        valid = None if part.volume.valid is None else part.volume.valid.read(box)
        return [label.read(box) for label in part.volume.labels], valid
