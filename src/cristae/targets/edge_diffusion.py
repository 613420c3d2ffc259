"""Edge-preserving weights as the paper's code makes them: each side of an edge diffuses into the other.

Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0, the code released with the paper. It differs from the
printed formula: each directed term is thresholded and scaled by itself, to a maximum over all training labels, and the
terms are then added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from cristae.targets.edges import EdgeWeighting, Sides


class EdgeDiffusion(EdgeWeighting):
    """Class balance plus edge weights by diffusion, as in the code of Guay et al. (2021): w + W_cb + W_ep.

    Computed for whole slices, so that edges outside a patch count too, and moved with the labels.
    """

    name: Literal["edge_diffusion"] = "edge_diffusion"
    steps: PositiveInt = 50
    """How often the other side of an edge diffuses by one voxel."""
    rate: Annotated[float, Field(gt=0, le=0.75)] = 0.2
    """The code's a; a larger one reaches farther. Above 3/4 values would swing."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.98
    """The code's d: what is left after each step."""
    threshold: NonNegativeFloat = 0.2
    """What is subtracted in the end, so that weights reach less far."""
    largest: PositiveFloat = 25.0
    """The largest weight of each directed term in all training labels."""

    def peaks(self, sides: Sides) -> tuple[float, ...]:
        """The maximum of each directed term, before it is scaled."""
        return tuple(float(term.max(initial=0)) for term in self._terms(sides))

    def edge_weights(self, sides: Sides, peaks: Sequence[float]) -> np.ndarray:
        """The sum of the terms, each scaled by its peak; a term that is 0 in all training labels stays so."""
        total = np.zeros(sides.shape)
        for term, peak in zip(self._terms(sides), peaks, strict=True):
            if peak:
                total += term * (self.largest / peak)
        return total

    def _terms(self, sides: Sides) -> list[np.ndarray]:
        from cristae.targets.diffusion import diffuse  # takes a compiler along, which most recipes do without

        spread = {
            group: diffuse(sides.masks[group], self.steps, self.rate, self.decay, self.boundary)
            for group in sides.sources
        }
        return [
            np.where(sides.masks[target], np.maximum(spread[source] - self.threshold, 0), 0)
            for source, target in sides.edges
        ]
