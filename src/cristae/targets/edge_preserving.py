"""Edge-preserving weights as the paper prints them: each side of an edge blurred into the other, then thresholded.

Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0, the array W_ep. Where the paper is silent: the Gaussian
ends at four standard deviations, m is the maximum of each slice, and a slice with m <= alpha has no edge weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from cristae.targets.edges import PAD_MODES, Boundary, EdgeWeighting, Sides

_TRUNCATE = 4.0
"""Standard deviations at which the Gaussian ends."""


class EdgePreserving(EdgeWeighting):
    """Class balance plus R(c times the blurred other side of the edge): w + W_cb + W_ep of Guay et al. (2021).

    Computed for whole slices, so that edges outside a patch count too, and moved with the labels.
    """

    name: Literal["edge_preserving"] = "edge_preserving"
    sigma_vox: PositiveFloat = 6.0
    """Standard deviation of the Gaussian in y and x."""
    scale: PositiveFloat = 0.882
    """The paper's c."""
    alpha: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """What is subtracted, so that weights reach less far; the rest is stretched to the slice's maximum again."""

    def peaks(self, sides: Sides) -> tuple[float, ...]:
        """None: the maximum is that of each slice."""
        return ()

    def edge_weights(self, sides: Sides, peaks: Sequence[float]) -> np.ndarray:
        """R_alpha(S) = max(S - alpha, 0) m / (m - alpha), with m = max S."""
        total = np.zeros(sides.shape)
        blurred = {group: blur(sides.masks[group], self.sigma_vox, self.boundary) for group in sides.sources}
        for source, target in sides.edges:
            total += np.where(sides.masks[target], self.scale * blurred[source], 0)
        largest = total.max(initial=0)
        if largest <= self.alpha:
            return np.zeros(sides.shape)
        weights: np.ndarray = np.maximum(total - self.alpha, 0) * (largest / (largest - self.alpha))
        return weights


def blur(mask: np.ndarray, sigma: float, boundary: Boundary) -> np.ndarray:
    """A normalised Gaussian of a mask (Y, X) in float64, exact to rounding: a product of Fourier transforms."""
    from scipy import fft

    reach = int(_TRUNCATE * sigma + 0.5)
    margin = reach if boundary == "nearest" else 0
    padded = np.pad(mask.astype(np.float64), margin, PAD_MODES[boundary]) if margin else mask.astype(np.float64)
    along_y, along_x = (fft.fft(_ring(side, sigma, reach)).real for side in padded.shape)
    spectrum = fft.rfft2(padded) * along_y[:, None] * along_x[None, : padded.shape[1] // 2 + 1]
    blurred: np.ndarray = fft.irfft2(spectrum, padded.shape)
    return blurred[margin : margin + mask.shape[0], margin : margin + mask.shape[1]]


def _ring(side: int, sigma: float, reach: int) -> np.ndarray:
    """The kernel around 0 on an axis whose ends meet, which it may go round several times."""
    offsets = np.arange(-reach, reach + 1)
    values = np.exp(-0.5 * (offsets / sigma) ** 2)
    ring = np.zeros(side)
    np.add.at(ring, offsets % side, values / values.sum())
    return ring
