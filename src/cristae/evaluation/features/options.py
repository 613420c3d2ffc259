"""What is correlated, and how finely: the options of `cristae correlate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from cristae.errors import ScoreError
from cristae.models.features import FeatureKind


@dataclass(frozen=True)
class FeatureOptions:
    """How features are collected and compared. The fields are the options of `cristae correlate`.

    Raises:
        ScoreError: A word is not known, or a number makes no sense.
    """

    features: FeatureKind = "convolutions"
    """`convolutions`: the channels of every convolution, after the normalisation and activation that follow it;
    `layers`: those of every layer, as in EM-stellar, where what only changes values is there several times."""
    blocks: tuple[str, ...] | None = None
    """The blocks that are compared, by name (B5) or by what they are called in the network (encoder.0); None takes
    all."""
    size: int = 64
    """Cells along y and x of the grid that features are averaged over."""
    places: int = 1
    """Slices that are looked at in each image, evenly spread along z."""
    window: tuple[int, int] | None = None
    """Pixels (y, x) that are looked at in the middle of each slice; None takes the training patches' size, of several
    runs the smallest."""
    close: float = 0.95
    """|r| from which on a channel can stand for another."""
    max_ram: str | None = None
    """Ceiling for the memory of the process, such as '8GiB'; None takes half of the free memory."""
    signed: bool | None = None
    """Whether 8-bit values of MRC volumes are signed, where their header does not say."""

    def __post_init__(self) -> None:
        """Check words and numbers."""
        if self.features not in get_args(FeatureKind):
            raise ScoreError(f"features: expected {' or '.join(get_args(FeatureKind))}, got '{self.features}'")
        if self.size < 2:
            raise ScoreError(f"size: a grid has at least 2 cells along y and x, got {self.size}")
        if self.places < 1:
            raise ScoreError(f"places: at least one slice is looked at in each image, got {self.places}")
        if self.window is not None and min(self.window) < 1:
            raise ScoreError(f"window: sides are at least one pixel, got {self.window[0]} x {self.window[1]}")
        if not 0 < self.close < 1:
            raise ScoreError(f"close: |r| lies between 0 and 1, got {self.close:g}")
        if self.blocks is not None and not self.blocks:
            raise ScoreError("blocks: name at least one, or leave the option out")
