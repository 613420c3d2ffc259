"""Models that are not networks: a function of arrays that takes a network's place in prediction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from cristae.data.box import Box, Triple
from cristae.inference.locality import Locality

Probabilities = Callable[[np.ndarray, Box], np.ndarray]
"""Normalised grey values float32 (Z, Y, X) and a box of them to its probabilities float32 (K, Z, Y, X), as many as
`Classes.n_logits`."""


class ArrayModel(nn.Module):
    """Takes the place of a network in a `Member`, but returns probabilities instead of logits.

    The function gets a block with a halo of its reach, cut off where the volume ends; there it extends the block itself
    (by mirroring, say), so that every block agrees with the whole. It runs on the CPU.

    Example: `Member(model, model.locality, normalizer, classes)` with
    `model = ArrayModel(forest.probabilities, reach=forest.reach, bytes_per_vox=400)`
    """

    def __init__(self, probabilities: Probabilities, *, reach: Triple, bytes_per_vox: int) -> None:
        """Wrap a function.

        Args:
            probabilities: The function; it need not be thread-safe.
            reach: Voxels (z, y, x) on each side that can change an output voxel.
            bytes_per_vox: Memory that it takes for each voxel of a block, at its peak.
        """
        super().__init__()
        self.probabilities = probabilities
        self.bytes_per_vox = bytes_per_vox
        self.locality = Locality(True, "its features have a bounded receptive field", reach, (1, 1, 1), 3)

    def forward(self, grey: Tensor, wanted: Box) -> Tensor:
        """Probabilities (K, Z, Y, X) of a box of the grey values (Z, Y, X), on their device."""
        block = np.ascontiguousarray(grey.cpu().numpy(), dtype=np.float32)
        found = np.ascontiguousarray(self.probabilities(block, wanted), dtype=np.float32)
        return torch.from_numpy(found).to(grey.device)
